"""The registry of running hubs."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from hub_common.store import Store
from hub_common.store_embedded import EmbeddedStore
from hub_common.store_redis import RedisStore
from hub_common.tasks import Tasks
from hub_gateway.management.workspaces import HEARTBEAT_S, SPACE, TTL_S, Workspaces
from tests.support.processes import EVERYTHING, stdio_entry
from tests.support.replicas import replicas
from tests.support.waiting import until
from tests.unit.gateway.management.house import House

pytestmark = pytest.mark.anyio


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[EmbeddedStore]:
    opened = EmbeddedStore(tmp_path)
    yield opened
    await opened.close()


def hub(store: Store, port: int, heartbeat_s: float = 20.0) -> Workspaces:
    """One hub's registry."""
    return Workspaces(
        store,
        port=port,
        config_files=lambda: [Path("/etc/hub/servers.json")],
        state=lambda: "ready",
        connections=lambda: 3,
        started_at=0.0,
        heartbeat_s=heartbeat_s,
    )


async def test_entry(store: EmbeddedStore) -> None:
    one, two = hub(store, 7000), hub(store, 7001)
    await one.beat()
    seen = await two.all()
    assert set(seen) == {"7000", "7001"}
    entry = seen["7000"]
    assert (entry.cwd, entry.pid, entry.port) == (str(Path.cwd()), os.getpid(), 7000)
    assert entry.config_files == ("/etc/hub/servers.json",)
    assert (entry.startTime, entry.state, entry.activeConnections) == ("1970-01-01T00:00:00.000Z", "ready", 3)
    assert entry.hostname == socket.gethostname()


async def test_heartbeat_and_end(store: EmbeddedStore) -> None:
    tasks, one = Tasks("test"), hub(store, 7000, heartbeat_s=0.01)
    running = tasks.spawn(one.run(), "workspaces")
    await until(lambda: store.count(SPACE), lambda count: count == 1, 5, "registered")
    await store.delete(SPACE, next(iter(await store.items(SPACE))))
    await until(lambda: store.count(SPACE), lambda count: count == 1, 5, "registered again")
    await one.close()
    async with asyncio.timeout(5):
        await running
    assert await store.count(SPACE) == 0
    await one.beat()
    assert await store.count(SPACE) == 0
    assert await one.all() == {}
    await tasks.close()


async def test_entry_of_a_process_that_died_expires(tmp_path: Path) -> None:
    clock = Clock()
    store = EmbeddedStore(tmp_path, clock)
    await hub(store, 7000).beat()
    clock.now_s += TTL_S + 1
    assert set(await hub(store, 7001).all()) == {"7001"}
    await store.close()


async def test_entry_nobody_can_read_is_left_out(store: EmbeddedStore) -> None:
    await store.put(SPACE, "other:1", b'{"port":"text"}', None)
    assert set(await hub(store, 7000).all()) == {"7000"}


async def test_store_away() -> None:
    with socket.socket() as unanswered:
        unanswered.bind(("127.0.0.1", 0))
        store = RedisStore(f"redis://127.0.0.1:{unanswered.getsockname()[1]}/0")
        one = hub(store, 7000)
        await one.beat()
        await one.close()
        await store.close()


async def test_route(house: House) -> None:
    await house.deps.workspaces.beat()
    body = (await house.get("/api/workspaces")).json()
    assert body["complete"] is True
    assert body["workspaces"]["7000"]["pid"] == os.getpid()
    assert body["timestamp"].endswith("Z")


def test_the_state_of_another_replica_is_told_as_soon_as_it_is_another(tmp_path: Path) -> None:
    with replicas({"stdio": stdio_entry(EVERYTHING)}, tmp_path) as pair:

        async def states() -> list[str]:
            _, body = await pair.one.api("GET", "/api/workspaces")
            return [each["state"] for each in body["workspaces"].values()]

        asyncio.run(until(states, lambda found: found == ["ready", "ready"], HEARTBEAT_S / 2, "both are ready"))
