"""`mcp-hub connect` between real stdio clients and the real hub, which is killed, restarted, late or absent."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, MCPError, StdioServerParameters

from tests.support import hub as hubs
from tests.support import raw_http
from tests.support.clients import HANDSHAKE, INFO, RawClient, all_tools, text_of
from tests.support.hub import Hub, free_port
from tests.support.processes import EVERYTHING, RAW, end, serving
from tests.support.raw_messages import ERROR, EXOTIC
from tests.support.stdio_client import Received, StdioClient, call, connected, enveloped
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]

STATELESS_ERAS = (False, True)
READY_S = 20.0
UPDATED = "notifications/resources/updated"
ARGUMENTS = b'{"z":1E5, "a" : 12345678901234567890,"text":"\\u00e9\\/ \xc3\xa9","nested":[[{"":null}],1e-7]}'


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, object]]:
    """Servers over HTTP: they outlive the hubs."""
    log = tmp_path_factory.mktemp("upstreams") / "everything.log"
    with ExitStack() as stack:
        everything = stack.enter_context(serving(EVERYTHING, "--name", "ev", "--era", "handshake", log=log))
        yield {"ev": {"url": everything}, "raw": {"url": stack.enter_context(serving(RAW, "--tools", "3"))}}


@pytest.fixture(scope="module")
def hub(upstreams: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """A hub that stays."""
    with hubs.running({"mcpServers": upstreams}, tmp_path_factory.mktemp("hub")) as running:
        hubs.wait_ready_sync(running, *upstreams)
        yield running


@pytest.fixture
async def client(hub: Hub, tmp_path: Path) -> AsyncGenerator[StdioClient]:
    """A raw client that has said nothing yet."""
    async with connected(hub.url, tmp_path / "connect.log") as found:
        yield found


class Restarting:
    """A hub of a test's own, to be killed and started again on the same port."""

    def __init__(self, directory: Path, upstreams: dict[str, object]) -> None:
        self.directory = directory
        self.names = list(upstreams)
        self.config = directory / "mcp-servers.json"
        self.config.write_text(json.dumps({"mcpServers": upstreams}))
        self.port = free_port()
        self.hub: Hub | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def start(self) -> None:
        """Start it and wait until its servers are ready."""
        self.hub = Hub(self.port, self.config, self.directory / "hub.log")
        await asyncio.to_thread(self.hub.wait_until_up)
        await self.hub.until_ready(*self.names)

    def kill(self, *, forgetting: bool = False) -> None:
        """End it as a crash would; `forgetting` takes its sessions too."""
        assert self.hub is not None
        self.hub.kill()
        if forgetting:
            shutil.rmtree(self.directory / "state")

    def end(self) -> None:
        if self.hub is not None:
            end(self.hub.process)


@pytest.fixture
def restarting(tmp_path: Path, upstreams: dict[str, object]) -> Generator[Restarting]:
    """A hub that is not started yet."""
    found = Restarting(tmp_path, {"ev": upstreams["ev"]})
    yield found
    found.end()


def sdk_client(url: str, stateless: bool, **options: Any) -> Client:
    """A client of the SDK that knows only the command line."""
    server = StdioServerParameters(command=str(hubs.COMMAND), args=["connect", "--url", url], env=dict(os.environ))
    mode = "auto" if stateless else "legacy"
    return Client(server, mode=mode, cache=None, read_timeout_seconds=15, **options)


# What passes


@pytest.mark.parametrize("stateless", STATELESS_ERAS)
async def test_an_sdk_client_uses_the_hub(hub: Hub, stateless: bool) -> None:
    steps: list[float] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        assert (total, message) == (3, "p")
        steps.append(progress)

    async def elicited(_context: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": params.message[:4]})

    async with sdk_client(hub.url, stateless, elicitation_callback=elicited) as client:
        assert (client.protocol_version == HANDSHAKE) is not stateless
        assert "ev__echo" in await all_tools(client)
        texts = await asyncio.gather(*(client.call_tool("ev__echo", {"text": f"ä {n}\n"}) for n in range(50)))
        assert [text_of(each) for each in texts] == [f"ä {n}\n" for n in range(50)]
        await client.call_tool("ev__progress", {"label": "p", "steps": 3}, progress_callback=progressed)
        assert steps == [1, 2, 3]
        asked = await client.call_tool("ev__test_input_required_result_elicitation", {})
        assert text_of(asked) == "Hello, What!"
        (contents,) = (await client.read_resource("test://only-ev")).contents
        assert isinstance(contents, types.TextResourceContents)
        with pytest.raises(MCPError) as caught:
            await client.call_tool("ev__nothing", {})
        assert caught.value.error.code == -32602


@pytest.mark.parametrize("stateless", STATELESS_ERAS)
async def test_bytes_pass_as_they_are(client: StdioClient, stateless: bool) -> None:
    if not stateless:
        await client.shake_hands()
    meta = json.dumps(enveloped(None)).encode()[1:-1] if stateless else b'"x-own":1E5'
    line = b'{"jsonrpc":"2.0", "id":"a \\u00e9","method":"tools/call","params":{"name":"raw__%s","arguments":%s,%s}}'
    client.send_raw(line % (b"raw_echo", ARGUMENTS, meta))
    await client.response("a é")
    assert b'"id":"a \\u00e9"' in client.lines[-1]
    assert b'"structuredContent":{"echo":' + ARGUMENTS + b"}" in client.lines[-1]
    for tool, expected in ((b"raw_exotic", EXOTIC), (b"raw_error", ERROR), (b"raw_sse", EXOTIC)):
        client.send_raw((line % (tool, b"{}", meta)).replace(b"a \\u00e9", tool))
        await client.response(tool.decode())
        assert expected in client.lines[-1]


async def test_both_eras_at_once_and_names_no_header_can_hold(client: StdioClient) -> None:
    await client.shake_hands()
    client.send("tools/call", call("ev__progress", label="s", steps=5, meet="both") | _token("s"), "s")
    client.send("tools/call", enveloped(call("ev__progress", label="m", steps=5, meet="both") | _token("m")), "m")
    await client.response("s")
    await client.response("m")
    for label in "sm":
        own = [each for each in client.messages if each.get("params", {}).get("progressToken") == label]
        assert [each["params"]["progress"] for each in own] == [1, 2, 3, 4, 5]
        places = [client.messages.index(each) for each in own]
        assert places == sorted(places)
        assert places[-1] < next(n for n, each in enumerate(client.messages) if each.get("id") == label)
    unknown = await client.ask("tools/call", call("schöner \x07 Name"), stateless=True)
    assert "schöner" in unknown["error"]["message"]
    refused = await client.ask("server/discover", {"_meta": {"io.modelcontextprotocol/protocolVersion": "1999-01-01"}})
    assert refused["error"]["code"] in (-32022, -32602)


def _token(token: str) -> dict[str, Any]:
    return {"_meta": {"progressToken": token}}


async def test_parameters_that_http_wants_in_headers_are_there(client: StdioClient) -> None:
    called = call("ev__test_x_mcp_header", region="süd")
    for _ in range(2):  # without having listed the tools, and with
        response = await client.ask("tools/call", called, stateless=True)
        assert response["result"]["content"][0]["text"] == "region=süd"
        assert "result" in await client.ask("tools/list", stateless=True)
    assert "result" in await client.ask("tools/call", call("ev__test_x_mcp_header"), stateless=True)


@pytest.mark.parametrize("stateless", STATELESS_ERAS)
async def test_a_cancelled_call_is_cancelled_at_the_server(client: StdioClient, stateless: bool) -> None:
    key = uuid.uuid4().hex
    if not stateless:
        await client.shake_hands()
    params = call("ev__slow", key=key)
    client.send("tools/call", enveloped(params) if stateless else params, "slow")
    for state in ("waiting", "cancelled"):
        reached = await client.ask("tools/call", call("ev__slow_state", key=key, state=state), stateless=stateless)
        assert reached["result"]["content"][0]["text"] == state
        client.send("notifications/cancelled", {"requestId": "slow", "reason": "enough"})
    assert not [each for each in client.messages if each.get("id") == "slow"]


async def test_a_question_of_a_server_is_answered(client: StdioClient) -> None:
    await client.shake_hands(capabilities={"elicitation": {"form": {}}})
    client.send("tools/call", call("ev__test_elicitation", message="who?"), 7)
    question = await client.told("elicitation/create")
    answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"username": "x"}}}
    client.send_raw(json.dumps(answer).encode())
    response = await client.response(7)
    assert '"username": "x"' in response["result"]["content"][0]["text"]


async def test_changes_are_told_in_both_eras(client: StdioClient) -> None:
    await client.shake_hands()
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["test://only-ev"]}
    client.send("subscriptions/listen", enveloped({"notifications": wanted}), "listen")
    assert (await client.told("notifications/subscriptions/acknowledged"))["params"]["notifications"] == wanted
    assert (await client.ask("resources/subscribe", {"uri": "test://watched-resource"})) is not None
    assert "result" in await client.ask("resources/subscribe", {"uri": "test://only-ev"})
    await client.ask("tools/call", call("ev__touch_resource", uri="test://only-ev"))

    for update in (await client.until(_updated), await client.until(_updated_listener)):
        assert update["params"]["uri"] == "test://only-ev"
    client.send("notifications/cancelled", {"requestId": "listen"})
    after = len(client.messages)
    await client.ask("tools/call", call("ev__touch_resource", uri="test://only-ev"))
    await client.until(_updated, after)
    assert not [each for each in client.messages if each.get("id") == "listen"]


def _updated(message: Received) -> bool:
    return message.get("method") == UPDATED and "_meta" not in message["params"]


def _updated_listener(message: Received) -> bool:
    return message.get("method") == UPDATED and _of_listener(message)


def _of_listener(message: Received) -> bool:
    """Whether it belongs to the `subscriptions/listen` of the id "listen"."""
    return message.get("params", {}).get("_meta", {}).get("io.modelcontextprotocol/subscriptionId") == "listen"


async def test_a_batch_of_an_old_client_is_answered_by_a_batch(client: StdioClient) -> None:
    await client.shake_hands("2025-03-26")
    parts = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call("ev__echo", text="two")},
        {"jsonrpc": "1.0", "id": 3, "method": "ping"},
    ]
    after = len(client.lines)
    client.send_raw(json.dumps(parts).encode())
    batch: Any = await client.until(lambda each: isinstance(each, list), after)
    assert sorted(each["id"] for each in batch) == [1, 2, 3]


async def test_a_batch_waits_for_no_call_that_was_cancelled(client: StdioClient) -> None:
    await client.shake_hands("2025-03-26")
    key = uuid.uuid4().hex
    slow = {"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": call("ev__slow", key=key)}
    after = len(client.lines)
    client.send_raw(json.dumps([slow, {"jsonrpc": "2.0", "id": 1, "method": "ping"}]).encode())
    assert "result" in await client.ask("tools/call", call("ev__slow_state", key=key, state="waiting"))
    client.send("notifications/cancelled", {"requestId": "slow"})
    batch: Any = await client.until(lambda each: isinstance(each, list), after)
    assert [each["id"] for each in batch] == [1]


async def test_what_is_no_message_is_answered_with_an_error(client: StdioClient) -> None:
    client.send_raw(b"nonsense")
    assert (await client.until(lambda each: "error" in each))["error"]["code"] == -32700
    assert (await client.ask("ping", client_id=1))["result"] == {}
    assert "Mcp-Session-Id" in (await client.ask("tools/list", client_id=2))["error"]["message"]
    assert (await client.ask("tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": 5}}, 3))["error"]
    await client.shake_hands()
    assert (await client.ask("tools/list", client_id=4))["result"]["tools"]


async def test_an_id_that_no_number_can_hold_is_answered_and_takes_nothing_else_along(client: StdioClient) -> None:
    await client.shake_hands()
    client.send_raw(b"\n".join(b'{"jsonrpc":"2.0","id":%b,"method":"ping"}' % each for each in (b"1e999", b"7")))
    for sent in (math.inf, 7):
        assert (await client.until(lambda each, sent=sent: each.get("id") == sent))["result"] == {}


# How it ends


async def test_the_end_of_input_ends_the_session(hub: Hub, client: StdioClient) -> None:
    await client.shake_hands()
    before = await _sessions(hub)
    key = uuid.uuid4().hex
    client.send("tools/call", call("ev__slow", key=key), "slow")
    state = await client.ask("tools/call", call("ev__slow_state", key=key, state="waiting"))
    assert state["result"]["content"][0]["text"] == "waiting"
    client.send("subscriptions/listen", enveloped({"notifications": {"toolsListChanged": True}}), "listen")
    assert client.process.stdin is not None
    client.process.stdin.close()
    await RawClient(hub.url).call("ev__slow_release", {"key": key})
    assert await client.exit_code() == 0
    assert (await client.response("slow"))["result"]["content"][0]["text"] == "released"
    await until(lambda: _sessions(hub), lambda now: now == before - 1, 5, "one session less")


async def _sessions(hub: Hub) -> int:
    body = (await raw_http.send("GET", f"{hub.base}/metrics")).body.decode()
    (line,) = [each for each in body.splitlines() if each.startswith("mcp_hub_sessions ")]
    return int(float(line.split()[1]))


async def test_sigterm_ends_it(hub: Hub, client: StdioClient) -> None:
    await client.shake_hands()
    before = await _sessions(hub)
    client.send("tools/call", call("ev__slow", key=uuid.uuid4().hex), "slow")
    await client.ask("ping")
    client.process.send_signal(signal.SIGTERM)
    assert await client.exit_code() == 0
    assert "asked to stop" in (await client.response("slow"))["error"]["message"]
    await until(lambda: _sessions(hub), lambda now: now == before - 1, 5, "one session less")


@pytest.mark.parametrize(
    "options",
    (("--url", "ftp://x/mcp"), ("--header", "no colon"), ("--header", "Bad Name: x"), ("--timeout", "0"), ("--no",)),
)
def test_bad_usage_is_told(options: tuple[str, ...]) -> None:
    ended = subprocess.run([str(hubs.COMMAND), "connect", *options], capture_output=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert ended.stderr
    assert not ended.stdout


# A hub that is away


async def test_a_hub_that_comes_up_later_is_waited_for(restarting: Restarting, tmp_path: Path) -> None:
    async with connected(restarting.url, tmp_path / "connect.log") as client:
        hello = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": INFO}
        client.send("initialize", hello, "hello")
        client.send("server/discover", enveloped(None), "discover")
        client.send("tools/list", enveloped(None), "cancelled")
        client.send("notifications/cancelled", {"requestId": "cancelled"})
        await restarting.start()
        assert (await client.response("hello"))["result"]["serverInfo"]["name"] == "mcp-hub"
        assert (await client.response("discover"))["result"]["supportedVersions"]
        client.send("notifications/initialized")
        assert (await client.ask("ping"))["result"] == {}
        assert not [each for each in client.messages if each.get("id") == "cancelled"]


async def test_a_hub_that_does_not_come_up_is_an_error(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"
    async with connected(url, tmp_path / "connect.log", "--timeout", "0.5") as client:
        hello = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": INFO}
        for method, params in (("initialize", hello), ("tools/call", enveloped(call("ev__echo")))):
            error = (await client.ask(method, params))["error"]
            assert error["code"] == -32000
            assert "within 0.5 s" in error["message"]
            assert "cannot reach" in error["message"]
        assert await client.hang_up() == 0


@asynccontextmanager
async def _interrupted(restarting: Restarting, log: Path) -> AsyncGenerator[StdioClient]:
    """A client in both eras with something of everything under way."""
    await restarting.start()
    async with connected(restarting.url, log) as client:
        await client.shake_hands()
        assert "result" in await client.ask("logging/setLevel", {"level": "error"})
        assert "result" in await client.ask("resources/subscribe", {"uri": "test://only-ev"})
        wanted = {"toolsListChanged": True, "resourceSubscriptions": ["test://only-ev"]}
        client.send("subscriptions/listen", enveloped({"notifications": wanted}), "listen")
        await client.told("notifications/subscriptions/acknowledged")
        for stateless, label in ((False, "slow-s"), (True, "slow-m")):
            key = uuid.uuid4().hex
            params = call("ev__slow", key=key)
            client.send("tools/call", enveloped(params) if stateless else params, label)
            waiting = await client.ask("tools/call", call("ev__slow_state", key=key, state="waiting"))
            assert waiting["result"]["content"][0]["text"] == "waiting"
        yield client


@pytest.mark.parametrize("forgetting", (True, False), ids=("session-lost", "session-kept"))
async def test_a_killed_hub_is_survived(restarting: Restarting, tmp_path: Path, forgetting: bool) -> None:
    async with _interrupted(restarting, tmp_path / "connect.log") as client:
        before = len(client.messages)
        restarting.kill(forgetting=forgetting)
        for label in ("slow-s", "slow-m"):
            error = (await client.response(label))["error"]
            assert error["code"] == -32000
            assert "may have run, so it is not sent again" in error["message"]
        client.send("tools/list", {}, "meanwhile-s")
        client.send("tools/call", enveloped(call("hub__nothing")), "meanwhile-m")
        await restarting.start()
        assert "result" in await client.response("meanwhile-s")
        assert (await client.response("meanwhile-m"))["error"]["code"] == -32602
        if forgetting:
            for word in ("tools", "prompts", "resources"):
                await client.told(f"notifications/{word}/list_changed", before)
        await client.until(lambda each: str(each.get("method")).endswith("list_changed") and _of_listener(each), before)
        await _works_as_before(client, in_session=forgetting)
        acknowledged = [each for each in client.messages if str(each.get("method")).endswith("/acknowledged")]
        assert len(acknowledged) == 1
        assert await client.hang_up() == 0


async def _works_as_before(client: StdioClient, *, in_session: bool) -> None:
    """Calls, subscriptions and the log level, once the hub knows its servers again. A session that the hub has kept is
    the hub's to restore."""

    async def echo() -> bool:
        return "result" in await client.ask("tools/call", call("ev__echo", text="again"))

    async def updates() -> tuple[bool, bool]:
        await client.ask("tools/call", call("ev__touch_resource", uri="test://only-ev"))
        return any(map(_updated_listener, client.messages[after:])), any(map(_updated, client.messages[after:]))

    after = len(client.messages)
    await until(echo, bool, READY_S, "calls are answered")
    await until(updates, lambda seen: seen >= (True, in_session), READY_S, "updates are told")
    for level, text in (("warning", "too quiet"), ("error", "loud")):
        await client.ask("tools/call", call("ev__log", text=text, level=level))
    logged = [each["params"]["data"] for each in client.messages if each.get("method") == "notifications/message"]
    assert logged == ["loud"]
