"""Streamable HTTP toward an upstream: one POST for each message, answered by JSON or by an event stream.

Owns the endpoint's headers, the HTTP session of the handshake era, the standing GET stream and the resumption of broken
streams (2025-11-25 transports §Streamable HTTP; 2026-07-28 transports/streamable-http). Knows no method's meaning.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from hub_common.tasks import Tasks
from hub_gateway.config.server_model import ConnectionPool
from hub_gateway.errors import UpstreamBusy, UpstreamDown, UpstreamError, UpstreamGarbage, UpstreamUnauthorized
from hub_gateway.upstreams.transports.address import Address, encode_headers, parse, request_head
from hub_gateway.upstreams.transports.configured import configured_headers
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.upstreams.transports.http1 import Broken, Feed, Response, Unreachable
from hub_gateway.upstreams.transports.pool import Pool
from hub_gateway.upstreams.transports.refusals import error_in, excerpt, names_session
from hub_gateway.upstreams.transports.transport import (
    SESSION_ENDED,
    Access,
    Forgotten,
    Lost,
    Receive,
    Refused,
    bearer_line,
)
from hub_gateway.wire import headers
from hub_gateway.wire.revisions import CACHEABLE_METHODS, Era, era_of

_log = logging.getLogger(__name__)

_REPEATABLE = frozenset(
    {
        *CACHEABLE_METHODS,
        "completion/complete",
        "logging/setLevel",
        "notifications/initialized",
        "ping",
        "prompts/get",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/get",
        "tasks/list",
    }
)
"""Messages that may be written again where the socket broke before anything of an answer came: they change nothing, or
nothing more the second time. Never a call, which may have run."""

_REDIRECTS = (307, 308)
_MAX_REDIRECTS = 3
_MAX_HEADS = 2_048
_RESUMPTIONS = 5
_RETRY_S = 1.0
_LEAST_RETRY_S = 0.05
_MAX_RETRY_S = 30.0
_DELETE_S = 2.0
_LISTENS_S = 0.5
_MAX_REFUSALS = 3
_RENEWALS = 2


def _passes(status: int) -> bool:
    """Whether a stream that is refused with this status may be there in a moment: the server has not noticed yet that
    the last socket broke (409), or is busy, or is away behind its proxy."""
    return status in (409, 429) or status >= 500


def _pause_s(stream: EventStream, failures: int) -> float:
    """How long to wait before a stream is asked for again: as long as the server says, and twice as long after each
    failure in a row."""
    retry_s = _RETRY_S if stream.retry_s is None else max(stream.retry_s, _LEAST_RETRY_S)
    return min(retry_s * 2 ** min(failures, 10), _MAX_RETRY_S)


class StreamableHttp:
    """One endpoint of an upstream. `headers` are the configured ones; they win over none of the protocol's own, and
    hold no Authorization where there is an `access`."""

    kind = "streamable-http"
    streams = True

    def __init__(
        self, name: str, url: str, headers_: dict[str, str], limits: ConnectionPool, access: Access | None = None
    ) -> None:
        self._name = name
        self._address: Address = parse(url)
        self._configured = configured_headers(headers_)
        self._limits = limits
        self._access = access
        self._unwatch: Callable[[], None] | None = None
        self._pool: Pool | None = None
        """For what is asked from now on; None before `open` and after `close`."""
        self._pools: dict[str, Pool] = {}
        """By origin, that of the pool and those that redirects led away from: calls under way there go on."""
        self._tasks = Tasks(f"upstream.{name}.http")
        self._receive: Receive | None = None
        self._lost: Lost | None = None
        self._revision = ""
        self._stateless = False
        self._session_id: str | None = None
        self._listens = False
        """Whether the standing GET stream is open, or is being asked for again."""
        self._ended = False
        """The server has ended the session, which requests under way then hear too."""
        self._heads: dict[tuple[str, str | None], bytes] = {}

    @property
    def has_session(self) -> bool:
        """Whether the upstream has named a session (2025-11-25 transports §Session Management: it may)."""
        return self._session_id is not None

    async def open(self, receive: Receive, lost: Lost) -> None:
        """Prepare the pool; the first message opens the first socket."""
        self._receive, self._lost = receive, lost
        self._pool = self._pool_of(self._address)
        if self._access is not None:
            self._unwatch = self._access.watch(self._forget_heads)

    def speak(self, revision: str) -> None:
        """Set the revision of the following messages."""
        self._revision = revision
        self._stateless = era_of(revision) is Era.STATELESS
        if self._stateless:
            self._session_id = None
        self._heads = {}

    async def send(
        self,
        message: bytes,
        *,
        upstream_id: int | None,
        method: str,
        name: str | None,
        mirrored: Sequence[tuple[str, str]] = (),
    ) -> None:
        """POST one message and receive what its response brings."""
        if self._pool is None or self._receive is None:
            raise UpstreamDown("the link is closed")
        key = (method, name) if self._stateless else ("", None)
        head = self._heads.get(key) or self._make_head(key)
        if mirrored and self._stateless:
            head = self._spell(key, dict(mirrored))
        if upstream_id is None:
            try:
                response = await self._pool.exchange(head, message)
            except Broken:
                if method not in _REPEATABLE:
                    raise
                # Some servers close the socket of each answer without a word.
                response = await self._exchange(head, message, None)
            await self._after(response, head, message, None, None, method)
            return
        stream = EventStream(self._receive, upstream_id)
        try:
            response = await self._pool.exchange(head, message, stream.feed)
        except Broken:
            if stream.last_event_id is not None:
                await self._resume(stream)
                return
            if stream.heard or method not in _REPEATABLE:
                raise
            # Mostly the server closed an idle socket just as it was used again.
            response = await self._exchange(head, message, stream.feed)
        if response.status == 200 and not response.streamed and method != "initialize":
            if not self._receive(response.body, upstream_id):
                raise self._no_answer(response)
            return
        await self._after(response, head, message, stream, upstream_id, method)

    async def close(self) -> None:
        """End the HTTP session, if there is one, and close every socket."""
        pool, self._pool = self._pool, None
        if self._unwatch is not None:
            self._unwatch()
        await self._tasks.close()
        if pool is None:
            return
        if self._session_id is not None:
            try:
                async with asyncio.timeout(_DELETE_S):
                    await pool.exchange(request_head("DELETE", self._address, self._headers("application/json")))
            except (UpstreamError, TimeoutError) as fault:
                _log.debug("%s: the session was not ended: %s", self._name, fault)
        for each in self._pools.values():
            await each.close()

    def _pool_of(self, address: Address) -> Pool:
        pool = self._pools.get(address.origin)
        if pool is None:
            pool = self._pools[address.origin] = Pool(address, self._limits)
        return pool

    # Answers to a POST

    async def _after(
        self,
        response: Response,
        head: bytes,
        message: bytes,
        stream: EventStream | None,
        upstream_id: int | None,
        method: str,
    ) -> None:
        """Make of a response what it means; the plain JSON answer to a request has been dealt with before."""
        feed = None if stream is None else stream.feed
        if response.status in (401, 403):
            head, response = await self._admitted(response, head, lambda again: self._exchange(again, message, feed))
        if self._pool is None or self._receive is None:
            raise Broken("the link is closed")
        for _ in range(_MAX_REDIRECTS):
            if response.status not in _REDIRECTS:
                break
            head = self._redirected(response, method, head)
            response = await self._exchange(head, message, feed)
        if method == "initialize" and 200 <= response.status < 300:
            self._session_id = response.header(b"mcp-session-id") or None
            self._heads = {}
        if response.streamed and stream is not None:
            if stream.fault is not None:
                raise stream.fault
            if not stream.answered:
                await self._resume(stream)
        elif not 200 <= response.status < 300:
            self._refuse(response, upstream_id)
        elif upstream_id is not None and not self._is_answer(response, upstream_id):
            raise self._no_answer(response)
        if method == "notifications/initialized":
            await self._begin_to_listen()

    async def _admitted(
        self, response: Response, head: bytes, ask: Callable[[bytes], Awaitable[Response]]
    ) -> tuple[bytes, Response]:
        """Ask again with another credential where there is one: what was answered with 401 or 403 has not run."""
        for _ in range(_RENEWALS):
            if self._access is None or response.status not in (401, 403):
                break
            refused = bearer_line(head)
            await self._access.renew(refused, response.status, response.challenge)
            head = (head.replace(refused, b"", 1) if refused else head) + self._access.header
            response = await ask(head)
            if response.status not in (401, 403):
                self._access.accepted(bearer_line(head))
        return head, response

    async def _exchange(self, head: bytes, message: bytes, feed: Feed | None) -> Response:
        if self._pool is None:
            raise Broken("the link is closed")
        return await self._pool.exchange(head, message, feed)

    def _refuse(self, response: Response, upstream_id: int | None) -> None:
        """Raise what a status beyond 2xx means, unless the body is the response to the request."""
        if self._receive is None or self._lost is None:
            raise Broken("the link is closed")
        status = response.status
        if status in (401, 403):
            raise UpstreamUnauthorized(
                f"it wants credentials (HTTP {status})",
                {"challenge": response.challenge} if response.challenge else None,
            )
        in_session = self._session_id is not None or self._ended
        if in_session and (status == 404 or (status == 400 and names_session(response.body))):
            self._session_id, self._ended = None, True
            self._lost(SESSION_ENDED)
            raise Forgotten(SESSION_ENDED)
        if upstream_id is not None:
            error = error_in(response.body, upstream_id)
            if error is not None and self._receive(error, upstream_id):
                return
        if status == 429:
            raise UpstreamBusy("it asks for fewer requests (HTTP 429)")
        raise Refused(f"HTTP {status}{excerpt(response.body)}", status)

    def _is_answer(self, response: Response, upstream_id: int) -> bool:
        """Receive what came instead of a stream; whether it is the response, or promises it."""
        if response.body and self._receive is not None and self._receive(response.body, upstream_id):
            return True
        # Some servers answer on the GET stream, against the specification, and clients of the SDKs find it there.
        return response.status == 202 and self._listens

    def _no_answer(self, response: Response) -> UpstreamGarbage:
        kind = response.header(b"content-type") or "no content type"
        if coding := response.header(b"content-encoding"):
            kind += f", coded as {coding}, which was not asked for"
        return UpstreamGarbage(f"HTTP {response.status} ({kind}) is no answer to the request{excerpt(response.body)}")

    def _redirected(self, response: Response, method: str, head: bytes) -> bytes:
        """Move to the address that a 307 or 308 names and return the head spelled anew: the request has not run."""
        if self._pool is None:
            raise Broken("the link is closed")
        # Of several that were under way each names the address that it was sent to, and one was the first to move.
        first_line, _, rest = head.split(b"\r\n", 2)
        asked = self._address._replace(target=first_line.split(b" ")[1].decode())
        address = asked.joined(response.header(b"location") or "")
        if address.host != self._address.host or (self._address.tls and not address.tls):
            raise UpstreamDown(f"it redirects to {address.origin}; put that address into the config if it is right")
        self._pool = self._pool_of(address)
        self._address, self._heads = address, {}
        return request_head("POST", address, rest)

    # Streams of the handshake era

    async def _resume(self, stream: EventStream) -> None:
        """Carry on a POST's stream that ended without the response (2025-11-25 transports §Resumability). The server
        may end each socket of it when it likes, with nothing new on it (§Sending Messages to the Server, point 6)."""
        failures = 0
        while not stream.answered:
            if stream.fault is not None:
                raise stream.fault
            if stream.last_event_id is None or self._stateless or failures >= _RESUMPTIONS:
                raise Broken("the stream ended before the answer came")
            await asyncio.sleep(_pause_s(stream, failures))
            stream.restart()
            try:
                response = await self._get(stream, stream.feed)
            except Broken:
                response = None
            opened = response is not None and response.streamed
            if response is not None and not opened and not _passes(response.status):
                raise Broken("the stream ended before the answer came, and the server does not carry it on")
            failures = 0 if opened or stream.heard else failures + 1

    async def _begin_to_listen(self) -> None:
        """Ask for the standing GET stream, and wait a moment until it is open: what is asked before may be lost."""
        opened = asyncio.Event()
        self._listens = True
        listening = self._tasks.spawn(self._listen(opened), "listen")
        listening.add_done_callback(lambda _: self._listens_no_more())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LISTENS_S):
                await opened.wait()

    def _listens_no_more(self) -> None:
        self._listens = False

    async def _listen(self, listening: asyncio.Event) -> None:
        """Keep the standing GET stream open, as long as the server offers one (§Listening for Messages). `listening` is
        set once it is open, or there is none."""
        assert self._receive is not None and self._lost is not None
        stream = EventStream(self._receive, None)
        failures, opened = 0, False

        def feed(chunk: bytes) -> bool:
            listening.set()
            return stream.feed(chunk)

        while opened or failures < _MAX_REFUSALS:
            try:
                response = await self._get(stream, feed)
            except Unreachable as fault:
                self._lost(str(fault))
                return
            except Broken:
                response = None
            except UpstreamGarbage as fault:
                _log.debug("%s: no listening stream: %s", self._name, fault)
                return
            finally:
                listening.set()
            if response is not None and not response.streamed:
                if response.status == 404 and self._session_id is not None and opened:
                    self._lost(SESSION_ENDED)
                    return
                if not _passes(response.status):
                    return
            opened = opened or response is None or response.streamed
            failures = 0 if stream.heard else failures + 1
            await asyncio.sleep(_pause_s(stream, failures))
            stream.restart()

    async def _get(self, stream: EventStream, feed: Feed) -> Response:
        extra = self._headers("text/event-stream")
        if stream.last_event_id is not None:
            extra += encode_headers({headers.LAST_EVENT_ID: stream.last_event_id})
        head = request_head("GET", self._address, extra)
        response = await self._open_stream(head, feed)
        try:
            return (await self._admitted(response, head, lambda again: self._open_stream(again, feed)))[1]
        except UpstreamUnauthorized as fault:
            _log.debug("%s: no stream: %s", self._name, fault)
            return response

    async def _open_stream(self, head: bytes, feed: Feed) -> Response:
        if self._pool is None:
            raise Broken("the link is closed")
        return await self._pool.exchange(head, feed=feed, own=True)

    # Heads

    def _headers(self, accept: str) -> bytes:
        own = {"Accept": accept}
        if self._revision:
            own[headers.PROTOCOL_VERSION] = self._revision
        if self._session_id is not None:
            own[headers.SESSION_ID] = self._session_id
        return self._configured + encode_headers(own) + (b"" if self._access is None else self._access.header)

    def _forget_heads(self) -> None:
        self._heads = {}

    def _make_head(self, key: tuple[str, str | None]) -> bytes:
        head = self._spell(key, {})
        if len(self._heads) < _MAX_HEADS:
            self._heads[key] = head
        return head

    def _spell(self, key: tuple[str, str | None], mirrored: dict[str, str]) -> bytes:
        extra = self._headers("application/json, text/event-stream") + b"Content-Type: application/json\r\n"
        method, name = key
        if method:
            extra += encode_headers({headers.METHOD: method})
        if name is not None:
            extra += encode_headers({headers.NAME: headers.encode_value(name)})
        return request_head("POST", self._address, extra + encode_headers(mirrored))
