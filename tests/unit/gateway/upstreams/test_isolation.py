"""Connections that belong to a session: bounded, one for each, and gone with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from hub_gateway.config.server_model import ServerConfig
from hub_gateway.errors import UpstreamBusy, UpstreamDown
from hub_gateway.upstreams.isolation import Isolation
from tests.support import processes
from tests.unit.gateway.upstreams.everything import CONTEXT, config
from tests.unit.gateway.upstreams.eyes import until

pytestmark = pytest.mark.anyio


def _raw(name: str, **fields: object) -> ServerConfig:
    line = processes.command(processes.RAW, "--transport", "stdio")
    return config(name, command=line[0], args=tuple(line[1:]), cwd=str(processes.ROOT), **fields)


@asynccontextmanager
async def isolation(limit: int) -> AsyncGenerator[Isolation]:
    """Connections that end with the block."""
    made = Isolation(CONTEXT, lambda name, session_id, message: None, None, limit=limit)
    try:
        yield made
    finally:
        await made.close()


async def test_the_next_session_is_refused_when_there_are_too_many_and_let_in_when_one_ends() -> None:
    async with isolation(1) as isolated:
        server, other = _raw("a"), _raw("b")
        first = await isolated.supervisor(server, "s1", None)
        assert first.connection is not None
        assert await isolated.supervisor(server, "s1", None) is first
        with pytest.raises(UpstreamBusy, match="1 sessions"):
            await isolated.supervisor(server, "s2", None)
        assert (await isolated.supervisor(other, "s2", None)).connection is not None
        isolated.end_session("s1")
        assert (await isolated.supervisor(server, "s2", None)).connection is not None
        await until(lambda: first.status.state, lambda state: state == "stopped", "the first one stopped")


async def test_one_that_does_not_come_up_says_so_in_time() -> None:
    async with isolation(4) as isolated:
        hanging = config("a", command="sleep", args=("60",), connect_timeout_s=0.2)
        with pytest.raises(UpstreamDown, match="own connection"):
            await isolated.supervisor(hanging, "s1", None)


async def test_an_upstream_that_is_configured_anew_leaves_none() -> None:
    async with isolation(4) as isolated:
        own = [await isolated.supervisor(_raw("a"), session_id, None) for session_id in ("s1", "s2")]
        isolated.end_upstream("a", "stopped by request")
        await until(lambda: {one.status.state for one in own}, lambda states: states == {"stopped"}, "both stopped")
        assert await isolated.supervisor(_raw("a"), "s1", None) not in own
