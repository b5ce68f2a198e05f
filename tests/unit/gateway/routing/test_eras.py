"""What one era says and the other has no word for, and what a client is not asked because it cannot answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import raw_http
from tests.support.clients import INFO, RawClient, raw_session
from tests.support.gateway import House, gateway, posted, standing
from tests.support.small_server import (
    HANDSHAKE,
    STATELESS,
    Answer,
    Call,
    Refused,
    SmallServer,
    small_server,
    text,
    tool,
)

pytestmark = pytest.mark.anyio
TASKS = "io.modelcontextprotocol/tasks"
PAGE = {"mode": "url", "url": "https://x/1", "message": "Log in", "x-more": 1e5}
VISITS = {"elicitations": [{**PAGE, "elicitationId": "e1"}]}
FORM: dict[str, Any] = {"elicitation": {"form": {}}}
URL: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}}


@asynccontextmanager
async def house_of(directory: Path, *eras: str) -> AsyncGenerator[tuple[House, list[SmallServer]]]:
    """A gateway in front of one server of each era named, called `a`, `b` and so on, with the tool `work`."""
    async with small_server(tool("work"), era=eras[0]) as one, small_server(tool("work"), era=eras[-1]) as two:
        servers = dict(zip("ab", (one, two)[: len(eras)], strict=False))
        async with gateway({name: {"url": each.url} for name, each in servers.items()}, directory) as house:
            yield house, list(servers.values())


def annotated() -> dict[str, Any]:
    """The tool `work` with a parameter that is mirrored into a header."""
    made = tool("work", region="string")
    made["inputSchema"]["properties"]["region"]["x-mcp-header"] = "Region"
    return made


async def _wants_header(call: Call) -> Answer:
    if (said := call.headers.get("mcp-param-region")) is None:
        raise Refused(-32020, "Header mismatch: Mcp-Param-Region is missing")
    return text(said)


async def test_a_call_refused_for_its_headers_is_made_again_by_the_fresh_schema(tmp_path: Path) -> None:
    async with house_of(tmp_path, STATELESS) as (house, (server,)):
        server.handlers["work"] = _wants_header
        server.lists["tools"] = [annotated()]
        async with raw_session(house.url) as session:
            for client in (session, RawClient(house.url)):
                answer = (await client.call("a__work", {"region": "north"})).json()
                assert answer["result"]["content"][0]["text"] == "north"
                server.lists["tools"] = [tool("work")]
                await house.gateway.fleet.refresh("a")
                await house.settled()
                server.lists["tools"] = [annotated()]


async def test_headers_are_held_against_the_arguments_by_whatever_name_the_tool_is_called(tmp_path: Path) -> None:
    long = "work_" + "x" * 70
    async with house_of(tmp_path, STATELESS) as (house, (server,)):
        server.lists["tools"] = [{**annotated(), "name": long}]
        await house.gateway.fleet.refresh("a")
        await house.settled()
        client = RawClient(house.url)
        listed = {each["name"] for each in (await client.request("tools/list")).json()["result"]["tools"]}
        (public,) = (name for name in listed if name.startswith("a__"))
        for name in (public, f"a__{long}"):
            server.seen.clear()
            params: dict[str, Any] = {"name": name, "arguments": {"region": "north"}}
            for headers in ({}, {"Mcp-Param-Region": "south"}):
                answer = await client.request("tools/call", params, headers=headers)
                assert (answer.status, answer.json()["error"]["code"]) == (400, -32020), (name, headers)
            assert server.seen == []
            answer = await client.request("tools/call", params, headers={"Mcp-Param-Region": "north"})
            assert answer.status == 200
            assert server.seen[-1]["params"]["name"] == long
        assert public != f"a__{long}"


async def test_a_call_through_the_hub_s_tool_mirrors_nothing(tmp_path: Path) -> None:
    async with house_of(tmp_path, STATELESS) as (house, (server,)):
        server.handlers["work"] = _wants_header
        server.lists["tools"] = [annotated()]
        await house.gateway.fleet.refresh("a")
        await house.filtering(enabled=True, mode="prompt-based")
        arguments: dict[str, Any] = {"name": "a__work", "arguments": {"region": "north"}}
        answer = (await RawClient(house.url).call("hub__call_tool", arguments)).json()
        assert answer["result"]["content"][0]["text"] == "north"


async def test_it_is_made_again_once_and_not_where_nothing_changed(tmp_path: Path) -> None:
    async def never(_call: Call) -> Answer:
        raise Refused(-32020, "Header mismatch: no")

    async with house_of(tmp_path, STATELESS) as (house, (server,)):
        server.handlers["work"] = never
        client = RawClient(house.url)
        for lists, calls in (([tool("work")], 1), ([annotated()], 2), ([], 1)):
            server.lists["tools"] = [tool("work")]
            await house.gateway.fleet.refresh("a")
            await house.settled()
            server.lists["tools"] = lists
            server.seen.clear()
            answer = await client.call("a__work", {"region": "x"})
            # Client and hub are at one about the headers: it is the server that is not.
            assert (answer.status, answer.json()["error"]["code"]) == (200, -32000)
            assert answer.json()["error"]["message"].startswith("a: ")
            assert len([each for each in server.seen if each["method"] == "tools/call"]) == calls


@pytest.mark.parametrize(("before", "after"), [(STATELESS, HANDSHAKE), (HANDSHAKE, STATELESS)])
@pytest.mark.parametrize("stateless_client", [True, False])
async def test_a_server_that_speaks_another_revision_now_is_spoken_to_in_that(
    tmp_path: Path, before: str, after: str, stateless_client: bool
) -> None:
    async with house_of(tmp_path, before) as (house, (server,)), raw_session(house.url) as session:
        client = RawClient(house.url) if stateless_client else session
        server.handlers["work"] = _said
        assert "result" in (await client.call("a__work")).json()
        server.era, server.names_revision = after, True
        for _ in range(2):
            result = (await client.call("a__work")).json()["result"]
            assert result["content"][0]["text"] == "said"
            assert "resultType" in result or not stateless_client
            await house.ready("a")
        link = house.gateway.fleet.get("a").connection
        assert link is not None
        assert link.revision == after


async def test_what_a_server_speaks_that_the_hub_does_not_is_no_clients_matter(tmp_path: Path) -> None:
    async def unsupported(_call: Call) -> Answer:
        raise Refused(-32022, "Unsupported protocol version", {"supported": ["2099-01-01"]})

    async with house_of(tmp_path, STATELESS) as (house, (server,)), raw_session(house.url) as session:
        server.handlers["work"] = unsupported
        for client in (session, RawClient(house.url)):
            await house.ready("a")
            answer = await client.call("a__work")
            error = answer.json()["error"]
            assert (answer.status, error["code"]) == (200, -32000)
            assert error["message"] == "a: it does not speak 2026-07-28 any more"
            assert "data" not in error


async def test_a_stateless_server_is_asked_for_a_session_once_and_only_where_a_client_has_one(tmp_path: Path) -> None:
    async with house_of(tmp_path, STATELESS) as (house, (server,)):
        server.lists["tools"] = [tool("work")]
        server.handlers["work"] = _said
        await RawClient(house.url).call("a__work")
        assert server.refused == []
        for _ in range(2):
            async with raw_session(house.url) as client:
                for _ in range(2):
                    assert (await client.call("a__work")).json()["result"]["content"][0]["text"] == "said"
        assert server.refused == ["initialize"]


async def _said(_call: Call) -> Answer:
    return text("said")


@pytest.mark.parametrize("bare", (False, True))
async def test_a_stateless_server_s_answer_has_what_it_owes_a_stateless_client(tmp_path: Path, bare: bool) -> None:
    async with house_of(tmp_path, STATELESS) as (house, (server,)):
        server.bare = bare
        server.lists["resources"] = [{"uri": "x:1", "name": "one"}]
        server.handlers["work"] = _said
        client = RawClient(house.url)
        called = (await client.call("a__work")).json()["result"]
        assert called == {"resultType": "complete", **text("said")}
        read = (await client.request("resources/read", {"uri": "x:1"})).json()["result"]
        assert read.pop("contents") == [{"uri": "x:1", "text": "x:1"}]
        assert read == {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        async with raw_session(house.url) as session:
            assert (await session.request("resources/read", {"uri": "x:1"})).json()["result"].keys() <= {
                "contents",
                "resultType",
            }


async def _visit_first(call: Call) -> Answer:
    if not hasattr(call.server, "visited"):
        call.server.visited = True  # type: ignore[attr-defined]
        raise Refused(-32042, "Log in first", VISITS)
    return text("in")


@pytest.mark.parametrize("era", (HANDSHAKE, STATELESS))
async def test_a_page_to_be_visited_first_is_asked_of_a_stateless_client(tmp_path: Path, era: str) -> None:
    async with house_of(tmp_path, era) as (house, (server,)):
        server.handlers["work"] = _visit_first
        missing = (await RawClient(house.url, capabilities=FORM).call("a__work")).json()["error"]
        assert (missing["code"], missing["data"]) == (-32021, {"requiredCapabilities": {"elicitation": {"url": {}}}})
        del server.visited  # type: ignore[attr-defined]
        client = RawClient(house.url, capabilities=URL)
        result = (await client.call("a__work")).json()["result"]
        assert result["resultType"] == "input_required"
        assert result["inputRequests"] == {"e1": {"method": "elicitation/create", "params": PAGE}}
        assert "requestState" not in result
        again = {"name": "a__work", "arguments": {}, "inputResponses": {"e1": {"action": "accept"}}}
        done = (await client.request("tools/call", again)).json()["result"]
        assert (done["content"][0]["text"], done["resultType"]) == ("in", "complete")
        assert "inputResponses" not in server.seen[-1]["params"] or era == STATELESS


@pytest.mark.parametrize("era", (HANDSHAKE, STATELESS))
async def test_codes_of_older_revisions_are_not_told_to_a_stateless_client(tmp_path: Path, era: str) -> None:
    async def refuses(_call: Call) -> Answer:
        raise Refused(code, "no", VISITS)

    async with house_of(tmp_path, era) as (house, (server,)):
        server.lists["prompts"] = [{"name": "p"}]
        server.handlers |= {"work": refuses, "completion/complete": refuses}
        client = RawClient(house.url, capabilities=URL)
        code = -32002
        assert (await client.call("a__work")).json()["error"]["code"] == -32602
        code, ref = -32042, {"type": "ref/prompt", "name": "a__p"}
        await house.gateway.fleet.refresh("a")
        await house.settled()
        params = {"ref": ref, "argument": {"name": "x", "value": "y"}}
        error = (await client.request("completion/complete", params)).json()["error"]
        assert error == {"code": -32000, "message": "no", "data": VISITS}


async def test_a_session_gets_the_error_as_it_is_and_hears_of_the_end(tmp_path: Path) -> None:
    async with house_of(tmp_path, HANDSHAKE) as (house, (server,)), raw_session(house.url, capabilities=URL) as client:
        server.handlers["work"] = _visit_first
        assert (await client.call("a__work")).json()["error"]["data"] == VISITS
        async with standing(house, client.session_id) as stream:
            server.tell("notifications/elicitation/complete", elicitationId="e1")
            assert (await stream.next())["params"] == {"elicitationId": "e1"}


@pytest.mark.parametrize("asks", (False, True))
async def test_the_end_of_another_server_s_visit_of_the_same_id_is_not_told(tmp_path: Path, asks: bool) -> None:
    async def ask(call: Call) -> Answer:
        call.send_request("elicitation/create", {**PAGE, "elicitationId": "e1"})
        return text("asked")

    async with (
        house_of(tmp_path, HANDSHAKE, HANDSHAKE) as (house, (asker, other)),
        raw_session(house.url, capabilities=URL) as client,
        standing(house, client.session_id) as stream,
    ):
        asker.handlers["work"] = ask if asks else _visit_first
        await client.call("a__work")
        other.tell("notifications/elicitation/complete", elicitationId="e1", of="b")
        await client.call("b__work")
        asker.tell("notifications/elicitation/complete", elicitationId="e1", of="a")
        assert (await stream.next())["params"] == {"elicitationId": "e1", "of": "a"}


@pytest.mark.parametrize(
    ("method", "params", "declared", "required"),
    (
        ("elicitation/create", PAGE, FORM, {"elicitation": {"url": {}}}),
        ("elicitation/create", PAGE, {"elicitation": {}}, {"elicitation": {"url": {}}}),
        ("elicitation/create", {"message": "?"}, {"elicitation": {"url": {}}}, {"elicitation": {}}),
        ("sampling/createMessage", {"tools": []}, {"sampling": {}}, {"sampling": {"tools": {}}}),
    ),
)
async def test_a_client_is_not_asked_in_a_form_it_did_not_declare(
    tmp_path: Path, method: str, params: dict[str, Any], declared: dict[str, Any], required: dict[str, Any]
) -> None:
    async def asks(call: Call) -> Answer:
        return text(str((await call.ask(method, params))["error"]["code"]))

    async with house_of(tmp_path, HANDSHAKE) as (house, (server,)):
        server.handlers["work"] = asks
        async with raw_session(house.url, capabilities=declared) as session:
            assert (await session.call("a__work")).json()["result"]["content"][0]["text"] == "-32602"
        error = (await RawClient(house.url, capabilities=declared).call("a__work")).json()["error"]
        assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": required})


async def test_a_model_is_offered_tools_where_the_client_lets_it(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"tools": [{"name": "t"}], "messages": []}

    async def asks(call: Call) -> Answer:
        return text((await call.ask("sampling/createMessage", asked))["result"]["model"])

    async with house_of(tmp_path, HANDSHAKE) as (house, (server,)):
        server.handlers["work"] = asks
        hello = await server.saw_method("initialize")
        assert "tools" in hello["params"]["capabilities"]["sampling"]
        async with raw_session(house.url, capabilities={"sampling": {"tools": {}}}) as client:
            params: dict[str, Any] = {"name": "a__work", "arguments": {}}
            body = client.body("tools/call", params)
            async with posted(house, body, client.headers("tools/call", params)) as stream:
                question = await stream.next()
                assert question["params"] == asked
                answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"model": "m"}}
                await raw_http.post(house.url, json.dumps(answer).encode(), client.headers("", {}))
                assert (await stream.next())["result"]["content"][0]["text"] == "m"


@pytest.mark.parametrize("level", ("loud", "", 5, None))
async def test_a_stateless_request_for_a_level_nobody_knows_is_refused(tmp_path: Path, level: object) -> None:
    async with house_of(tmp_path, HANDSHAKE) as (house, _):
        meta = {"io.modelcontextprotocol/logLevel": level}
        answer = await RawClient(house.url).request("tools/list", {"_meta": meta})
        assert (answer.status, answer.json()["error"]["code"]) == (400, -32602)


async def test_what_only_sessions_know_is_not_told_to_a_stateless_client(tmp_path: Path) -> None:
    async def tells(call: Call) -> Answer:
        call.tell("notifications/elicitation/complete", elicitationId="e1")
        call.tell("notifications/com.example/other", n=1)
        return text("done")

    async with house_of(tmp_path, HANDSHAKE) as (house, (server,)):
        server.handlers["work"] = tells
        answer = await RawClient(house.url).call("a__work")
        assert b"elicitation/complete" not in answer.body
        assert b"com.example/other" in answer.body


async def test_each_era_is_offered_its_own_tasks(tmp_path: Path) -> None:
    async with house_of(tmp_path, HANDSHAKE, STATELESS) as (house, (old, new)):
        for server in (old, new):
            server.capabilities = {"tasks": {"list": {}}, "extensions": {TASKS: {}, "com.example/e": {}}}
            name = "a" if server is old else "b"
            await house.gateway.fleet.stop(name)
            await house.gateway.fleet.start(name)
            await house.ready(name)
        discovered = (await RawClient(house.url).request("server/discover")).json()["result"]["capabilities"]
        assert discovered["extensions"].keys() == {TASKS, "com.example/e"}
        assert "tasks" not in discovered
        declared: dict[str, Any] = {"extensions": {TASKS: {}, "com.example/e": {"n": 1}}}
        params = {"protocolVersion": HANDSHAKE, "capabilities": declared, "clientInfo": INFO}
        opened = await raw_http.post(house.url, RawClient(house.url, "x").body("initialize", params, 1))
        offered = opened.json()["result"]["capabilities"]
        assert offered["extensions"].keys() == {"com.example/e"}
        assert offered["tasks"] == {"list": {}}
        session = RawClient(house.url, opened.headers["mcp-session-id"])
        await session.call("b__work")
        seen = new.seen[-1]["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        assert seen == {"extensions": {"com.example/e": {"n": 1}}}


async def test_a_stateless_call_is_no_task_whatever_it_says(tmp_path: Path) -> None:
    async def obeys(call: Call) -> Answer:
        return {"task": {"taskId": "t", "status": "working"}} if "task" in call.params else text("done")

    async with house_of(tmp_path, HANDSHAKE, STATELESS) as (house, servers):
        await house.filtering(enabled=True, mode="prompt-based", promptBasedFiltering={"defaultExposure": "all"})
        client = RawClient(house.url)
        for name, server in zip("ab", servers, strict=True):
            server.handlers["work"] = obeys
            direct: dict[str, Any] = {"name": f"{name}__work", "arguments": {}}
            through: dict[str, Any] = {"name": "hub__call_tool", "arguments": direct}
            for params in (direct, through):
                answer = (await client.request("tools/call", {**params, "task": {"ttl": 1}, "x-more": 1e5})).json()
                assert answer["result"]["content"] == text("done")["content"]
                assert (answer["result"]["resultType"], "task" in answer["result"]) == ("complete", False)
                seen = (await server.saw_method("tools/call"))["params"]
                assert (seen["name"], seen["x-more"], "task" in seen) == ("work", 1e5, False)
                server.seen.clear()


async def test_what_a_result_calls_a_task_is_none_to_a_stateless_client(tmp_path: Path) -> None:
    said = {"taskId": "one of its own", "status": "x"}

    async def says(_call: Call) -> Answer:
        return {**text("done"), "task": said}

    async with house_of(tmp_path, HANDSHAKE) as (house, (server,)):
        server.handlers["work"] = says
        params: dict[str, Any] = {"name": "a__work", "arguments": {}, "task": {}}
        result = (await RawClient(house.url).request("tools/call", params)).json()["result"]
        assert result["task"] == said
