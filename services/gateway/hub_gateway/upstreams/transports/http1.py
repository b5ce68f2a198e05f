"""HTTP/1.1 on one socket: one exchange at a time, as many as the server allows.

Owns the socket and the parsing of responses; which socket is taken is the `pool`'s. Knows no MCP. A request is written
once and never again: whether one whose answer did not come has run, only the upstream can tell.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable, Iterable
from typing import Protocol, cast

import httptools
import msgspec

from hub_gateway.backlog import LONG_BYTES
from hub_gateway.errors import UpstreamDown, UpstreamGarbage
from hub_gateway.intake import Intake, set_reading
from hub_gateway.outgoing import JOINED_BYTES, Outgoing
from hub_gateway.turns import FLOOD_BYTES, TURNS_BYTES
from hub_gateway.upstreams.transports.transport import MESSAGE_LIMIT_BYTES
from hub_gateway.wire.head_fields import Head, Heads

Feed = Callable[[bytes], bool]
"""Takes one piece of an event stream, an empty one as soon as a stream begins that is to stay open; True settles the
exchange. It still gets what comes on the stream after that, for a while."""

_OK = b"HTTP/1.1 200 OK\r\n"
_OK_BYTES = len(_OK)
_EVENT_STREAM = b"text/event-stream"
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
_REST_S = 2.0
_TRUST_IDLE_S = 0.5
HEAD_LIMIT_BYTES = 256 * 1024
"""What a response may say besides its body: its head, other heads before it, and what follows the body."""


_heads = Heads()
"""Of all servers, each with what it means."""


class Unreachable(UpstreamDown):
    """No socket could be opened: nothing was sent."""


class Broken(UpstreamDown):
    """The socket ended in the middle of an exchange: the request may have run."""


class Response(msgspec.Struct, eq=False):
    """What came back. The body of an event stream is empty here: it went to the feed."""

    status: int
    headers: Iterable[tuple[bytes, bytes]]
    body: bytes
    streamed: bool

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value.decode("latin-1")
        return None

    @property
    def challenge(self) -> str | None:
        """`WWW-Authenticate`, all of them in one line."""
        found = [value.decode("latin-1") for key, value in self.headers if key.lower() == b"www-authenticate"]
        return ", ".join(found) or None


class _Meant(msgspec.Struct, frozen=True):
    """What the head of a response with status 200 means."""

    size: int
    """Of the whole body, if that needs no parser; -1 where it is an event stream, or the socket ends with it."""
    in_chunks: bool
    """Whether it is an event stream in chunks, after which the socket may carry another response."""
    headers: Iterable[tuple[bytes, bytes]]
    keep_alive: bytes | None


def _meant(head: Head) -> _Meant:
    streamed = head.fields.get(b"content-type", b"")[:17].lower() == _EVENT_STREAM
    size = head.size if head.keeps and not streamed else -1
    in_chunks = head.keeps and streamed and head.fields.get(b"transfer-encoding") == b"chunked"
    return _Meant(size, in_chunks, tuple(head.fields.items()), head.fields.get(b"keep-alive"))


def whole_chunks(data: bytes, at: int = 0) -> tuple[list[bytes], int, bool]:
    """Read the chunks from a place in `data` on that are whole and of the usual shape (RFC 9112 §7.1).

    Returns:
        What each carries, where the rest begins, and whether the last chunk was among them.
    """
    pieces: list[bytes] = []
    while (found := _CHUNK.match(data, at)) is not None:
        start = found.end()
        end = start + int(found[1], 16)
        if data[end : end + 2] != b"\r\n":
            break
        at = end + 2
        if start == end:
            return pieces, at, True
        pieces.append(data[start:end])
    return pieces, at, False


class Owner(Protocol):
    """The pool a socket belongs to."""

    keep_s: float
    """How long a socket may idle when the server does not say."""
    outgoing: Outgoing
    """Its writes."""

    def keep_s_of(self, value: bytes) -> float:
        """How long a socket may idle when the server sent this `Keep-Alive` header."""
        ...

    def release(self, link: Link) -> None:
        """Take back a socket whose exchange is over."""
        ...

    def gone(self, link: Link) -> None:
        """Forget a socket that is closed."""
        ...


class Link(asyncio.Protocol):
    """One socket of a pool; `shared` is one for a stream that stays open, with many messages."""

    def __init__(self, pool: Owner, *, shared: bool = False) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._socket: asyncio.Transport | None = None
        self.keep_s = pool.keep_s
        self._keep_alive_value = b""
        self.idle_since = 0.0
        self.failure: str | None = None
        # The exchange under way
        self._done: asyncio.Future[Response] | None = None
        self._feed: Feed | None = None
        self._parsing = False
        """Whether a response has begun and not ended that the parser reads, or would."""
        self._unparsed = b""
        """The head of that response, where it comes in chunks of the usual shape: the parser has seen nothing of it."""
        self._streaming = False
        self._resting: asyncio.TimerHandle | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._status = 0
        self._body: list[bytes] = []
        self._size = 0
        self._beside = 0
        """Bytes that came since the response began, or since its body last went on."""
        self._shared = shared
        self._intake: Intake | None = None
        """Made for the first long message."""

    def exchange(self, done: asyncio.Future[Response], head: bytes, body: bytes, feed: Feed | None) -> None:
        """Write a request; `done` gets the response or a fault."""
        self._done, self._feed = done, feed
        if self._socket is None or self.failure is not None:
            self._fail(Unreachable(self.failure or "the connection was closed by the server"))
            return
        if len(body) < JOINED_BYTES:
            self._pool.outgoing.write(self._socket, head + body)
        else:
            self._socket.write(head)
            self._socket.write(body)

    def usable(self, now_s: float) -> bool:
        """Whether an idle socket may carry another request: neither too old nor closed by the peer meanwhile."""
        if self.failure is not None:
            return False
        idle_s = now_s - self.idle_since
        if idle_s < _TRUST_IDLE_S:
            return True
        if idle_s >= self.keep_s or self._socket is None:
            return False
        # The peer's FIN may be in the kernel though the loop has not read it: an idle socket has nothing to say.
        waiting = select.poll()
        waiting.register(self._socket.get_extra_info("socket").fileno(), select.POLLIN)
        return not waiting.poll(0)

    def abort(self, reason: str = "the connection was closed") -> None:
        """Close the socket now, whatever is under way."""
        if self.failure is None:
            self.failure = reason
        if self._socket is not None:
            self._socket.abort()
        self._fail(Broken(self.failure))

    def pause_reading(self) -> None:
        """There is no room for the message that comes, or it is the turn of others."""
        set_reading(self._socket, on=False)

    def resume_reading(self) -> None:
        """There is room again, or it was this one's turn."""
        set_reading(self._socket, on=True)

    def cut(self) -> None:
        """The message comes too slowly, and others wait for its room."""
        self.abort("its answer came too slowly while the hub was short of room for long messages")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of asyncio's

    def data_received(self, data: bytes) -> None:
        if not self._parsing and self._done is not None and self._take_usual(data):
            return
        if self._unparsed and not (data := self._take_chunks(data)):
            return
        in_turn = self._size > TURNS_BYTES or (self._streaming and len(data) > FLOOD_BYTES)
        if in_turn or (self._intake is not None and self._intake.is_behind):
            self._its_intake().piece(lambda: self._parse(data))
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        self._beside += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            self._fail(UpstreamGarbage(f"it does not speak HTTP: {fault}"))
            self.abort("it does not speak HTTP")
            return
        if self._beside > HEAD_LIMIT_BYTES and self._parsing:
            self._fail(UpstreamGarbage(f"the head of its answer is longer than {HEAD_LIMIT_BYTES} bytes"))
            self.abort("the head of its answer has no end")
            return
        self._await_rest()

    def _await_rest(self) -> None:
        """What a stream brings after the response belongs to no call any more: wait for its end, for a while."""
        if self._done is None and self._streaming and self._resting is None and self.failure is None:
            self._resting = asyncio.get_running_loop().call_later(_REST_S, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._intake is not None:
            self._intake.flush()
        if self._parsing and self._done is not None and self.failure is None and self._ends_with_the_socket():
            self._complete()
        if self.failure is None:
            self.failure = f"the connection broke: {exc}" if exc else "the connection was closed by the server"
        self._fail(Broken(self.failure))
        if self._resting is not None:
            self._resting.cancel()
        self._socket = None
        # The parser and this hold each other, so that what is kept here would stay until the collector comes.
        self._headers, self._body = [], []
        if self._intake is not None:
            self._intake.gone_on()
        self._pool.gone(self)

    def _take_usual(self, data: bytes) -> bool:
        """Take a whole answer of the usual shape, as nearly all are; False where it is none."""
        end = data.find(b"\r\n\r\n") if data.startswith(_OK) else -1
        if end < 0:
            return False
        raw = data[_OK_BYTES:end]
        head = _heads.known.get(raw) or _heads.read(raw)
        if head is None:
            return False
        meant: _Meant | None = head.notes
        if meant is None:
            meant = head.notes = _meant(head)
        start = end + 4
        in_chunks = meant.in_chunks and self._feed is not None
        if not in_chunks and meant.size != len(data) - start:
            return False
        if meant.keep_alive is not None and meant.keep_alive != self._keep_alive_value:
            self._heed(meant.keep_alive)
        if in_chunks:
            if not self._take_whole_stream(data, start, meant):
                self._take_stream(data, start, meant)
            return True
        self._settle(Response(200, meant.headers, data[start:], False))
        self._release()
        return True

    def _take_whole_stream(self, data: bytes, start: int, meant: _Meant) -> bool:
        """Take an event stream that has come to its end already, as the answers to most calls; False where it has
        not."""
        if self._shared or len(data) > FLOOD_BYTES or (self._intake is not None and self._intake.is_behind):
            return False
        pieces, at, ended = whole_chunks(data, start)
        if not ended or at < len(data):
            return False
        for piece in pieces:
            if self._feed is not None:
                self._feed(piece)
        if self.failure is None:
            self._settle(Response(200, meant.headers, b"", True))
            self._release()
        return True

    def _take_stream(self, data: bytes, start: int, meant: _Meant) -> None:
        """Begin with an event stream whose head is usual; its chunks need no parser while they are so too."""
        self._parsing = self._streaming = True
        self._headers, self._body, self._size, self._status = list(meant.headers), [], 0, 200
        self._beside = 0
        if self._shared and self._feed is not None:
            self._feed(b"")
        self._unparsed = data[:start]
        if rest := self._take_chunks(data[start:]):
            self._parse(rest)

    def _take_chunks(self, data: bytes) -> bytes:
        """Take what comes of such a stream; what is returned is the parser's, with all that follows."""
        intake = self._intake
        if len(data) > FLOOD_BYTES or self._size > LONG_BYTES or (intake is not None and intake.is_behind):
            at, ended = 0, False
        else:
            pieces, at, ended = whole_chunks(data)
            for piece in pieces:
                self.on_body(piece)
        if self.failure is None and (at < len(data) or ended):
            head, self._unparsed = self._unparsed, b""
            if not ended:
                self._parse(head)
            elif at == len(data):
                self._end(True)
            else:
                self.abort("the server sent what was not asked for")
        if self.failure is not None:
            return b""
        self._await_rest()
        return data[at:]

    def _heed(self, keep_alive_value: bytes) -> None:
        self._keep_alive_value = keep_alive_value
        self.keep_s = self._pool.keep_s_of(keep_alive_value)

    # httptools

    def on_message_begin(self) -> None:
        if self._parsing and self._streaming:  # what has begun without the parser
            self._headers = []
            return
        if not self._parsing:  # else it follows an interim one
            self._beside = 0
        self._parsing, self._streaming = True, False
        self._headers, self._body, self._size, self._status = [], [], 0, 0
        if self._done is None:
            self.abort("the server sent what was not asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        for name, value in self._headers:
            size = len(name)
            if size == 12 and self._feed is not None and name.lower() == b"content-type":
                self._streaming = value[:17].lower() == _EVENT_STREAM
                if self._streaming and self._shared:
                    self._feed(b"")
            elif size == 10 and value != self._keep_alive_value and name.lower() == b"keep-alive":
                self._heed(value)

    def on_body(self, body: bytes) -> None:
        self._beside = 0
        self._size += len(body)
        if self._streaming:
            if self._feed is not None and self._feed(body) and self._done is not None:
                self._resolve(b"")
            if self._size > LONG_BYTES:
                self._size_up_event(body)
            return
        if self._size > MESSAGE_LIMIT_BYTES:
            self._fail(UpstreamGarbage(f"the answer is longer than {MESSAGE_LIMIT_BYTES} bytes"))
            self.abort()
            return
        self._body.append(body)
        if self._size > LONG_BYTES:
            self._its_intake().came(self._size, self._said_bytes())

    def _size_up_event(self, body: bytes) -> None:
        """Take room for the event that is open, and give back that of the one before."""
        end = max(body.rfind(b"\n\n"), body.rfind(b"\r\n\r\n"))
        if end >= 0:
            self._size = len(body) - end
            if self._intake is not None:
                self._intake.gone_on()
        else:
            self._its_intake().came(self._size)

    def _its_intake(self) -> Intake:
        if self._intake is None:
            self._intake = Intake(self, shared=self._shared)
        return self._intake

    def _said_bytes(self) -> int:
        """How long the body will be, where its head says it and it is within the limit."""
        said = next((value for name, value in self._headers if name.lower() == b"content-length"), b"")
        return min(int(said), MESSAGE_LIMIT_BYTES) if said.isdigit() else 0

    def on_message_complete(self) -> None:
        if self._status < 200:
            self._headers, self._status = [], 0
            return
        self._end(self._parser.should_keep_alive())

    # One exchange

    def _end(self, keep: bool) -> None:
        """A response is whole."""
        self._parsing = False
        self._complete()
        if self.failure is not None:
            return
        if keep:
            self._release()
        else:
            self.failure = "the server wants a new connection"
            if self._socket is not None:
                self._socket.close()

    def _complete(self) -> None:
        self._resolve(self._body[0] if len(self._body) == 1 else b"".join(self._body))
        self._streaming = False
        self._body = []
        if self._intake is not None:
            self._intake.gone_on()
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _resolve(self, body: bytes) -> None:
        self._settle(Response(self._status, self._headers, body, self._streaming))

    def _settle(self, response: Response) -> None:
        done, self._done = self._done, None
        if done is not None and not done.done():
            done.set_result(response)

    def _release(self) -> None:
        self._feed = None
        self._pool.release(self)

    def _fail(self, fault: Exception) -> None:
        done, self._done, self._feed = self._done, None, None
        if done is not None and not done.done():
            done.set_exception(fault)

    def _ends_with_the_socket(self) -> bool:
        """Whether the response has begun and gave no other end (RFC 9112 §6.3, 8)."""
        return self._status > 0 and not any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers
        )
