"""The header lines of an HTTP/1.1 message of the usual shape, read at once.

Owns which lines count as usual (RFC 9112 §5: a name, a colon, a value on one line) and remembers them: a peer sends
nearly the same lines with every message. What is not usual goes to a full parser, which has the last word.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

Fields = dict[bytes, bytes]
"""Values by lower-case name."""

_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*+((?:[\x21-\x7e\x80-\xff]+(?:[ \t]+[\x21-\x7e\x80-\xff]+)*)?)[ \t]*+"
)
"""No blank is tried in two places (`*+`): a line of nothing else would take the square of its length."""

_MAX_KNOWN = 4_096
_MAX_LINE_BYTES = 512
_MAX_HEAD_BYTES = 2_048
_ONCE = frozenset({b"traceparent", b"tracestate", b"baggage"})
_NEVER_TWICE = _ONCE | {b"date"}
"""A line of these is not remembered; a head with a date is, since many come within its second."""
_DIGITS = 12
_WANT_MORE = frozenset({b"expect", b"upgrade", b"origin"})
"""Who sends one of these wants it to be answered too."""

_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)

_known: dict[bytes, tuple[bytes, bytes]] = {}


class Head(msgspec.Struct, eq=False):
    """A head that was read, without its first line. Shared by all messages that have the same one."""

    fields: Fields
    size: int
    """How long the body is; -1 where another than `Content-Length` has a say in it."""
    keeps: bool
    """Whether the socket may carry another message; False also where that is not plainly said."""
    is_plain: bool
    """Whether a request with this head wants no more than to have its body read and answered."""
    notes: Any = None
    """What its reader has made of it: as long as it is remembered, that need not be made again."""


class Heads:
    """The heads one reader has seen: a peer sends the same one again and again."""

    def __init__(self) -> None:
        self.known: dict[bytes, Head] = {}

    def read(self, raw: bytes) -> Head | None:
        """Read what stands between the first line and the empty one; None where that is not usual."""
        fields = read_fields(raw.split(b"\r\n"))
        if fields is None:
            return None
        size, kept = body_size(fields), keeps(fields)
        wants_more = size is None or kept is None or not _WANT_MORE.isdisjoint(fields)
        head = Head(fields, -1 if size is None else size, kept is True, not wants_more)
        if len(raw) <= _MAX_HEAD_BYTES and not _ONCE & fields.keys():
            if len(self.known) >= _MAX_KNOWN:
                self.known.clear()  # peers choose these, so what is remembered has an end
            self.known[raw] = head
        return head


def read_fields(lines: list[bytes]) -> Fields | None:
    """The fields of a head, its first line left out; None where a line is not usual or a name comes twice."""
    fields: Fields = {}
    try:
        for line in lines:
            name, value = _known.get(line) or _read(line)
            fields[name] = value
    except ValueError:
        return None
    return fields if len(fields) == len(lines) else None


def body_size(fields: Fields) -> int | None:
    """How long the body is; None where `Content-Length` does not say, or another field has a say in it."""
    size = fields.get(b"content-length", b"")
    if not size.isdigit() or len(size) > _DIGITS or b"transfer-encoding" in fields:
        return None
    return int(size)


def keeps(fields: Fields) -> bool | None:
    """Whether the socket may carry another message; None where `Connection` says more than that."""
    said = fields.get(b"connection")
    if said is None or said == b"keep-alive":
        return True
    return {b"close": False, b"keep-alive": True}.get(said.lower())


def without_upgrade(data: bytes) -> bytes:
    """What begins with the head of a request, or goes on with one, without the wish to speak another protocol.

    A server may ignore it (RFC 9110 §7.8), but llhttp does not: it takes the body for that protocol's. Java's client
    offers HTTP/2 with every request.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    without, found = _UPGRADE.subn(b"", head)
    return without + end + rest if found else data


def _read(line: bytes) -> tuple[bytes, bytes]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(line)
    field = (found[1].lower(), found[2])
    if len(line) <= _MAX_LINE_BYTES and field[0] not in _NEVER_TWICE:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()  # peers choose these, so what is remembered has an end
        _known[line] = field
    return field
