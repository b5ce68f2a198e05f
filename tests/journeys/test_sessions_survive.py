"""Sessions outlive their process: after a kill, and on another replica, a client goes on without `initialize`."""

import asyncio
import json
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import MCPError

from tests.journeys.matrix import proves
from tests.journeys.test_streams import fresh_key
from tests.support import hub as hubs
from tests.support import raw_http
from tests.support.clients import HANDSHAKE, INFO, RawClient, raw_session, session, text_of
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, serving
from tests.support.redis_server import redis_process
from tests.support.waiting import until

MANY: Final = 1_000
AT_ONCE: Final = 32
IN_FLIGHT: Final = 20
"""Sessions with a call, with a question, and with a stream: so many of each."""
CALL_S: Final = 60.0
TOLD_S: Final = 30.0

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]


class Site:
    """A hub with its store, and the way to a second hub on the same store."""

    def __init__(self, stack: ExitStack, directory: Path, kind: str) -> None:
        upstream = stack.enter_context(serving(EVERYTHING, "--era", "handshake"))
        self.config = {"mcpServers": {"everything": {"url": upstream, "prefix": ""}}}
        self.directory = directory
        self._stack = stack
        self._environ: Mapping[str, str] = {}
        if kind == "redis":
            self._environ = {"HUB_REDIS_URL": stack.enter_context(redis_process()).url}
        self.hub = self._started("first")

    def replica(self) -> Hub:
        """Another hub, with the same store."""
        return self._started("second")

    def _started(self, name: str) -> Hub:
        directory = self.directory / name
        directory.mkdir()
        # One place for the files of both: what makes two processes replicas without Redis.
        environ = {**self._environ, "HUB_GATEWAY_STATE_DIR": str(self.directory / "state")}
        hub = self._stack.enter_context(hubs.running(self.config, directory, environ=environ))
        hubs.wait_ready_sync(hub, "everything")
        return hub


@pytest.fixture(scope="module", params=("embedded", "redis"))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    """A hub with each kind of store."""
    with ExitStack() as stack:
        yield Site(stack, tmp_path_factory.mktemp("survive"), request.param)


@pytest.fixture(scope="module")
def replica(site: Site) -> Hub:
    """A second hub beside the site's."""
    return site.replica()


async def _opened(url: str) -> RawClient:
    """A client that shook hands and never says goodbye."""
    params: dict[str, Any] = {"protocolVersion": HANDSHAKE, "capabilities": {"elicitation": {}}, "clientInfo": INFO}
    hello = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).encode()
    answer = await raw_http.post(url, hello, timeout_s=CALL_S)
    assert answer.status == 200, answer
    return RawClient(url, answer.headers["mcp-session-id"])


async def _echoes(client: RawClient, text: str) -> bool:
    answer = await client.request("tools/call", {"name": "echo", "arguments": {"text": text}}, CALL_S)
    return answer.status == 200 and answer.json()["result"]["content"][0]["text"] == text


async def _all(many: list[Any], each: Any) -> list[Any]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> Any:
        async with limit:
            return await each(item)

    return await asyncio.gather(*(one(item) for item in many))


async def _again(site: Site) -> None:
    """Kill the hub and start it where it was."""
    site.hub.kill()
    await asyncio.to_thread(site.hub.start_again)
    await site.hub.until_ready("everything")


async def _listed(client: RawClient) -> set[str]:
    return {tool["name"] for tool in (await client.request("tools/list")).json()["result"]["tools"]}


async def _ready_to_call(site: Site, client: RawClient) -> None:
    await until(lambda: _listed(client), lambda tools: "echo" in tools, TOLD_S, "the tools are listed")


class InUse:
    """A session in the middle of something, and what its client sees when the hub dies."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.last_id = ""

    async def listens(self, opened: list[None]) -> str:
        """Hold the standing stream until it breaks."""
        fields = {"Accept": "text/event-stream", **self.client.headers("", {})}
        return await self._until_it_breaks("GET", b"", fields, opened)

    async def asks(self, opened: list[None]) -> str:
        """Call a tool that asks, and do not answer."""
        params = {"name": "ask_watched", "arguments": {"key": fresh_key()}}
        fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **self.client.headers("", {})}
        return await self._until_it_breaks("POST", self.client.body("tools/call", params, "asked"), fields, opened)

    async def calls(self, key: str) -> str:
        """Call a tool that does not answer."""
        try:
            answer = await self.client.request("tools/call", {"name": "slow", "arguments": {"key": key}}, CALL_S)
        except (OSError, asyncio.IncompleteReadError, ValueError, IndexError) as fault:
            return type(fault).__name__
        return f"answered: {answer}"

    async def _until_it_breaks(self, method: str, body: bytes, fields: dict[str, str], opened: list[None]) -> str:
        messages = 0
        try:
            async with raw_http.opened(method, self.client.url, body, fields) as stream:
                async for block in stream.blocks():
                    self.last_id = raw_http.event_id(block) or self.last_id
                    messages += raw_http.event_data(block) != b""
                    if messages == (method == "POST"):
                        opened.append(None)
        except (OSError, asyncio.IncompleteReadError, ValueError) as fault:
            return type(fault).__name__
        return f"ended after {messages} messages"


@proves("survives-kill")
async def test_a_thousand_sessions_in_use_go_on_after_a_kill(site: Site) -> None:
    """Each was used; sixty of them are in the middle of a call, of a question or of a stream when the hub dies."""
    clients: list[RawClient] = await _all([site.hub.url] * MANY, _opened)
    ended, kept = clients[:20], clients[20:]
    for client in ended:
        assert (await raw_http.send("DELETE", site.hub.url, headers=client.headers("", {}))).status == 200

    async def goes_on(client: RawClient) -> bool:
        return await _echoes(client, client.session_id or "")

    assert all(await _all(kept, goes_on))
    gate, opened = fresh_key(), list[None]()
    in_use = [InUse(client) for client in kept[: 3 * IN_FLIGHT]]
    calling, asking, listening = (in_use[start::3] for start in range(3))
    broken = [
        *(asyncio.ensure_future(each.calls(gate)) for each in calling),
        *(asyncio.ensure_future(each.asks(opened)) for each in asking),
        *(asyncio.ensure_future(each.listens(opened)) for each in listening),
    ]

    async def under_way() -> tuple[str, int]:
        state = await kept[-1].call("gate_state", {"key": gate})
        return state.json()["result"]["content"][0]["text"], len(opened)

    await until(under_way, lambda seen: seen == ("waiting", 2 * IN_FLIGHT), CALL_S, "all are under way")
    await _again(site)
    async with asyncio.timeout(TOLD_S):
        outcomes = await asyncio.gather(*broken)
    assert not [outcome for outcome in outcomes if outcome.startswith(("answered", "ended after 2"))]
    await _ready_to_call(site, kept[0])
    assert all(await _all(kept, goes_on)), "each session goes on, those that lost a call among them"
    for each in asking:  # the call is lost, and is told so on its own stream
        lost = await _taken_up(each)
        assert lost.status == 200
        (told,) = [json.loads(data) for data in raw_http.events_of(lost)]
        assert told["id"] == "asked"
        assert "whether the request has run is not known" in told["error"]["message"]
    for client in ended:
        assert (await client.request("ping")).status == 404


async def _taken_up(lost: InUse) -> raw_http.Answer:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": lost.last_id, **lost.client.headers("", {})}
    return await raw_http.send("GET", lost.client.url, headers=headers)


@proves("survives-kill")
async def test_what_a_session_is_goes_on(site: Site) -> None:
    """Log level and capabilities are those of before, and its subscriptions are taken up."""
    uri = "test://watched-resource"
    client = await _opened(site.hub.url)
    await client.request("logging/setLevel", {"level": "error"})
    await client.request("resources/subscribe", {"uri": uri})
    async with raw_session(site.hub.url) as other:
        assert await _echoes(other, "a write later")  # what was noted is written by the time another session is kept
    await _again(site)
    await _ready_to_call(site, client)
    quiet = await client.call("log", {"text": "too quiet", "level": "info"})
    assert b"too quiet" not in quiet.body
    assert b"loud" in (await client.call("log", {"text": "loud", "level": "error"})).body
    fields = {"Accept": "text/event-stream", **client.headers("", {})}
    async with raw_http.opened("GET", site.hub.url, headers=fields) as stream:

        async def touched() -> None:
            while True:
                await client.call("touch_resource", {"uri": uri})

        touching = asyncio.ensure_future(touched())
        try:
            async with asyncio.timeout(TOLD_S):
                async for event in stream.events():
                    if json.loads(event)["method"] == "notifications/resources/updated":
                        break
        finally:
            touching.cancel()


@proves("survives-kill")
async def test_the_standing_stream_of_the_old_life_is_taken_up(site: Site) -> None:
    client = await _opened(site.hub.url)
    fields = {"Accept": "text/event-stream", **client.headers("", {})}
    async with raw_http.opened("GET", site.hub.url, headers=fields) as stream:
        first = await anext(stream.chunks())
    (event_id,) = [line[4:].decode() for line in first.splitlines() if line.startswith(b"id: ")]
    await _again(site)
    await _ready_to_call(site, client)
    async with raw_http.opened("GET", site.hub.url, headers={**fields, "Last-Event-ID": event_id}) as stream:
        assert stream.status == 200
        await client.call("change_tools", {"action": "add", "name": "added_later"})
        async with asyncio.timeout(TOLD_S):
            async for event in stream.events():
                if json.loads(event)["method"] == "notifications/tools/list_changed":
                    break
    await client.call("change_tools", {"action": "remove", "name": "added_later"})
    lost = await raw_http.send("GET", site.hub.url, headers={**fields, "Last-Event-ID": "call1~abcdef-1"})
    assert lost.status == 400
    assert "Last-Event-ID" in lost.json()["error"]["message"]


@proves("survives-kill")
async def test_the_sdk_s_client_goes_on(site: Site) -> None:
    async with session(site.hub.url) as client:
        assert text_of(await client.call_tool("echo", {"text": "before"})) == "before"
        await _again(site)

        async def goes_on() -> str:
            try:
                return text_of(await client.call_tool("echo", {"text": "after"}))
            except MCPError as fault:
                return fault.error.message

        await until(goes_on, lambda text: text == "after", TOLD_S, "the client goes on")


@proves("resumable-streams")
async def test_a_call_s_stream_is_taken_up_where_it_broke(site: Site) -> None:
    """The question was read before the line broke, the answer comes after: the result is on the stream taken up."""
    client = await _opened(site.hub.url)
    params = {"name": "ask_watched", "arguments": {"key": fresh_key()}}
    fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **client.headers("tools/call", params)}
    last, question = "", b""
    async with raw_http.opened("POST", site.hub.url, client.body("tools/call", params, "the-call"), fields) as stream:
        async for block in stream.blocks():
            last, question = raw_http.event_id(block), raw_http.event_data(block)
            if question:
                break
    asked = json.loads(question)
    assert asked["method"] == "elicitation/create"
    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "content": {"name": "Ada"}}}
    assert (await raw_http.post(site.hub.url, json.dumps(answer).encode(), client.headers("", {}))).status == 202
    again = {"Accept": "text/event-stream", "Last-Event-ID": last, **client.headers("", {})}
    for _ in range(2):  # the end is kept for a client that loses this one too
        taken_up = await raw_http.send("GET", site.hub.url, headers=again)
        (result,) = [json.loads(data) for data in raw_http.events_of(taken_up)]
        assert result["id"] == "the-call"
        assert result["result"]["content"][0]["text"] == "Hello, Ada!"


@proves("any-replica")
async def test_another_replica_goes_on_with_a_session(site: Site, replica: Hub) -> None:
    client = await _opened(site.hub.url)
    await client.request("logging/setLevel", {"level": "error"})
    async with raw_session(site.hub.url):
        moved = RawClient(replica.url, client.session_id)
        assert await _echoes(moved, "over there")
    assert b"too quiet" not in (await moved.call("log", {"text": "too quiet", "level": "info"})).body


@proves("any-replica")
async def test_a_session_ended_on_one_replica_is_gone_on_all(site: Site, replica: Hub) -> None:
    here = await _opened(site.hub.url)
    there = RawClient(replica.url, here.session_id)
    assert await _echoes(there, "known there now")
    assert (await raw_http.send("DELETE", replica.url, headers=there.headers("", {}))).status == 200
    assert (await there.request("ping")).status == 404
    await until(lambda: here.request("ping"), lambda answer: answer.status == 404, TOLD_S, "gone here too")


@proves("any-replica")
async def test_an_id_that_nobody_opened_is_unknown(site: Site, replica: Hub) -> None:
    for url in (site.hub.url, replica.url):
        for session_id in ("x", "A" * 32, "../sessions", "é"):
            assert (await RawClient(url, session_id).request("ping")).status == 404
