"""The deprecated HTTP+SSE transport: one GET stream brings every message, POSTs carry the hub's (2024-11-05 basic/
transports §HTTP with SSE).

Owns the stream and the address that its `endpoint` event names. Knows no method's meaning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from hub_common.tasks import Tasks
from hub_gateway.config.model import ConnectionPool
from hub_gateway.errors import UpstreamDown, UpstreamError, UpstreamUnauthorized
from hub_gateway.upstreams.transports.address import Address, encode_headers, parse, request_head
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.upstreams.transports.http1 import Response
from hub_gateway.upstreams.transports.pool import Pool
from hub_gateway.upstreams.transports.streamable_http import configured_headers, excerpt
from hub_gateway.upstreams.transports.transport import Lost, Receive, Refused
from hub_gateway.wire import headers
from hub_gateway.wire.framing import Event

_log = logging.getLogger(__name__)


class HttpSse:
    """One SSE endpoint of an upstream."""

    streams = False

    def __init__(self, name: str, url: str, headers_: dict[str, str], limits: ConnectionPool) -> None:
        self._name = name
        self._address: Address = parse(url)
        self._configured = configured_headers(headers_)
        self._limits = limits
        self._pool: Pool | None = None
        self._tasks = Tasks(f"upstream.{name}.sse")
        self._endpoint: asyncio.Future[Address] | None = None
        self._revision = ""
        self._head = b""

    async def open(self, receive: Receive, lost: Lost) -> None:
        """Open the stream and wait for its `endpoint` event, as long as the caller does."""
        self._pool = Pool(self._address, self._limits)
        self._endpoint = asyncio.get_running_loop().create_future()
        self._tasks.spawn(self._read(receive, lost, self._pool), "read")
        await self._endpoint
        self.speak("")

    def speak(self, revision: str) -> None:
        """Set the revision of the following messages."""
        self._revision = revision
        own = {"Content-Type": "application/json", "Accept": "application/json"}
        if revision:
            own[headers.PROTOCOL_VERSION] = revision
        if self._endpoint is not None and self._endpoint.done():
            self._head = request_head("POST", self._endpoint.result(), self._configured + encode_headers(own))

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
        if self._pool is None:
            raise UpstreamDown("the link is closed")
        response = await self._pool.exchange(self._head, message)
        if not 200 <= response.status < 300:
            raise _refusal(response)

    async def close(self) -> None:
        """End the stream and close every socket."""
        pool, self._pool = self._pool, None
        await self._tasks.close()
        if self._endpoint is not None and not self._endpoint.done():
            self._endpoint.cancel()
        if pool is not None:
            await pool.close()

    async def _read(self, receive: Receive, lost: Lost, pool: Pool) -> None:
        head = request_head("GET", self._address, self._configured + encode_headers({"Accept": "text/event-stream"}))
        stream = EventStream(receive, None, self._event)
        fault: UpstreamError = UpstreamDown("the server ended the event stream")
        try:
            response = await pool.exchange(head, feed=stream.feed, own=True)
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
        challenge = response.header(b"www-authenticate")
        return UpstreamUnauthorized(
            f"it wants credentials (HTTP {response.status})", {"challenge": challenge} if challenge else None
        )
    return Refused(f"HTTP {response.status}{excerpt(response.body)}", response.status)
