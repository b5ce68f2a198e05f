"""Where one message ends and the next begins: lines for stdio, events for SSE.

Owns the two framings in both directions. A raw message keeps its sender's line breaks (JSON allows them between
tokens), so a message becomes one line here and nowhere else. Sources: 2026-07-28 transports stdio; WHATWG HTML §9.2
server-sent events.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_RETRY_DIGITS = 12
_CR = 13


class FrameTooLarge(ValueError):
    """A line or an event outgrew the limit before it ended."""


def one_line(message: bytes) -> bytes:
    """Return the message without line breaks. A break inside a JSON string is always escaped, so none is lost."""
    # `in` tries the bytes as a number first and makes an exception of it: ten times dearer than `find`.
    return message if message.find(b"\n") < 0 and message.find(b"\r") < 0 else message.translate(_BREAKS)


class LineBuffer:
    """Cuts a byte stream into lines; a line may be up to `limit_bytes` long."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def open_bytes(self) -> int:
        """What is here of the line that has not ended."""
        return self._size

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every line that is complete now, without its line break; empty lines are dropped.

        Raises:
            FrameTooLarge: the line that is still open is longer than the limit.
        """
        *complete, tail = data.split(b"\n")
        for line in complete:
            if self._parts:
                self._parts.append(line)
                line = b"".join(self._parts)
                self._parts, self._size = [], 0
            line = line.strip(b"\r")
            if line:
                yield line
        if tail:
            self._parts.append(tail)
            self._size += len(tail)
            if self._size > self._limit:
                self._parts, self._size = [], 0
                raise FrameTooLarge(f"a line is longer than {self._limit} bytes")


class Event(msgspec.Struct, frozen=True, gc=False):
    """One server-sent event. `id` is None where the stream gave none; `retry_ms` likewise."""

    data: bytes
    name: str = "message"
    id: str | None = None
    retry_ms: int | None = None


def encode_event(
    data: bytes, *, event_id: str | None = None, name: str | None = None, retry_ms: int | None = None
) -> bytes:
    """Encode one event. Empty data is written as an empty `data:` field, the priming event of 2025-11-25."""
    if event_id is None and name is None and retry_ms is None:
        return b"data: " + one_line(data) + b"\r\n\r\n"
    head = b""
    if name is not None:
        head = b"event: " + name.encode() + b"\r\n"
    if event_id is not None:
        head += b"id: " + event_id.encode() + b"\r\n"
    if retry_ms is not None:
        head += b"retry: " + str(retry_ms).encode() + b"\r\n"
    return b"".join((head, b"data: ", one_line(data), b"\r\n\r\n"))


KEEP_ALIVE = b": \r\n\r\n"
"""A comment: no event, but a byte on the wire that keeps proxies from closing a quiet stream."""


def usual_event(chunk: bytes, at: int) -> tuple[bytes, int] | None:
    """Read one whole event as nearly all are, a name that says nothing and one line of data: the data, and where the
    next event begins. None where it is another."""
    start = at
    if chunk.startswith(b"event: message", at):
        start = chunk.find(b"\n", at) + 1
        if chunk[at + 14 : start] not in (b"\r\n", b"\n"):
            return None
    if not chunk.startswith(b"data: ", start):
        return None
    start += 6
    end = chunk.find(b"\n", start)
    if end < 0:
        return None
    if end > start and chunk[end - 1] == _CR:
        data, again, line_break = chunk[start : end - 1], end + 3, b"\r\n"
    else:
        data, again, line_break = chunk[start:end], end + 2, b"\n"
    if chunk[end + 1 : again] != line_break or data.find(b"\r") >= 0:
        return None
    return data, again


class EventBuffer:
    """Parses an SSE stream fed in chunks of any size."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._open: list[bytes] = []
        """Pieces of the line that has not ended."""
        self._open_size = 0
        self._after_cr = False
        self._fresh = True
        """Nothing was fed yet: a byte order mark may come (WHATWG HTML §9.2.5)."""
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._id: str | None = None
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield every event that is complete now, also one with empty data (it may carry an id or a retry time).

        Raises:
            FrameTooLarge: the open event is longer than the limit.
        """
        if not chunk:
            return
        if self._fresh:
            self._fresh, chunk = False, chunk.removeprefix(b"\xef\xbb\xbf")
        if not (self._after_cr or self._open or self._is_begun):
            at = 0
            while (usual := usual_event(chunk, at)) is not None:
                data, at = usual
                if len(data) > self._limit:
                    raise FrameTooLarge(f"an event is longer than {self._limit} bytes")
                yield Event(data)
            if at == len(chunk):
                return
            chunk = chunk[at:]
        last = chunk[-1:]
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]  # the second half of a CRLF, whose first half has ended the line already
        self._after_cr = last == b"\r"
        if chunk.find(b"\r") >= 0:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, tail = chunk.split(b"\n")
        if lines and self._open:
            lines[0] = b"".join((*self._open, lines[0]))
            self._open, self._open_size = [], 0
        if tail:
            self._open.append(tail)
            self._open_size += len(tail)
        for line in lines:
            if line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                yield event
        if self._size + self._open_size > self._limit:
            raise FrameTooLarge(f"an event is longer than {self._limit} bytes")

    def _field(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
            self._size += len(value)
            if self._size > self._limit:
                raise FrameTooLarge(f"an event is longer than {self._limit} bytes")
        elif name == b"event":
            self._name = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS:
            self._retry = int(value)

    @property
    def _is_begun(self) -> bool:
        """Whether a line of the open event has ended."""
        return bool(self._data or self._name) or self._id is not None or self._retry is not None

    def _dispatch(self) -> Event | None:
        seen = self._data or self._id is not None or self._retry is not None
        event = Event(b"\n".join(self._data), self._name or "message", self._id, self._retry) if seen else None
        self._data, self._size, self._name, self._id, self._retry = [], 0, "", None, None
        return event
