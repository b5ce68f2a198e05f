"""All upstreams, when the document is another."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator

import pytest

from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.config.model import Document
from hub_gateway.config.server_model import InvalidServer, ServerConfig
from hub_gateway.errors import UnknownUpstream, UpstreamDown, UpstreamTimeout
from hub_gateway.upstreams.fleet import Changes, Fleet
from tests.support import processes
from tests.unit.gateway.upstreams.everything import CONTEXT, call, config, serving
from tests.unit.gateway.upstreams.eyes import until

pytestmark = pytest.mark.anyio


def _raw(name: str, **fields: object) -> ServerConfig:
    line = processes.command(processes.RAW, "--transport", "stdio")
    return config(name, command=line[0], args=tuple(line[1:]), cwd=str(processes.ROOT), **fields)


def _hanging(name: str) -> ServerConfig:
    return config(name, command=sys.executable, args=("-c", "import sys; sys.stdin.read()"))


def _document(*servers: ServerConfig | InvalidServer) -> Document:
    valid = {server.name: server for server in servers if isinstance(server, ServerConfig)}
    invalid = {server.name: server for server in servers if isinstance(server, InvalidServer)}
    return Document(valid, invalid, ToolFiltering(), (), ())


class _Told:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.fleet = Fleet(CONTEXT, self.names.append, lambda name, message: None)

    async def ready(self, *names: str) -> None:
        def states() -> list[str]:
            return [self.fleet.get(name).status.state for name in names]

        await until(states, lambda found: set(found) == {"ready"}, f"{names} ready")


@contextlib.asynccontextmanager
async def fleet_of(*servers: ServerConfig | InvalidServer) -> AsyncIterator[_Told]:
    told = _Told()
    try:
        await told.fleet.apply(_document(*servers))
        yield told
    finally:
        await told.fleet.close()


async def test_a_server_that_hangs_delays_nobody() -> None:
    async with fleet_of(_hanging("slow"), _raw("quick"), InvalidServer("bad", "no command", "x")) as told:
        await told.ready("quick")
        states = {name: one.status.state for name, one in told.fleet.supervisors.items()}
        assert states == {"slow": "connecting", "quick": "ready", "bad": "invalid"}


async def test_apply_changes_only_what_is_another() -> None:
    async with fleet_of(_raw("a"), _raw("b"), _raw("c")) as told:
        fleet = told.fleet
        await told.ready("a", "b", "c")
        kept, connection = fleet.get("a"), fleet.get("a").connection
        changes = await fleet.apply(_document(_raw("d"), _raw("b", env={"X": "1"}), _raw("a")))
        assert changes == Changes(added=("d",), removed=("c",), modified=("b",), unchanged=("a",))
        assert list(fleet.supervisors) == ["d", "b", "a"]
        assert fleet.get("a") is kept
        assert kept.connection is connection
        await told.ready("a", "b", "d")
        with pytest.raises(UnknownUpstream):
            fleet.get("c")


@pytest.mark.parametrize(
    ("servers", "why"),
    [
        ((), "removed from the config"),
        ((_raw("a", env={"X": "1"}),), "changed in the config"),
        ((_raw("a", disabled=True),), "disabled in the config"),
        ((InvalidServer("a", "no command", "x"),), "its config entry cannot be used"),
        (None, "stopped by request"),
    ],
    ids=["removed", "changed", "disabled", "invalid", "stopped"],
)
async def test_a_call_under_way_ends_with_why_its_server_does(
    servers: tuple[ServerConfig, ...] | None, why: str
) -> None:
    async with fleet_of(_raw("a")) as told:
        await told.ready("a")
        up = told.fleet.get("a")
        calling = asyncio.ensure_future(call(up, "raw_hang"))
        await until(lambda: up.in_flight, lambda count: count == 1, "the call")
        if servers is None:
            await told.fleet.stop("a")
        else:
            await told.fleet.apply(_document(*servers))
        with pytest.raises(UpstreamDown, match=f"a: {why}"):
            await calling


async def test_a_call_under_way_over_http_ends_with_why_its_server_does() -> None:
    with serving("http", module=processes.RAW) as server:
        async with fleet_of(server) as told:
            await told.ready("up")
            up = told.fleet.get("up")
            calling = asyncio.ensure_future(call(up, "raw_hang"))
            await until(lambda: up.in_flight, lambda count: count == 1, "the call")
            await told.fleet.stop("up")
            with pytest.raises(UpstreamDown, match="up: stopped by request"):
                await calling


async def test_a_change_that_does_not_concern_the_link_keeps_it_and_is_told() -> None:
    async with fleet_of(_raw("a")) as told:
        await told.ready("a")
        connection = told.fleet.get("a").connection
        told.names.clear()
        changes = await told.fleet.apply(_document(_raw("a", prefix="x", description="new", max_in_flight=3)))
        assert changes.unchanged == ("a",)
        assert told.names == ["a"]
        supervisor = told.fleet.get("a")
        assert supervisor.connection is connection
        assert isinstance(supervisor.config, ServerConfig)
        assert supervisor.config.prefix == "x"


async def test_another_limit_of_time_holds_on_connections_of_sessions_too() -> None:
    async with fleet_of(_raw("a", isolation="session")) as told:
        await told.ready("a")
        own = await told.fleet.own("a", "s1")
        await told.fleet.apply(_document(_raw("a", isolation="session", timeout_s=0.1)))
        assert await told.fleet.own("a", "s1") is own
        with pytest.raises(UpstreamTimeout, match=r"0\.1 seconds"):
            async with asyncio.timeout(10):
                await call(own, "raw_hang", timeout_s=None)


async def test_entries_become_valid_invalid_disabled_and_back() -> None:
    async with fleet_of(InvalidServer("a", "no command", "x"), _raw("b", disabled=True)) as told:
        fleet = told.fleet
        assert fleet.get("b").status.state == "stopped"
        assert (await fleet.apply(_document(_raw("a"), _raw("b")))).modified == ("a", "b")
        await told.ready("a", "b")
        changes = await fleet.apply(_document(InvalidServer("a", "worse", "x"), _raw("b", disabled=True)))
        assert set(changes.modified) == {"a", "b"}
        assert {name: one.status.state for name, one in fleet.supervisors.items()} == {"b": "stopped", "a": "invalid"}


async def test_stop_start_and_refresh_by_name() -> None:
    async with fleet_of(_raw("a")) as told:
        fleet = told.fleet
        await told.ready("a")
        await fleet.refresh("a")
        await fleet.stop("a")
        assert fleet.get("a").status.state == "stopped"
        assert (await fleet.apply(_document(_raw("a")))).unchanged == ("a",)
        assert fleet.get("a").status.state == "stopped"
        await fleet.start("a")
        await told.ready("a")
        for act in (fleet.start, fleet.stop, fleet.refresh):
            with pytest.raises(UnknownUpstream, match="no server named 'zzz'"):
                await act("zzz")


async def test_closing_stops_all_side_by_side() -> None:
    began = time.monotonic()
    async with fleet_of(*(_hanging(f"s{n}") for n in range(5))) as told:
        pass
    assert {one.status.state for one in told.fleet.supervisors.values()} == {"stopped"}
    assert time.monotonic() - began < 20
