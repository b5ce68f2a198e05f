"""A whole gateway in the test's own process and loop, with the two satellites it talks to.

Owns its start, its readiness and its end. The port is real; what is inside can be looked at, and a satellite can be
taken away and brought back.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import msgspec

import hub_categorizer.servicer as categorizer_service
import hub_filter.servicer as filter_service
from hub_categorizer.settings import Settings as CategorizerSettings
from hub_common.rpc_server import RpcServer
from hub_common.tasks import Tasks
from hub_common.telemetry import configure
from hub_filter.settings import Settings as FilterSettings
from hub_gateway.config.load import load
from hub_gateway.sessions.session import Session
from hub_gateway.settings import GatewaySettings
from hub_gateway.wiring import Gateway
from tests.support import raw_http
from tests.support.waiting import until

READY_S = 20.0
HEARD_S = 15.0


@dataclass
class House:
    """A running gateway and its satellites; None stands for one that is away."""

    gateway: Gateway
    directory: Path
    categorizing: CategorizerSettings
    filter: RpcServer | None = None
    categorizer: RpcServer | None = None

    @property
    def url(self) -> str:
        """The endpoint for MCP clients."""
        return f"http://127.0.0.1:{self.gateway.port}/mcp"

    async def ready(self, *names: str) -> None:
        """Wait until these upstreams are ready and what they offer is published."""
        fleet = self.gateway.fleet
        await until(
            lambda: _now(lambda: [state for name in names if (state := _state(fleet, name)) != "ready"]),
            lambda missing: not missing,
            READY_S,
            f"{', '.join(names)} ready",
        )
        await self.settled()

    async def settled(self) -> None:
        """Wait until everything that changed until now is published."""
        with anyio.fail_after(READY_S):
            await self.gateway.republish.settled()

    async def published(self, wanted: Callable[[Gateway], bool], what: str) -> None:
        """Publish again and again until this is true of the gateway."""

        async def look() -> bool:
            await self.settled()
            return wanted(self.gateway)

        await until(look, bool, READY_S, what)

    async def start_filter(self) -> None:
        """Bring the filter back."""
        self.filter = await filter_service.start(FilterSettings(), f"unix:{self.directory}/filter")

    async def stop_filter(self) -> None:
        """Take the filter away, as a crash would."""
        if self.filter is not None:
            await self.filter.stop(0)
            self.filter = None

    async def start_categorizer(self) -> None:
        """Bring the categorizer back."""
        address = f"unix:{self.directory}/categorizer"
        self.categorizer = await categorizer_service.start(self.categorizing, address, self.gateway.store)

    async def stop_categorizer(self) -> None:
        """Take the categorizer away, as a crash would."""
        if self.categorizer is not None:
            await self.categorizer.stop(0)
            self.categorizer = None

    def session(self, session_id: str | None) -> Session:
        """The session of that id, as the gateway has it."""
        assert session_id is not None
        found = self.gateway.sessions.find(session_id)
        assert found is not None
        return found

    async def filtering(self, **policy: Any) -> None:
        """Put another `toolFiltering` in force and wait until it is published."""
        path = self.directory / "other.json"
        path.write_text(json.dumps({"mcpServers": {}, "toolFiltering": policy}))
        self.gateway.republish.apply(load([path]).tool_filtering)
        await self.settled()

    async def views(self, views: Mapping[str, object]) -> None:
        """Put other views in force, as an edit of the config does, and wait until they are published."""
        path = self.directory / "mcp-servers.json"
        document = {**json.loads(path.read_text()), "views": dict(views)}
        path.write_text(json.dumps(document))
        await self.gateway.apply(load([path]))
        await self.settled()


def _state(fleet: Any, name: str) -> str:
    supervisor = fleet.supervisors.get(name)
    if supervisor is None:
        return "absent"
    return "ready" if supervisor.status.state == "ready" else f"{name}: {supervisor.status}"


async def _now(look: Callable[[], Any]) -> Any:
    return look()


@asynccontextmanager
async def gateway(
    servers: Mapping[str, object],
    directory: Path,
    *,
    filtering: Mapping[str, object] | None = None,
    views: Mapping[str, object] | None = None,
    categorizing: CategorizerSettings | None = None,
    **settings: Any,
) -> AsyncGenerator[House]:
    """A gateway in front of these servers, its upstreams ready and published; files and sockets are under `directory`.

    `settings` are those of the process that differ from the defaults.
    """
    path = directory / "mcp-servers.json"
    document = {"mcpServers": dict(servers), "toolFiltering": dict(filtering or {}), "views": dict(views or {})}
    path.write_text(json.dumps(document))
    chosen = msgspec.structs.replace(
        GatewaySettings(),
        port=0,
        state_dir=str(directory / "state"),
        filter_target=f"unix:{directory}/filter",
        categorizer_target=f"unix:{directory}/categorizer",
        **{"drain_s": 0.0, **settings},
    )
    house = House(Gateway(chosen, [path], configure("gateway")), directory, categorizing or CategorizerSettings())
    tasks = Tasks("test")
    await house.start_filter()
    await house.start_categorizer()
    tasks.spawn(house.gateway.run(), "gateway")
    try:
        await house.ready(*servers)
        yield house
    finally:
        house.gateway.stop()
        await house.gateway.close()
        await tasks.close()
        await house.stop_filter()
        await house.stop_categorizer()


class Stream:
    """What a client hears on one of its streams."""

    def __init__(self, exchange: raw_http.Exchange) -> None:
        self.status = exchange.status
        self.headers = exchange.headers
        self._events = exchange.events()

    async def next(self) -> dict[str, Any]:
        """The next message."""
        with anyio.fail_after(HEARD_S):
            return json.loads(await anext(self._events))

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Every message up to and including the first one that is wanted."""
        heard: list[dict[str, Any]] = []
        while not heard or not wanted(heard[-1]):
            heard.append(await self.next())
        return heard

    async def rest(self) -> list[dict[str, Any]]:
        """Every message until the stream ends."""
        with anyio.fail_after(HEARD_S):
            return [json.loads(event) async for event in self._events]


@asynccontextmanager
async def standing(house: House, session_id: str | None, **headers: str) -> AsyncGenerator[Stream]:
    """A session's GET stream, open for as long as the block."""
    fields = {"Accept": "text/event-stream", "Mcp-Session-Id": session_id or "", **headers}
    async with raw_http.opened("GET", house.url, headers=fields) as exchange:
        yield Stream(exchange)


@asynccontextmanager
async def posted(house: House, body: bytes, headers: Mapping[str, str]) -> AsyncGenerator[Stream]:
    """A POST whose answer is read as a stream."""
    fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **headers}
    async with raw_http.opened("POST", house.url, body, fields) as exchange:
        yield Stream(exchange)


async def heard_before(house: House, session_id: str | None, stream: Stream) -> list[str]:
    """The methods a session was told of until now, on its standing stream."""
    house.session(session_id).tell(b'{"jsonrpc":"2.0","method":"the/end"}')
    return [message["method"] for message in await stream.until(lambda message: message["method"] == "the/end")][:-1]
