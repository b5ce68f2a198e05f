"""A whole gateway and the person in front of it: opens what the hub names, as a browser would."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from hub_gateway.config.load import load
from hub_gateway.upstreams.supervisor import Supervisor
from tests.support import raw_http
from tests.support.gateway import House, gateway
from tests.support.protected_server import Site
from tests.support.waiting import until

READY_S = 20.0


class Desk:
    """The person."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.base = house.url.removesuffix("/mcp")

    async def configure(self, **servers: dict[str, Any]) -> None:
        """Put these servers in force."""
        path = self.house.directory / "mcp-servers.json"
        path.write_text(json.dumps({"mcpServers": servers}))
        document = load([path])
        assert not document.invalid
        await self.house.gateway.apply(document)

    async def add(self, site: Site, name: str = "up", **entry: Any) -> Supervisor:
        """Put one server in force, and wait until the hub knows how it is."""
        await self.configure(**{name: {"url": site.url, "timeoutSeconds": 10, **entry}})
        supervisor = self.house.gateway.fleet.get(name)
        await self.until(lambda: supervisor.status.state != "connecting", f"{name} is known")
        return supervisor

    async def until(self, wanted: Any, what: str) -> None:
        """Wait until this is true of the gateway."""

        async def look() -> tuple[bool, str]:
            return bool(wanted()), str([s.status for s in self.house.gateway.fleet.supervisors.values()])

        await until(look, lambda seen: seen[0], READY_S, what)

    async def ready(self, supervisor: Supervisor) -> None:
        """Wait until it is ready."""
        await self.until(lambda: supervisor.status.state == "ready", "ready")

    async def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask the REST interface."""
        sent = b"" if body is None else json.dumps(body).encode()
        fields = {"Content-Type": "application/json"} if sent else {}
        answer = await raw_http.send(method, self.base + path, sent, fields, READY_S)
        return answer.status, json.loads(answer.body)

    async def server(self, name: str = "up") -> dict[str, Any]:
        """The server object."""
        return (await self.api("POST", "/api/servers/info", {"server_name": name}))[1]["server"]

    async def call(self, tool: str = "read", name: str = "up") -> tuple[int, Any]:
        """Call a tool by hand."""
        return await self.api("POST", "/api/servers/tools", {"server_name": name, "tool": tool, "arguments": {}})

    async def asked_back(self, url: str) -> str:
        """Log in, and give the address the browser is sent back to."""
        answer = await raw_http.send("GET", url)
        assert answer.status == 302, answer
        return answer.headers["location"]

    async def open(self, url: str) -> raw_http.Answer:
        """Log in and go where the browser is sent; the page that the hub answers with."""
        back = await self.asked_back(url)
        assert back.startswith(f"{self.base}/api/oauth/callback?")
        with anyio.fail_after(READY_S):
            return await raw_http.send("GET", back)

    async def log_in(self, supervisor: Supervisor) -> raw_http.Answer:
        """Open what the server object names, and wait until the server is ready."""
        url = (await self.server(supervisor.name))["authorizationUrl"]
        assert url is not None, supervisor.status
        page = await self.open(url)
        assert page.status == 200, page.body
        await self.ready(supervisor)
        return page


@asynccontextmanager
async def desk(directory: Path, **settings: Any) -> AsyncGenerator[Desk]:
    """A gateway without servers, and the person."""
    async with gateway({}, directory, **settings) as house:
        yield Desk(house)
