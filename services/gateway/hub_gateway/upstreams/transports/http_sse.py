"""The deprecated HTTP+SSE transport: one GET stream brings every message, POSTs carry the hub's (2024-11-05 basic/
transports §HTTP with SSE).

Owns the stream and the address that its `endpoint` event names. Knows no method's meaning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from hub_common.tasks import Tasks
from hub_gateway.config.server_model import ConnectionPool
from hub_gateway.errors import UpstreamDown, UpstreamError, UpstreamUnauthorized
from hub_gateway.upstreams.transports.address import Address, encode_headers, parse, request_head
from hub_gateway.upstreams.transports.configured import configured_headers
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.upstreams.transports.http1 import Response
from hub_gateway.upstreams.transports.pool import Pool
from hub_gateway.upstreams.transports.refusals import excerpt
from hub_gateway.upstreams.transports.transport import Access, Lost, Receive, Refused
from hub_gateway.wire import headers
from hub_gateway.wire.framing import Event

_log = logging.getLogger(__name__)

_RENEWALS = 2


class HttpSse:
    """One SSE endpoint of an upstream. `headers` hold no Authorization where there is an `access`."""

    kind = "sse"
    streams = False
    has_session = True

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
        self._tasks = Tasks(f"upstream.{name}.sse")
        self._endpoint: asyncio.Future[Address] | None = None
        self._revision = ""
        self._head = b""

    async def open(self, receive: Receive, lost: Lost) -> None:
        """Open the stream and wait for its `endpoint` event, as long as the caller does."""
        self._pool = Pool(self._address, self._limits)
        self._endpoint = asyncio.get_running_loop().create_future()
        if self._access is not None:
            self._unwatch = self._access.watch(lambda: self.speak(self._revision))
        self._tasks.spawn(self._read(receive, lost, self._pool), "read")
        await self._endpoint
        self.speak("")

    def speak(self, revision: str) -> None:
        """Set the revision of the following messages."""
        self._revision = revision
        own = {"Content-Type": "application/json", "Accept": "application/json"}
        if revision:
            own[headers.PROTOCOL_VERSION] = revision
        endpoint = self._endpoint
        if endpoint is not None and endpoint.done() and not endpoint.cancelled() and endpoint.exception() is None:
            extra = self._configured + encode_headers(own) + self._shown
            self._head = request_head("POST", endpoint.result(), extra)

    async def send(
        self,
        message: bytes,
        *,
        upstream_id: int | None,
        method: str,
        name: str | None,
        mirrored: Sequence[tuple[str, str]] = (),
    ) -> None:
        """POST one message; its answer comes on the stream."""
        pool = self._pool
        if pool is None:
            raise UpstreamDown("the link is closed")
        shown = self._shown
        response = await pool.exchange(self._head, message)
        for _ in range(_RENEWALS):
            if self._access is None or response.status not in (401, 403):
                break
            await self._access.renew(shown, response.status, response.challenge)
            shown = self._shown
            response = await pool.exchange(self._head, message)
        if not 200 <= response.status < 300:
            raise _refusal(response)
        if self._access is not None:
            self._access.accepted(shown)

    async def close(self) -> None:
        """End the stream and close every socket."""
        pool, self._pool = self._pool, None
        if self._unwatch is not None:
            self._unwatch()
        await self._tasks.close()
        if self._endpoint is not None and not self._endpoint.done():
            self._endpoint.cancel()
        if pool is not None:
            await pool.close()

    async def _read(self, receive: Receive, lost: Lost, pool: Pool) -> None:
        stream = EventStream(receive, None, self._event)
        fault: UpstreamError = UpstreamDown("the server ended the event stream")
        try:
            response = await self._open_stream(stream, pool)
            if not response.streamed:
                fault = _refusal(response)
            elif stream.fault is not None:
                fault = stream.fault
        except UpstreamError as broken:
            fault = broken
        assert self._endpoint is not None
        if not self._endpoint.done():
            self._endpoint.set_exception(fault)
        else:
            lost(str(fault))

    async def _open_stream(self, stream: EventStream, pool: Pool) -> Response:
        for renewals in range(_RENEWALS + 1):
            shown = self._shown
            extra = self._configured + encode_headers({"Accept": "text/event-stream"}) + shown
            response = await pool.exchange(request_head("GET", self._address, extra), feed=stream.feed, own=True)
            if self._access is None or response.status not in (401, 403) or renewals == _RENEWALS:
                return response
            await self._access.renew(shown, response.status, response.challenge)
        raise AssertionError("the last round returns")

    @property
    def _shown(self) -> bytes:
        return b"" if self._access is None else self._access.header

    def _event(self, event: Event) -> None:
        assert self._endpoint is not None
        if event.name != "endpoint" or self._endpoint.done():
            return
        try:
            address = self._address.joined(event.data.decode(errors="replace").strip())
        except UpstreamDown as fault:
            self._endpoint.set_exception(fault)
            return
        if address.origin != self._address.origin:
            # A foreign address would be sent the configured credentials.
            self._endpoint.set_exception(UpstreamDown(f"it wants messages sent to another origin, {address.origin}"))
        else:
            self._endpoint.set_result(address)


def _refusal(response: Response) -> UpstreamError:
    if response.status in (401, 403):
        return UpstreamUnauthorized(
            f"it wants credentials (HTTP {response.status})",
            {"challenge": response.challenge} if response.challenge else None,
        )
    return Refused(f"HTTP {response.status}{excerpt(response.body)}", response.status)
