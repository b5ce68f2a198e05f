"""What levels servers with sessions are told, and when."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hub_gateway.routing import log_levels
from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, gateway
from tests.support.small_server import SmallServer, small_server, tool
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
TOLD_S = 10.0


class Talk(NamedTuple):
    """A gateway in front of two servers: one that logs, and one that does not say so."""

    house: House
    server: SmallServer
    silent: SmallServer

    def told(self) -> list[str]:
        """The levels that the server was told, in order."""
        return [each["params"]["level"] for each in self.server.seen if each.get("method") == "logging/setLevel"]

    async def tells(self, *levels: str) -> None:
        """Wait until it was told these, and nothing else."""

        async def told() -> list[str]:
            return self.told()

        await until(told, lambda told: told == list(levels), TOLD_S, str(levels))


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncGenerator[Talk]:
    async with small_server(tool("x")) as server, small_server(tool("x")) as silent:
        silent.capabilities = {"logging": None}
        async with gateway({"a": {"url": server.url}, "b": {"url": silent.url}}, tmp_path) as house:
            yield Talk(house, server, silent)


async def test_nobody_wants_a_level_and_nothing_is_told(talk: Talk) -> None:
    async with raw_session(talk.house.url) as client:
        await client.call("a__x")
        await RawClient(talk.house.url).call("a__x")
    assert talk.told() == []


async def test_the_most_verbose_level_stands_while_somebody_wants_it(talk: Talk) -> None:
    async with raw_session(talk.house.url) as one:
        await one.request("logging/setLevel", {"level": "error"})
        assert talk.told() == ["error"]
        async with raw_session(talk.house.url) as other:
            await talk.tells("error", "info")  # what who never set one wants
            await other.request("logging/setLevel", {"level": "debug"})
            await one.request("logging/setLevel", {"level": "alert"})
            assert talk.told() == ["error", "info", "debug"]
        await talk.tells("error", "info", "debug", "alert")
    await talk.tells("error", "info", "debug", "alert", "info")
    assert not [each for each in talk.silent.seen if each.get("method") == "logging/setLevel"]


async def test_a_server_that_comes_back_is_told_again(talk: Talk) -> None:
    async with raw_session(talk.house.url) as client:
        await client.request("logging/setLevel", {"level": "notice"})
        await talk.house.gateway.fleet.stop("a")
        await client.request("logging/setLevel", {"level": "warning"})
        await talk.house.gateway.fleet.start("a")
        await talk.house.ready("a")
        assert talk.told() == ["notice", "warning"]


async def test_a_stateless_call_s_level_is_told_before_the_call_and_taken_back(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_levels, "LINGER_S", 0.0)
    talk.server.seen.clear()
    params: dict[str, Any] = {"name": "a__x", "_meta": {"io.modelcontextprotocol/logLevel": "debug"}}
    assert (await RawClient(talk.house.url).request("tools/call", params)).status == 200
    called = [each["method"] for each in talk.server.seen if each["method"] in ("tools/call", "logging/setLevel")]
    assert called[:2] == ["logging/setLevel", "tools/call"]
    await talk.tells("debug", "info")


async def test_a_level_that_is_none_changes_nothing(talk: Talk) -> None:
    params: dict[str, Any] = {"name": "a__x", "_meta": {"io.modelcontextprotocol/logLevel": "loud"}}
    assert (await RawClient(talk.house.url).request("tools/call", params)).status == 400
    async with raw_session(talk.house.url) as client:
        assert (await client.request("logging/setLevel", {"level": "loud"})).json()["error"]["code"] == -32602
    assert talk.told() == []
