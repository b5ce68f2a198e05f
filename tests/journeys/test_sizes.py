"""Sizes: large results and bodies, many tools, many calls at the same time, clients that do not read."""

import asyncio
import json
import resource
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any, Final

import pytest

from hub_gateway.sessions.outbox import MAX_BYTES
from hub_gateway.sessions.session import MAX_KEPT_BYTES
from tests.journeys.matrix import proves
from tests.support import hub as hubs
from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, RAW, serving, stdio_entry

MIB: Final = 1024 * 1024
LIMIT_BYTES: Final = 16 * MIB
TOOLS: Final = 5_000
CALLS: Final = 200
LONG_S: Final = 60.0
FLOOD_BYTES: Final = 50_000
FLOOD_TIMES: Final = 4_000
STREAM_BYTES, KEPT_BYTES = MAX_BYTES, MAX_KEPT_BYTES
"""What the hub may keep of a stream, of which 200 MB are left unread here, and of a session's streams that have ended
(the newest aside)."""
SESSIONS: Final = 1_000
AT_ONCE: Final = 50
IDLE_BYTES: Final = 4_096
"""What may be kept for a session that made one small call."""

BIG: Final = ("big_http", "big_http_old", "big_stdio", "big_stdio_old")
BUSY: Final = ("busy_http", "busy_http_old", "busy_stdio", "busy_stdio_old")

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """A hub in front of servers with much to say; it and this process may hold a socket or two per session."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8 * SESSIONS)), hard))
    with ExitStack() as stack:
        entries: dict[str, Any] = {}
        for name in (*BIG, *BUSY):
            kind, *rest = name.split("_")
            era = "handshake" if rest[-1] == "old" else "stateless"
            module, more = (RAW, ("--extras",)) if kind == "big" else (EVERYTHING, ())
            options = ("--era", era, *more)
            if rest[0] == "http":
                entries[name] = {"url": stack.enter_context(serving(module, *options))}
            else:
                entries[name] = stdio_entry(module, *options)
            if kind == "busy":
                entries[name] = {**entries[name], "maxInFlight": CALLS + 10}
                if rest[0] == "http":
                    entries[name]["connectionPool"] = {"maxConnections": CALLS + 20}
        entries["narrow"] = {
            **stdio_entry(EVERYTHING, "--era", "stateless"),
            "maxInFlight": 8,
        }
        entries["wide"] = stdio_entry(RAW, "--tools", str(TOOLS), "--page", "500")
        running = stack.enter_context(
            hubs.running({"mcpServers": entries, "toolFiltering": {"enabled": False}}, tmp_path_factory.mktemp("sizes"))
        )
        hubs.wait_ready_sync(running, *entries)
        yield running


@asynccontextmanager
async def speaking(hub: Hub, era: str) -> AsyncGenerator[RawClient]:
    """A raw client of this era."""
    if era == "stateless":
        yield RawClient(hub.url)
        return
    async with raw_session(hub.url) as client:
        yield client


async def _call(client: RawClient, name: str, arguments: dict[str, Any]) -> Any:
    answer = await client.request("tools/call", {"name": name, "arguments": arguments}, LONG_S)
    assert "result" in answer.json(), answer.body[:500]
    return answer.json()["result"]


@proves("large-results")
@pytest.mark.parametrize("era", ("handshake", "stateless"))
@pytest.mark.parametrize("name", BIG)
async def test_a_result_of_16_mib_passes(hub: Hub, name: str, era: str) -> None:
    async with speaking(hub, era) as client:
        for event in (False, True) if "http" in name else (False,):
            result = await _call(client, f"{name}__raw_big", {"bytes": LIMIT_BYTES, "event": event})
            assert len(result["content"][0]["text"]) == LIMIT_BYTES


@proves("large-bodies")
@pytest.mark.parametrize("era", ("handshake", "stateless"))
async def test_a_body_up_to_the_limit_passes_and_a_longer_one_does_not(hub: Hub, era: str) -> None:
    async with speaking(hub, era) as client:
        text = "x" * (LIMIT_BYTES - 10_000)
        for name in BIG:
            result = await _call(client, f"{name}__raw_echo", {"text": text})
            assert len(result["structuredContent"]["echo"]["text"]) == len(text)
        params = {"name": "big_stdio__raw_echo", "arguments": {"text": "x" * LIMIT_BYTES}}
        assert (await client.request("tools/call", params, LONG_S)).status == 413
        assert (await client.call("big_stdio__raw_exotic")).status == 200


@proves("many-tools")
@pytest.mark.parametrize("era", ("handshake", "stateless"))
async def test_5000_tools_are_listed_and_called(hub: Hub, era: str) -> None:
    async with speaking(hub, era) as client:
        listed = (await client.request("tools/list", timeout_s=LONG_S)).json()["result"]["tools"]
        names = {tool["name"] for tool in listed}
        assert {f"wide__tool_{n:05d}" for n in range(TOOLS)} <= names
        assert len(names) == len(listed)
        assert (await _call(client, f"wide__tool_{TOOLS - 1:05d}", {}))["content"]


@proves("many-calls")
@pytest.mark.parametrize("era", ("handshake", "stateless"))
@pytest.mark.parametrize("name", BUSY)
async def test_200_calls_run_at_the_same_time(hub: Hub, name: str, era: str) -> None:
    """None of them ends before all have begun."""
    async with speaking(hub, era) as client:
        arguments = {"label": "all here", "steps": 0, "meet": uuid.uuid4().hex, "parties": CALLS}
        results = await asyncio.gather(*(_call(client, f"{name}__progress", arguments) for _ in range(CALLS)))
    assert [result["content"][0]["text"] for result in results] == ["all here"] * CALLS


@proves("many-calls")
async def test_200_calls_take_turns_where_the_limit_is_narrow(hub: Hub) -> None:
    client = RawClient(hub.url)
    texts = [f"call {n}" for n in range(CALLS)]
    results = await asyncio.gather(*(_call(client, "narrow__echo", {"text": text}) for text in texts))
    assert [result["content"][0]["text"] for result in results] == texts


@proves("fair-turns")
@pytest.mark.parametrize("era", ("handshake", "stateless"))
async def test_one_client_s_many_calls_do_not_keep_another_waiting(hub: Hub, era: str) -> None:
    ended, begun = 0, asyncio.Event()

    async def one_of_many(client: RawClient) -> None:
        nonlocal ended
        await _call(client, "narrow__test_tool_with_progress", {})
        ended += 1
        begun.set()

    async with speaking(hub, era) as busy, speaking(hub, era) as other:
        other.info = {"name": "another-client", "version": "1"}
        many = asyncio.gather(*(one_of_many(busy) for _ in range(CALLS)))
        async with asyncio.timeout(LONG_S):
            await begun.wait()
        before = ended
        assert (await _call(other, "narrow__echo", {"text": "my turn"}))["content"][0]["text"] == "my turn"
        assert ended - before < CALLS / 2, "it waited for its turn behind all calls of the other client"
        await many
    assert ended == CALLS


async def _kept_bytes(hub: Hub) -> int:
    """What the hub keeps for all its sessions, as its metrics count it."""
    body = (await raw_http.send("GET", f"{hub.base}/metrics")).body.decode()
    (line,) = [line for line in body.splitlines() if line.startswith("mcp_hub_session_kept_bytes ")]
    return int(float(line.split()[1]))


@proves("slow-readers")
@pytest.mark.parametrize("name", ("big_http", "big_http_old"))
async def test_a_client_that_does_not_read_costs_little(hub: Hub, name: str) -> None:
    async with raw_session(hub.url) as slow, raw_session(hub.url) as quick:
        before = await _kept_bytes(hub)
        params = {"name": f"{name}__raw_flood", "arguments": {"bytes": FLOOD_BYTES, "times": FLOOD_TIMES}}
        fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **slow.headers("tools/call", params)}
        async with raw_http.opened("POST", hub.url, slow.body("tools/call", params, "slow"), fields) as stream:
            # The answer of a second flood means that the upstream had time to send all of the first.
            for _ in range(2):
                await _call(quick, f"{name}__raw_flood", {"bytes": FLOOD_BYTES, "times": FLOOD_TIMES // 2})
            kept = await _kept_bytes(hub) - before
            assert FLOOD_BYTES < kept < 2 * STREAM_BYTES + KEPT_BYTES + 3 * FLOOD_BYTES
            last = b""
            async with asyncio.timeout(LONG_S):
                async for event in stream.events():
                    last = event
        assert json.loads(last)["id"] == "slow"
        assert "result" in json.loads(last)


@proves("many-sessions")
@pytest.mark.timeout(300)
async def test_1000_sessions_are_served_at_once_and_cost_little(hub: Hub) -> None:
    """Each holds its standing stream open, and all call at once a server that takes eight calls at a time."""
    async with AsyncExitStack() as stack:
        opened: list[RawClient] = []
        for _ in range(SESSIONS // AT_ONCE):
            entering = (stack.enter_async_context(_standing(hub)) for _ in range(AT_ONCE))
            opened += await asyncio.gather(*entering)
        calls = (_call(client, "narrow__echo", {"text": client.session_id}) for client in opened)
        answers = await asyncio.gather(*calls)
        assert [answer["content"][0]["text"] for answer in answers] == [client.session_id for client in opened]
        assert await _kept_bytes(hub) < SESSIONS * IDLE_BYTES


@asynccontextmanager
async def _standing(hub: Hub) -> AsyncGenerator[RawClient]:
    async with raw_session(hub.url) as client:
        fields = {"Accept": "text/event-stream", **client.headers("", {})}
        async with raw_http.opened("GET", hub.url, headers=fields):
            yield client
