"""`mcp-hub connect` when sockets break and the hub says odd things: what is resumed, repeated, or told as an error."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support import hub as hubs
from tests.support.clients import HANDSHAKE, INFO, STATELESS, RawClient
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, serving
from tests.support.stdio_client import StdioClient, call, connected, enveloped
from tests.unit.gateway.upstreams.scripted import (
    STREAM_END,
    STREAM_HEAD,
    Request,
    Scripted,
    Write,
    answer,
    chunk,
    scripted,
)

pytestmark = pytest.mark.anyio

NOTE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}'


# Through a link that breaks, to the real hub


class Cable:
    """A TCP relay to the hub whose sockets can be cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    @asynccontextmanager
    async def plugged(self) -> AsyncGenerator[Cable]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Break every socket on both sides."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, inner_writer}
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """A hub with the everything server."""
    with serving(EVERYTHING, "--name", "ev") as url:
        directory = tmp_path_factory.mktemp("hub")
        with hubs.running({"mcpServers": {"ev": {"url": url}}}, directory) as running:
            hubs.wait_ready_sync(running, "ev")
            yield running


async def test_a_broken_stream_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    async with Cable(hub.url).plugged() as cable, connected(cable.url, tmp_path / "connect.log") as client:
        await client.shake_hands(capabilities={"elicitation": {"form": {}}})
        assert "result" in await client.ask("resources/subscribe", {"uri": "test://only-ev"})
        client.send("tools/call", call("ev__test_elicitation", message="who?"), "asking")
        question = await client.told("elicitation/create")
        cable.cut()
        content = {"username": "after the cut"}
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": content}}
        client.send_raw(json.dumps(reply).encode())
        response = await client.response("asking")
        assert "after the cut" in response["result"]["content"][0]["text"]
        cable.cut()
        await RawClient(hub.url).call("ev__touch_resource", {"uri": "test://only-ev"})
        await client.told("notifications/resources/updated")
        assert not [each for each in client.messages if each.get("method", "").endswith("list_changed")]


async def test_many_calls_at_once_are_answered_each(hub: Hub, tmp_path: Path) -> None:
    async with connected(hub.url, tmp_path / "connect.log") as client:
        await client.shake_hands()
        for number in range(100):
            params = call("ev__echo", text=f"{number} " + "x" * 20_000)
            client.send("tools/call", enveloped(params) if number % 2 else params, number)
        for number in range(100):
            text: str = (await client.response(number))["result"]["content"][0]["text"]
            assert text.startswith(f"{number} ")


# Before a server whose bytes a test decides


def result(request: Request, result_raw: bytes = b"{}") -> bytes:
    """A response to the request in the body."""
    identity = json.dumps(json.loads(request.body)["id"]).encode()
    return b'{"jsonrpc":"2.0","id":' + identity + b',"result":' + result_raw + b"}"


def greeting(request: Request, session: str = "s1", revision: str = HANDSHAKE) -> bytes:
    """The answer to `initialize`."""
    lists = {word: {"listChanged": word != "prompts"} for word in ("tools", "prompts", "resources")}
    body = {"protocolVersion": revision, "capabilities": lists, "serverInfo": INFO}
    return answer(result(request, json.dumps(body).encode()), f"Mcp-Session-Id: {session}")


def method_of(request: Request) -> str:
    """The JSON-RPC method, or the HTTP one where there is no body."""
    return str(json.loads(request.body).get("method", "response")) if request.body else request.method


async def usual(request: Request, write: Write) -> bool:
    """What a server with sessions and without a standing stream answers."""
    method = method_of(request)
    if method == "initialize":
        await write(greeting(request))
    elif method in ("GET", "DELETE"):
        await write(answer(b"", status="405 Method Not Allowed"))
    elif method.startswith("notifications/") or method == "response":
        await write(answer(b"", status="202 Accepted"))
    else:
        await write(answer(result(request)))
    return True


def posted(server: Scripted, method: str) -> list[Request]:
    """The requests of that JSON-RPC method so far."""
    return [request for request in server.requests if method_of(request) == method]


@pytest.mark.parametrize("stateless", (False, True))
async def test_only_what_reads_is_repeated(tmp_path: Path, stateless: bool) -> None:
    broken: set[str] = set()

    async def play(request: Request, write: Write) -> bool:
        method = method_of(request)
        if method in ("tools/call", "tools/list") and method not in broken:
            broken.add(method)
            await write(STREAM_HEAD + chunk(b"data: " + NOTE + b"\n\n"))
            return False
        return await usual(request, write)

    async with scripted(play) as server, connected(server.url, tmp_path / "connect.log") as client:
        if not stateless:
            await client.shake_hands()
        assert "result" in await client.ask("tools/list", stateless=stateless)
        error = (await client.ask("tools/call", call("x"), stateless=stateless))["error"]
        assert "tools/call may have run, so it is not sent again" in error["message"]
        assert len(posted(server, "tools/list")) == 2
        assert len(posted(server, "tools/call")) == 1


async def test_a_stream_goes_on_over_several_sockets(tmp_path: Path) -> None:
    called: list[Request] = []

    async def play(request: Request, write: Write) -> bool:
        if method_of(request) == "tools/call":
            called.append(request)
            await write(STREAM_HEAD + chunk(b"retry: 1\nid: e1\ndata: \n\n"))
            return False
        match request.headers.get("last-event-id"):
            case "e1":
                await write(STREAM_HEAD + chunk(b"id: e2\ndata: " + NOTE + b"\n\n") + STREAM_END)
                return True
            case "e2":
                await write(STREAM_HEAD + chunk(b"id: e3\ndata: " + result(called[0]) + b"\n\n") + STREAM_END)
                return True
            case _:
                return await usual(request, write)

    async with scripted(play) as server, connected(server.url, tmp_path / "connect.log") as client:
        await client.shake_hands()
        assert (await client.ask("tools/call", call("x")))["result"] == {}
        assert [each.get("method") for each in client.messages[-2:]] == ["notifications/message", None]
        resumed = [request for request in server.requests if "last-event-id" in request.headers]
        assert all(request.headers["mcp-session-id"] == "s1" for request in resumed)


@pytest.mark.parametrize(
    ("refusal", "words"),
    (
        (answer(b"", status="401 Unauthorized"), "give them with --header"),
        (answer(b"", "Location: /elsewhere", status="307 Temporary Redirect"), "HTTP 307 to /elsewhere"),
        (answer(b"<html>hello</html>", content_type="text/html"), "is no answer"),
        (answer(b"teapot", status="418 I'm a teapot"), "HTTP 418: teapot"),
        (answer(b'{"error":{"code":-1,"message":"odd"},"id":null}', status="400 Bad Request"), "odd"),
        (answer(b"", status="502 Bad Gateway"), "may have run"),
        # JSON of something else than MCP has errors too.
        (answer(b'{"error":"No Method","code":"X"}', status="405 Method Not Allowed"), "--url"),
        (answer(b'{"error":{"message":"no code"},"id":2}', status="409 Conflict"), "HTTP 409"),
        (answer(b'{"error":"Bad Request","id":2}', status="400 Bad Request"), 'HTTP 400: {"error":"Bad Request"'),
    ),
)
async def test_a_refusal_is_an_error_of_its_request(tmp_path: Path, refusal: bytes, words: str) -> None:
    async def play(request: Request, write: Write) -> bool:
        if method_of(request) == "tools/call":
            await write(refusal)
            return True
        return await usual(request, write)

    async with scripted(play) as server, connected(server.url, tmp_path / "connect.log") as client:
        await client.shake_hands()
        for stateless in (False, True):
            error = (await client.ask("tools/call", call("x"), stateless=stateless))["error"]
            assert words in error["message"]
        assert len(posted(server, "tools/call")) == 2


async def test_a_hub_that_says_when_to_come_again_is_asked_again(tmp_path: Path) -> None:
    error = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"the store is away"}}'
    away = [answer(error, "Retry-After: 2", status="503 Service Unavailable")]

    async def play(request: Request, write: Write) -> bool:
        if method_of(request) == "tools/call" and away:
            await write(away.pop())
            return True
        return await usual(request, write)

    async with scripted(play) as server, connected(server.url, tmp_path / "connect.log") as client:
        await client.shake_hands()
        assert "result" in await client.ask("tools/call", call("x"))
        assert len(posted(server, "tools/call")) == 2
        assert len(posted(server, "initialize")) == 1, "it has the session still"


@pytest.mark.parametrize("away", ["429 Too Many Requests", "502 Bad Gateway", "503 Service Unavailable"])
async def test_what_has_no_answer_is_sent_until_the_hub_has_it(tmp_path: Path, away: str) -> None:
    refused, answered = list[str](), asyncio.Event()

    async def play(request: Request, write: Write) -> bool:
        method = method_of(request)
        if method in ("notifications/initialized", "response") and method not in refused:
            refused.append(method)
            await write(answer(b"", status=away))
        elif method == "tools/call":
            await write(STREAM_HEAD + chunk(b'data: {"jsonrpc":"2.0","id":"q1","method":"roots/list"}\n\n'))
            await answered.wait()
            await write(chunk(b"data: " + result(request) + b"\n\n") + STREAM_END)
        else:
            if method == "response":
                answered.set()
            return await usual(request, write)
        return True

    async with scripted(play) as server, connected(server.url, tmp_path / "connect.log") as client:
        await client.shake_hands()
        client.send("tools/call", call("x"), "asking")
        assert (await client.told("roots/list"))["id"] == "q1"
        client.send_raw(b'{"jsonrpc":"2.0","id":"q1","result":{"roots":[]}}')
        assert "result" in await client.response("asking")
        assert len(posted(server, "notifications/initialized")) == len(posted(server, "response")) == 2


async def test_headers_and_line_breaks(tmp_path: Path) -> None:
    busy = [answer(b"", status="503 Service Unavailable")]

    async def play(request: Request, write: Write) -> bool:
        if method_of(request) == "tools/call":
            await write(busy.pop() if busy else answer(result(request, b'{\r\n "a":\n1E5}')))
            return True
        return await usual(request, write)

    given = ("--header", "Authorization: Bearer abcd", "--header", "mcp-method: lies")
    async with scripted(play) as server, connected(server.url, tmp_path / "connect.log", *given) as client:
        await client.ask("tools/call", call("schöner Name"), 1, stateless=True)
        assert b'{   "a": 1E5}' in client.lines[-1].replace(b"\r", b" ")
        _, called = server.requests
        assert called.headers["authorization"] == "Bearer abcd"
        assert called.headers["mcp-method"] == "tools/call"
        assert called.headers["mcp-name"] == "=?base64?c2Now7ZuZXIgTmFtZQ==?="
        assert called.headers["mcp-protocol-version"] == STATELESS
        assert b"abcd" not in (tmp_path / "connect.log").read_bytes()


def _once_forgotten(forgotten: asyncio.Event, revision: str = HANDSHAKE) -> Any:
    """A server that forgets its first session when told so, and asks a question in every `tools/call`."""

    async def play(request: Request, write: Write) -> bool:
        method = method_of(request)
        if method == "initialize":
            again = forgotten.is_set()
            await write(greeting(request, "s2", revision) if again else greeting(request))
        elif forgotten.is_set() and request.headers.get("mcp-session-id") == "s1":
            await write(answer(b"", status="404 Not Found"))
        elif method == "tools/call":
            question = b'{"jsonrpc":"2.0","id":"q1","method":"roots/list"}'
            await write(STREAM_HEAD + chunk(b"data: " + question + b"\n\n"))
            await forgotten.wait()
            return False
        else:
            return await usual(request, write)
        return True

    return play


@pytest.mark.parametrize("takes_back", [False, True])
async def test_a_question_of_an_answered_call_is_taken_back_once(tmp_path: Path, takes_back: bool) -> None:
    """A hub that was restarted says that the answer is lost, and knows nothing of the question."""
    taken_back = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q1"}}'

    async def play(request: Request, write: Write) -> bool:
        if method_of(request) != "tools/call":
            return await usual(request, write)
        said = [b'{"jsonrpc":"2.0","id":"q1","method":"roots/list"}', *([taken_back] if takes_back else [])]
        said.append(b'{"jsonrpc":"2.0","id":"lost","error":{"code":-32000,"message":"The answer is lost"}}')
        await write(STREAM_HEAD + b"".join(chunk(b"data: " + each + b"\n\n") for each in said))
        return False

    async with scripted(play) as server, connected(server.url, tmp_path / "log") as client:
        await client.shake_hands()
        assert (await client.ask("tools/call", call("x"), "lost"))["error"]["message"] == "The answer is lost"
        assert (await client.told("notifications/cancelled"))["params"]["requestId"] == "q1"
        assert "result" in await client.ask("tools/list")
        assert [each.get("method") for each in client.messages].count("notifications/cancelled") == 1


async def test_a_question_of_a_lost_call_is_cancelled(tmp_path: Path) -> None:
    forgotten = asyncio.Event()
    async with scripted(_once_forgotten(forgotten)) as server, connected(server.url, tmp_path / "log") as client:
        await client.shake_hands()
        client.send("tools/call", call("x"), "lost")
        assert (await client.told("roots/list"))["id"] == "q1"
        forgotten.set()
        assert "may have run" in (await client.response("lost"))["error"]["message"]
        assert (await client.told("notifications/cancelled"))["params"]["requestId"] == "q1"
        client.send_raw(b'{"jsonrpc":"2.0","id":"q1","result":{"roots":[]}}')
        assert "result" in await client.ask("tools/list")
        for word in ("tools", "resources"):
            await client.told(f"notifications/{word}/list_changed")
        assert not [each for each in client.messages if each.get("method") == "notifications/prompts/list_changed"]
        assert not posted(server, "response")
        second = [request.headers.get("mcp-session-id") for request in posted(server, "notifications/initialized")]
        assert second == ["s1", "s2"]
        assert posted(server, "initialize")[0].body == posted(server, "initialize")[1].body
        assert await client.hang_up() == 0
        (deleted,) = [request for request in server.requests if request.method == "DELETE"]
        assert deleted.headers["mcp-session-id"] == "s2"


async def test_another_revision_ends_the_conversation(tmp_path: Path) -> None:
    forgotten, log = asyncio.Event(), tmp_path / "connect.log"
    async with scripted(_once_forgotten(forgotten, "2025-06-18")) as server, connected(server.url, log) as client:
        await client.shake_hands()
        await client.ask("ping")
        forgotten.set()
        assert "asked to stop" in (await client.ask("tools/list"))["error"]["message"]
        assert await client.exit_code() == 1
        assert "the hub speaks 2025-06-18 now and 2025-11-25 before" in log.read_text()


async def test_a_subscription_outlives_its_streams(tmp_path: Path) -> None:
    """Four streams: one ends gracefully, one lacks a resource, one is whole and ends, one ends at once."""
    wanted: dict[str, Any] = {"toolsListChanged": True, "resourceSubscriptions": ["test://a"]}
    agreed = [wanted, {"toolsListChanged": True}, wanted, wanted]
    go_on = asyncio.Event()

    async def play(request: Request, write: Write) -> bool:
        number = len(played) + 1
        played.append(request)
        params = {"_meta": {"io.modelcontextprotocol/subscriptionId": "listen"}, "notifications": agreed[number - 1]}
        body = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params}
        await write(STREAM_HEAD + chunk(b"data: " + json.dumps(body).encode() + b"\n\n"))
        if number in (2, 3):
            await (go_on.wait() if number == 3 else asyncio.Event().wait())
        if number == 3:
            return False
        await write(chunk(b"data: " + result(request, b'{"n":%d}' % number) + b"\n\n") + STREAM_END)
        return True

    played: list[Request] = []
    async with scripted(play) as server, connected(server.url, tmp_path / "connect.log") as client:
        client.send("subscriptions/listen", enveloped({"notifications": wanted}), "listen")
        await client.told("notifications/tools/list_changed")
        await server.seen(3)
        go_on.set()
        assert (await client.response("listen"))["result"] == {"n": 4}
        assert len(server.requests) == 4
        methods = [each.get("method") for each in client.messages]
        assert methods.count("notifications/subscriptions/acknowledged") == 1
        assert methods.count("notifications/tools/list_changed") == 2


async def test_a_cancellation_is_sent_until_it_is_heard(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def play(request: Request, write: Write) -> bool:
        if method_of(request) == "tools/call":
            await heard.wait()
            await write(answer(b"", status="202 Accepted"))
            return True
        if method_of(request) == "notifications/cancelled" and len(posted(server, "notifications/cancelled")) == 2:
            heard.set()
        return await usual(request, write)

    async with scripted(play) as server, connected(server.url, tmp_path / "connect.log") as client:
        await client.shake_hands()
        client.send("tools/call", call("x"), "slow")
        await client.ask("ping")
        client.send("notifications/cancelled", {"requestId": "slow"})
        async with asyncio.timeout(10):
            await heard.wait()
        await client.ask("ping")
        assert await client.hang_up() == 0
        assert not [each for each in client.messages if each.get("id") == "slow"]


async def test_a_reader_that_is_gone_is_the_end(tmp_path: Path) -> None:
    async with scripted(usual) as server, connected(server.url, tmp_path / "connect.log") as client:
        await _hello(client)
        transport = client.process._transport  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
        transport.get_pipe_transport(1).close()  # pyright: ignore[reportUnknownMemberType]
        client.send("ping", {}, "unread")
        assert await client.exit_code() == 0
        assert [request.method for request in server.requests].count("DELETE") == 1


async def _hello(client: StdioClient) -> None:
    assert (await client.shake_hands())["result"]["protocolVersion"] == HANDSHAKE
