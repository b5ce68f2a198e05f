"""A hub that is asked to stop: calls under way end by themselves, for a while; then they are told."""

import asyncio
import json
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.journeys.matrix import proves
from tests.journeys.test_streams import fresh_key
from tests.support import hub as hubs
from tests.support import raw_http
from tests.support.clients import RawClient, hello
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, serving
from tests.support.waiting import until

UPSTREAM: Final = "http"
ENDED_S: Final = 15.0
DRAIN_S: Final = 60.0
"""Longer than any of this takes."""

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def upstream() -> Generator[str]:
    """The URL of a server that outlives the hub."""
    with serving(EVERYTHING, "--era", "handshake") as url:
        yield url


@pytest.fixture
def hub(tmp_path: Path, upstream: str) -> Generator[Hub]:
    """A hub to be stopped."""
    environ = {"HUB_GATEWAY_DRAIN_S": f"{DRAIN_S:g}"}
    with hubs.running({"mcpServers": {UPSTREAM: {"url": upstream}}}, tmp_path, environ=environ) as running:
        hubs.wait_ready_sync(running, UPSTREAM)
        yield running


@asynccontextmanager
async def _client(hub: Hub, stateless: bool) -> AsyncGenerator[RawClient]:
    """A client whose hub may be gone at the end."""
    if stateless:
        yield RawClient(hub.url)
        return
    answer = await raw_http.post(hub.url, hello())
    yield RawClient(hub.url, answer.headers["mcp-session-id"])


async def _state(client: RawClient, key: str, wanted: str) -> None:
    told = await client.call(f"{UPSTREAM}__slow_state", {"key": key, "state": wanted})
    assert told.json()["result"]["content"][0]["text"] == wanted


async def _answer(call: asyncio.Future[raw_http.Answer]) -> dict[str, Any]:
    async with asyncio.timeout(ENDED_S):
        return (await call).json()


async def _stopping(hub: Hub) -> None:
    hub.process.send_signal(signal.SIGTERM)

    async def ready() -> int:
        return (await raw_http.send("GET", f"{hub.base}/readyz")).status

    await until(ready, lambda status: status == 503, ENDED_S, "not ready any more")


async def _ended(hub: Hub) -> int | None:
    async def code() -> int | None:
        return hub.process.poll()

    return await until(code, lambda code: code is not None, ENDED_S, "the process has ended")


@proves("drains")
@pytest.mark.parametrize("stateless", (True, False))
async def test_a_call_under_way_ends_by_itself_and_then_the_hub(hub: Hub, stateless: bool) -> None:
    key, other = fresh_key(), RawClient(hub.url)
    async with _client(hub, stateless) as client:
        call = asyncio.ensure_future(client.call(f"{UPSTREAM}__slow", {"key": key}))
        await _state(other, key, "waiting")
        await _stopping(hub)
        await other.call(f"{UPSTREAM}__slow_release", {"key": key})
        assert (await _answer(call))["result"]["content"][0]["text"] == "released"
    assert await _ended(hub) == 0


@proves("drains")
@pytest.mark.parametrize("stateless", (True, False))
async def test_a_second_signal_ends_the_calls_which_are_told(hub: Hub, stateless: bool) -> None:
    key = fresh_key()
    async with _client(hub, stateless) as client:
        call = asyncio.ensure_future(client.call(f"{UPSTREAM}__slow", {"key": key}))
        await _state(RawClient(hub.url), key, "waiting")
        await _stopping(hub)
        hub.process.send_signal(signal.SIGTERM)
        assert "stopping" in (await _answer(call))["error"]["message"]
    assert await _ended(hub) == 0


@proves("drains")
async def test_a_call_whose_answer_is_a_stream_is_told_on_it(hub: Hub) -> None:
    key = fresh_key()
    async with _client(hub, False) as client:
        params = {"name": f"{UPSTREAM}__slow", "arguments": {"key": key}}
        fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **client.headers("tools/call", params)}
        async with raw_http.opened("POST", hub.url, client.body("tools/call", params, "c"), fields) as stream:
            blocks = stream.blocks()
            assert raw_http.event_id(await anext(blocks))
            await _stopping(hub)
            hub.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(ENDED_S):
                told = [json.loads(data) async for block in blocks if (data := raw_http.event_data(block))]
    assert [(each["id"], each["error"]["message"]) for each in told] == [("c", "The hub is stopping")]
    assert await _ended(hub) == 0
