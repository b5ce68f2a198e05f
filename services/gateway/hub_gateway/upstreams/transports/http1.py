"""A small HTTP/1.1 client: keep-alive sockets to one origin, one exchange at a time on each.

Owns sockets, their pool and the parsing of responses. Knows no MCP. A request is written once and never again: whether
one whose answer did not come has run, only the upstream can tell.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from hub_gateway.config.model import ConnectionPool
from hub_gateway.errors import UpstreamDown, UpstreamGarbage
from hub_gateway.upstreams.transports.address import Address
from hub_gateway.upstreams.transports.transport import MESSAGE_LIMIT_BYTES

Feed = Callable[[bytes], bool]
"""Takes one piece of an event stream; True ends the exchange: what else comes on the stream is skipped."""

_SKIP_S = 2.0
_TRUST_IDLE_S = 0.5
_REAP_S = 2.0
_JOINED_BYTES = 65_536


class Unreachable(UpstreamDown):
    """No socket could be opened: nothing was sent."""


class Broken(UpstreamDown):
    """The socket ended in the middle of an exchange: the request may have run."""


class Response:
    """What came back. The body of an event stream is empty here: it went to the feed."""

    __slots__ = ("body", "headers", "status", "streamed")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, streamed: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.streamed = streamed

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value.decode("latin-1")
        return None


class Link(asyncio.Protocol):
    """One socket of a pool."""

    def __init__(self, pool: Pool) -> None:
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
        self._streaming = False
        self._skipping: asyncio.TimerHandle | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._status = 0
        self._body: list[bytes] = []
        self._size = 0

    def exchange(self, done: asyncio.Future[Response], head: bytes, body: bytes, feed: Feed | None) -> None:
        """Write a request; `done` gets the response or a fault."""
        self._done, self._feed, self._streaming = done, feed, False
        self._headers, self._body, self._size, self._status = [], [], 0, 0
        if self._socket is None or self.failure is not None:
            self._fail(Unreachable(self.failure or "the connection was closed by the server"))
            return
        if len(body) < _JOINED_BYTES:
            self._socket.write(head + body)
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

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of asyncio's

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            self._fail(UpstreamGarbage(f"it does not speak HTTP: {fault}"))
            self.abort("it does not speak HTTP")
            return
        if self._done is None and self._streaming and self._skipping is None and self.failure is None:
            self._skipping = asyncio.get_running_loop().call_later(_SKIP_S, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._status and self._done is not None and self.failure is None and self._ends_with_the_socket():
            self._complete()
        if self.failure is None:
            self.failure = f"the connection broke: {exc}" if exc else "the connection was closed by the server"
        self._fail(Broken(self.failure))
        if self._skipping is not None:
            self._skipping.cancel()
        self._socket = None
        self._pool.gone(self)

    # httptools

    def on_message_begin(self) -> None:
        if self._done is None:
            self.abort("the server sent what was not asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        for name, value in self._headers:
            size = len(name)
            if size == 12 and self._feed is not None and name.lower() == b"content-type":
                self._streaming = value[:17].lower() == b"text/event-stream"
            elif size == 10 and value != self._keep_alive_value and name.lower() == b"keep-alive":
                self._keep_alive_value = value
                self.keep_s = self._pool.keep_s_of(value)

    def on_body(self, body: bytes) -> None:
        if self._streaming:
            if self._done is not None and self._feed is not None and self._feed(body):
                self._resolve(b"")
            return
        self._size += len(body)
        if self._size > MESSAGE_LIMIT_BYTES:
            self._fail(UpstreamGarbage(f"the answer is longer than {MESSAGE_LIMIT_BYTES} bytes"))
            self.abort()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._status < 200:
            self._headers, self._status = [], 0
            return
        keep = self._parser.should_keep_alive()
        self._complete()
        if self.failure is not None:
            return
        if keep:
            self._pool.release(self)
        else:
            self.failure = "the server wants a new connection"
            if self._socket is not None:
                self._socket.close()

    # One exchange

    def _complete(self) -> None:
        self._resolve(self._body[0] if len(self._body) == 1 else b"".join(self._body))
        self._streaming = False
        self._body = []
        if self._skipping is not None:
            self._skipping.cancel()
            self._skipping = None

    def _resolve(self, body: bytes) -> None:
        done, self._done, self._feed = self._done, None, None
        if done is not None and not done.done():
            done.set_result(Response(self._status, self._headers, body, self._streaming))

    def _fail(self, fault: Exception) -> None:
        done, self._done, self._feed = self._done, None, None
        if done is not None and not done.done():
            done.set_exception(fault)

    def _ends_with_the_socket(self) -> bool:
        """Whether the response gave no other end (RFC 9112 §6.3, 8)."""
        return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers)


class Pool:
    """The sockets to one origin. At most `limits.max_connections`; who comes later waits, for as long as it wants.

    Whoever makes it closes it.
    """

    def __init__(self, address: Address, limits: ConnectionPool) -> None:
        self._address = address
        self._limits = limits
        self._tls = ssl.create_default_context() if address.tls else None
        self._idle: list[Link] = []
        self._links: set[Link] = set()
        self._own: set[Link] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self.keep_s = limits.keep_alive_timeout_ms / 1000

    @property
    def idle(self) -> int:
        """Sockets that wait for their next request."""
        return len(self._idle)

    async def exchange(
        self, head: bytes, body: bytes | None = None, feed: Feed | None = None, *, own: bool = False
    ) -> Response:
        """Send one request, `head` up to the last header line, and return its response.

        An event stream goes to `feed` piece by piece, and this returns when it ended or the feed had enough. With `own`
        the socket is opened for this exchange and not counted, for streams that stay open. Cancelling closes it.

        Raises:
            Unreachable: nothing was sent.
            Broken: the socket ended before the response did.
            UpstreamGarbage: no HTTP, or a body beyond the limit.
        """
        link = self._idle.pop() if self._idle and not own else None
        if link is None or not link.usable(self._loop.time()):
            link = await self._acquire(link, own)
        done: asyncio.Future[Response] = self._loop.create_future()
        if body is None:
            link.exchange(done, head + b"\r\n", b"", feed)
        else:
            link.exchange(done, b"%bContent-Length: %d\r\n\r\n" % (head, len(body)), body, feed)
        try:
            return await done
        except asyncio.CancelledError:
            if done.cancelled():  # else the response was quicker, and the socket may carry the next one already
                link.abort()
            raise

    async def close(self) -> None:
        """Close every socket; exchanges under way fail."""
        self._closed = True
        for link in (*self._links, *self._own):
            link.abort("the link was closed")
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
        if self._reaper is not None:
            self._reaper.cancel()

    def keep_s_of(self, value: bytes) -> float:
        """How long a socket may idle when the server said `Keep-Alive: timeout=…`; a second less, to lose no race."""
        _, found, seconds = value.lower().partition(b"timeout=")
        digits = seconds.split(b",")[0].strip()
        if not found or not digits.isdigit():
            return self.keep_s
        return min(int(digits) - 1, self._limits.keep_alive_max_timeout_ms / 1000)

    def release(self, link: Link) -> None:
        """Take back a socket whose exchange is over."""
        if link not in self._links or not self._limits.enabled or self._closed:
            link.abort()
            return
        link.idle_since = self._loop.time()
        self._idle.append(link)
        if self._reaper is None:
            self._reaper = self._loop.call_later(_REAP_S, self._reap)
        if self._waiting:
            self._wake_one()

    def gone(self, link: Link) -> None:
        """Forget a socket that is closed."""
        self._links.discard(link)
        self._own.discard(link)
        if link in self._idle:
            self._idle.remove(link)
        self._wake_one()

    async def _acquire(self, stale: Link | None, own: bool) -> Link:
        if stale is not None:
            stale.abort()
        waited = False
        while not self._closed:
            if own:
                return await self._connect(counted=False)
            while self._idle:
                link = self._idle.pop()
                if link.usable(self._loop.time()):
                    return link
                link.abort()
            if len(self._links) + self._opening < self._limits.max_connections:
                return await self._connect(counted=True)
            turn: asyncio.Future[None] = self._loop.create_future()
            (self._waiting.appendleft if waited else self._waiting.append)(turn)
            waited = True
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self._wake_one()
                raise
        raise Unreachable("the link was closed")

    async def _connect(self, counted: bool) -> Link:
        address = self._address
        self._opening += counted
        try:
            async with asyncio.timeout(self._limits.timeout_ms / 1000):
                _, link = await self._loop.create_connection(
                    lambda: Link(self), address.host, address.port, ssl=self._tls
                )
        except TimeoutError as fault:
            raise Unreachable(f"cannot reach {address.origin}: no answer to the connection attempt") from fault
        except OSError as fault:
            raise Unreachable(f"cannot reach {address.origin}: {_in_words(fault)}") from fault
        finally:
            self._opening -= counted
        if self._closed:
            link.abort()
            raise Unreachable("the link was closed")
        (self._links if counted else self._own).add(link)
        return link

    def _wake_one(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _reap(self) -> None:
        # The last one in is the first one out, so the oldest stand in front. Those beyond the free limit are closed
        # here and not on release: under load each is wanted again at once.
        now_s = self._loop.time()
        surplus = len(self._idle) - self._limits.max_free_connections
        for position, link in enumerate(list(self._idle)):
            idle_s = now_s - link.idle_since
            if idle_s >= link.keep_s or (position < surplus and idle_s >= _REAP_S):
                link.abort()
                self._idle.remove(link)
        self._reaper = self._loop.call_later(_REAP_S, self._reap) if self._idle else None


def _in_words(fault: OSError) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({fault.verify_message})"
    return (fault.strerror or str(fault)).lower()
