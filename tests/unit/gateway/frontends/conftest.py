"""One gateway for all frontends, in front of a server whose calls the tests hold, release and follow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.support import raw_http
from tests.support.clients import INFO, RawClient
from tests.support.gateway import House, gateway
from tests.support.raw_http import Answer
from tests.support.small_server import Answer as Result
from tests.support.small_server import Call, SmallServer, small_server, text, tool

BODY_LIMIT_BYTES = 64 * 1024
NAMES = ("echo", "hold", "steps", "ask", "big")


class Front:
    """The gateway, the server behind it, and what holds its calls."""

    def __init__(self, house: House, server: SmallServer) -> None:
        self.house = house
        self.server = server
        self.release = asyncio.Event()

    @property
    def url(self) -> str:
        """The endpoint."""
        return self.house.url

    async def send(self, body: bytes | object, method: str = "POST", **headers: str) -> Answer:
        """One request to the endpoint; header names are written with `_`."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT}
        return await raw_http.send(
            method, self.url, sent, fields | {name.replace("_", "-"): value for name, value in headers.items()}
        )

    async def session(self, revision: str = "2025-11-25", **capabilities: object) -> RawClient:
        """A client that shook hands."""
        params = {"protocolVersion": revision, "capabilities": capabilities, "clientInfo": INFO}
        answer = await self.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        assert answer.status == 200, answer
        return RawClient(self.url, answer.headers["mcp-session-id"])

    async def running(self, name: str = "hold") -> Call:
        """The one call of this tool that runs upstream."""

        def wanted(seen: dict[str, Any]) -> bool:
            params: dict[str, Any] = seen.get("params") or {}
            return params.get("name") == name

        message = await self.server.saw(wanted)
        return self.server.calls[message["id"]]


@pytest.fixture(scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Front]:
    async with (
        small_server(*map(tool, NAMES)) as server,
        gateway(
            {"a": {"url": server.url}}, tmp_path_factory.mktemp("front"), body_limit_bytes=BODY_LIMIT_BYTES
        ) as house,
    ):
        yield Front(house, server)


@pytest.fixture
async def front(built: Front) -> AsyncGenerator[Front]:
    """Nothing seen yet, and nothing released."""
    built.server.seen.clear()
    built.release = asyncio.Event()

    async def hold(_call: Call) -> Result:
        await built.release.wait()
        return text("released")

    async def steps(call: Call) -> Result:
        for step in range(1, 4):
            call.progress(step)
        await built.release.wait()
        call.progress(4)
        return text("done")

    async def ask(call: Call) -> Result:
        answer = await call.ask("roots/list", {"_meta": {"x": 1e5}})
        return text(json.dumps(answer))

    async def big(call: Call) -> Result:
        return text("x" * int(call.params["arguments"]["bytes"]))

    built.server.handlers = {"hold": hold, "steps": steps, "ask": ask, "big": big}
    yield built
    built.release.set()


def call_of(name: str, client_id: object = 1, **params: Any) -> dict[str, Any]:
    """A `tools/call` as a client with a session writes it."""
    return {"jsonrpc": "2.0", "id": client_id, "method": "tools/call", "params": {"name": name, **params}}


def naming(client: RawClient) -> dict[str, str]:
    """The headers of a request in this session."""
    return {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, "Mcp-Session-Id": client.session_id or ""}


async def lost_call(front: Front, client: RawClient) -> tuple[str, list[Any]]:
    """Start a call, hear three steps and hang up: the id of the last event, and what was heard."""
    body = json.dumps(call_of("a__steps", _meta={"progressToken": "t"})).encode()
    last, heard, buffer = "", list[Any](), b""
    async with raw_http.opened("POST", front.url, body, naming(client)) as exchange:
        async for chunk in exchange.chunks():
            *blocks, buffer = (buffer + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
            for block in blocks:
                last = next((line[4:].decode() for line in block.split(b"\n") if line.startswith(b"id: ")), last)
                if data := raw_http.event_data(block):
                    heard.append(json.loads(data))
            if len(heard) == 3:
                break
    return last, heard
