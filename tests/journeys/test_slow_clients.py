"""Many clients that do not read, or do not send, what would fill the hub's memory: what they cost, and whom."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.journeys.matrix import proves
from tests.support import hub as hubs
from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.processes import RAW, serving, stdio_entry
from tests.support.waiting import until

MIB: Final = 1024 * 1024
MESSAGE_BYTES: Final = 16 * MIB
ROOM_BYTES: Final = 8 * MESSAGE_BYTES
BEYOND_BYTES: Final = 4 * MESSAGE_BYTES
"""What one message whose length nobody says may take beyond it."""
CLIENTS: Final = 28
MEMORY_BYTES: Final = 20 * MESSAGE_BYTES
"""Less than the answers that the clients ask for, which would be kept twice at times: memory comes in pieces."""
AHEAD_BYTES: Final = 4_096
PACE_BYTES: Final = 64 * 1024
FLOOD_BYTES: Final = 50_000
FLOOD_TIMES: Final = 100
LONG_S: Final = 60.0

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """A hub with little room in front of servers with much to say, and of one that says little."""
    with ExitStack() as stack:
        entries: dict[str, Any] = {
            "new": {"url": stack.enter_context(serving(RAW, "--era", "stateless", "--extras"))},
            "old": {"url": stack.enter_context(serving(RAW, "--era", "handshake", "--extras"))},
            "pipe": stdio_entry(RAW, "--era", "stateless", "--extras"),
            "calm": {"url": stack.enter_context(serving(RAW, "--era", "stateless", "--extras"))},
        }
        running = stack.enter_context(
            hubs.running(
                {"mcpServers": entries, "toolFiltering": {"enabled": False}},
                tmp_path_factory.mktemp("slow"),
                environ={"HUB_GATEWAY_BACKLOG_LIMIT_BYTES": str(ROOM_BYTES)},
            )
        )
        hubs.wait_ready_sync(running, *entries)
        yield running


async def _metric(hub: Hub, name: str) -> int:
    body = (await raw_http.send("GET", f"{hub.base}/metrics")).body.decode()
    found = re.search(rf"^{name} (.+)$", body, re.MULTILINE)
    assert found is not None, name
    return int(float(found[1]))


async def _closed(hub: Hub) -> int:
    return await _metric(hub, "mcp_hub_slow_sockets_closed_total")


def _memory_bytes(hub: Hub) -> int:
    pages = Path(f"/proc/{hub.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4_096


@asynccontextmanager
async def client_of(hub: Hub, era: str) -> AsyncGenerator[RawClient]:
    """A raw client of this era."""
    if era == "stateless":
        yield RawClient(hub.url)
    else:
        async with raw_session(hub.url) as client:
            yield client


@asynccontextmanager
async def asking(
    client: RawClient, params: dict[str, Any], *, missing_bytes: int = 0
) -> AsyncGenerator[asyncio.StreamReader]:
    """A call whose answer nobody reads until somebody does."""
    fields = {
        "Content-Type": "application/json",
        "Accept": raw_http.ACCEPT,
        "Connection": "close",
        **client.headers("tools/call", params),
    }
    body = client.body("tools/call", params, "slow")
    async with raw_http.opened_early(
        "POST", client.url, body, fields, ahead_bytes=AHEAD_BYTES, missing_bytes=missing_bytes
    ) as reader:
        yield reader


@asynccontextmanager
async def watched(hub: Hub) -> AsyncGenerator[None]:
    """Meanwhile the hub holds no more than it may, and a calm client is answered."""
    calm, before_bytes = RawClient(hub.url), _memory_bytes(hub)
    most_held_bytes = most_bytes = rounds = 0

    async def watch() -> None:
        nonlocal most_held_bytes, most_bytes, rounds
        while True:
            assert (await calm.call("calm__raw_exotic")).status == 200
            most_held_bytes = max(most_held_bytes, await _metric(hub, "mcp_hub_backlog_bytes"))
            most_bytes = max(most_bytes, _memory_bytes(hub) - before_bytes)
            rounds += 1

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait((watching,))
    assert watching.cancelled(), watching.exception()
    assert rounds > 1
    assert ROOM_BYTES / 2 < most_held_bytes < ROOM_BYTES + BEYOND_BYTES + MIB
    assert most_bytes < MEMORY_BYTES


@proves("many-slow-readers")
@pytest.mark.parametrize(
    ("server", "era", "event"),
    [("new", "stateless", False), ("old", "handshake", True), ("new", "handshake", True), ("pipe", "stateless", False)],
)
async def test_many_that_do_not_read_cost_bounded_memory(hub: Hub, server: str, era: str, event: bool) -> None:
    params = {"name": f"{server}__raw_big", "arguments": {"bytes": MESSAGE_BYTES, "event": event}}
    async with AsyncExitStack() as stack:
        before = await _closed(hub)
        async with watched(hub):
            for _ in range(CLIENTS):
                client = await stack.enter_async_context(client_of(hub, era))
                await stack.enter_async_context(asking(client, params))
            await until(lambda: _closed(hub), lambda closed: closed > before, LONG_S, "slow readers cut off")
            async with client_of(hub, era) as calm:
                answer = await calm.request("tools/call", params, LONG_S)
            assert len(answer.json()["result"]["content"][0]["text"]) == MESSAGE_BYTES


@proves("many-slow-readers")
async def test_one_that_reads_slowly_gets_its_answer_among_many_that_do_not(hub: Hub) -> None:
    params = {"name": "new__raw_big", "arguments": {"bytes": MESSAGE_BYTES}}
    client = RawClient(hub.url)
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(asking(client, params))
        head = await reader.readuntil(b"\r\n\r\n")
        before = await _closed(hub)
        for _ in range(CLIENTS // 2):
            await stack.enter_async_context(asking(client, params))
        read = b""
        while await _closed(hub) < before + CLIENTS // 4:
            read += await reader.read(PACE_BYTES)
        read += await reader.read()
    found = re.search(rb"content-length: (\d+)", head)
    assert found is not None
    assert len(read) == int(found[1])
    assert len(json.loads(read)["result"]["content"][0]["text"]) == MESSAGE_BYTES


@proves("many-slow-readers")
async def test_many_that_do_not_send_keep_nobody_from_sending(hub: Hub) -> None:
    text = "x" * (MESSAGE_BYTES - 10_000)
    params = {"name": "new__raw_echo", "arguments": {"text": text}}
    client, before = RawClient(hub.url), await _closed(hub)
    async with AsyncExitStack() as stack:
        for _ in range(CLIENTS):
            await stack.enter_async_context(asking(client, params, missing_bytes=MESSAGE_BYTES - MIB))
        answer = await client.request("tools/call", params, LONG_S)
        assert answer.json()["result"]["structuredContent"]["echo"]["text"] == text
        assert await _closed(hub) > before


@proves("many-slow-readers")
async def test_many_unread_streams_keep_bounded_memory_together(hub: Hub) -> None:
    """Each alone would be within its bounds: of every one the last messages are there, and its result."""
    params = {"name": "old__raw_flood", "arguments": {"bytes": FLOOD_BYTES, "times": FLOOD_TIMES}}
    async with AsyncExitStack() as stack:
        readers: list[asyncio.StreamReader] = []
        for _ in range(CLIENTS):
            client = await stack.enter_async_context(raw_session(hub.url))
            readers.append(await stack.enter_async_context(asking(client, params)))
        quick = await stack.enter_async_context(raw_session(hub.url))
        assert "result" in (await quick.request("tools/call", params, LONG_S)).json()  # all others were sent before
        assert await _metric(hub, "mcp_hub_session_kept_bytes") < ROOM_BYTES / 2 + CLIENTS * 2 * FLOOD_BYTES
        for reader in readers:
            last = (await reader.read()).replace(b"\r\n", b"\n").split(b"data: ")[-1]
            assert '"id":"slow"' in last.decode()
            assert "result" in last.decode()


@proves("many-slow-readers")
async def test_a_flood_of_short_messages_is_read_in_turns_with_other_calls(hub: Hub) -> None:
    """Many calls to another server are answered while it is read, not a few."""
    params = {"name": "new__raw_flood", "arguments": {"bytes": 200, "times": 100_000}}
    flooded = asyncio.gather(*(RawClient(hub.url).request("tools/call", params, LONG_S) for _ in range(3)))
    calm, answered = RawClient(hub.url), 0
    while not flooded.done():
        assert (await calm.call("calm__raw_exotic")).status == 200
        answered += 1
    assert ["result" in answer.json() for answer in await flooded] == [True] * 3
    assert answered > 50
