"""One gateway for each module of tests, in front of real MCP servers over stdio and HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.support.processes import RAW, serving, stdio_entry
from tests.support.waiting import until
from tests.unit.gateway.management.house import House, built

SECRET = "s3cret-value"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    """`raw` over stdio and `far` over HTTP are up; `off` is disabled, `broken` is invalid, `gone` cannot be started."""
    directory = tmp_path_factory.mktemp("house")
    with serving(RAW, "--era", "handshake", "--tools", "2") as url:
        raw = stdio_entry(RAW, "--era", "handshake", "--tools", "3")
        servers: dict[str, object] = {
            "raw": {**raw, "name": "Raw one", "description": "first", "env": {"TOKEN": SECRET}},
            "far": {"url": url, "headers": {"Authorization": f"Bearer {SECRET}"}},
            "off": {**raw, "disabled": True},
            "broken": {"command": "x", "url": "http://localhost/x"},
            "gone": {"command": "no-such-program-anywhere"},
        }
        filtering = {"serverFilter": {"mode": "denylist", "servers": ["far"]}}
        async with built({"mcpServers": servers, "toolFiltering": filtering}, directory) as house:
            await until_ready(house, "raw", "far")
            yield house


async def until_ready(house: House, *names: str) -> None:
    """Wait until these upstreams are ready and their tools are in the catalog."""

    async def states() -> list[str]:
        return [house.deps.fleet.get(name).status.state for name in names]

    await until(states, lambda seen: set(seen) == {"ready"}, 30, f"{names} ready")
    await house.deps.republish.settled()
