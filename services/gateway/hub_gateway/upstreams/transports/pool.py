"""The sockets to one origin, kept open between exchanges.

Owns how many there are, who gets which, and when an idle one is closed. What goes over one is `http1`'s.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import lru_cache

from hub_gateway.config.server_model import ConnectionPool
from hub_gateway.outgoing import Outgoing
from hub_gateway.upstreams.transports.address import Address
from hub_gateway.upstreams.transports.http1 import Feed, Link, Response, Unreachable

_REAP_S = 2.0
_UNSAID_S = 4.0
"""How long a socket without TLS idles at most where the server does not say how long it keeps it. The usual ones close
after 5 seconds, and one that closes just as it is used again takes the request with it; another is opened quickly."""


@lru_cache(4_096)
def _length_line(size: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % size


class Pool:
    """The sockets to one origin. At most `limits.max_connections`; who comes later waits, for as long as it wants.

    Whoever makes it closes it.
    """

    def __init__(self, address: Address, limits: ConnectionPool) -> None:
        self._address = address
        self._limits = limits
        self._tls = ssl.create_default_context() if address.tls else None
        self.outgoing = Outgoing()
        self._idle: list[Link] = []
        self._links: set[Link] = set()
        self._own: set[Link] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        kept_s = limits.keep_alive_timeout_ms / 1000
        self.keep_s = kept_s if address.tls else min(kept_s, _UNSAID_S)

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
            link.exchange(done, head + _length_line(len(body)), body, feed)
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
        address, opened = self._address, False
        self._opening += counted
        try:
            async with asyncio.timeout(self._limits.timeout_ms / 1000):
                _, link = await self._loop.create_connection(
                    lambda: Link(self, shared=not counted), address.host, address.port, ssl=self._tls
                )
                opened = True
        except TimeoutError as fault:
            raise Unreachable(f"cannot reach {address.origin}: no answer to the connection attempt") from fault
        except OSError as fault:
            raise Unreachable(f"cannot reach {address.origin}: {_in_words(fault)}") from fault
        finally:
            self._opening -= counted
            if counted and not opened:
                self._wake_one()  # the place is free
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
