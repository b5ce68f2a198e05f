"""Calls reach who owns the entry under its own name, and nobody is reached that the policy hides."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, gateway
from tests.support.small_server import Answer, Call, Refused, SmallServer, small_server, text, tool

pytestmark = pytest.mark.anyio
RESOURCE = {"uri": "x:listed", "name": "listed"}
SHARED = {"uri": "x:shared", "name": "shared"}
TEMPLATE = {"uriTemplate": "t:{id}", "name": "t"}


async def _read(call: Call) -> Answer:
    return {"contents": [{"uri": call.params["uri"], "text": f"{call.server.url} {call.params['uri']}"}]}


class Two:
    """Two upstreams behind a gateway: `one` shows everything, `two` is whatever the policy says."""

    def __init__(self, house: House, one: SmallServer, two: SmallServer) -> None:
        self.house = house
        self.one = one
        self.two = two

    async def read(self, uri: str) -> Any:
        """What `resources/read` of a stateless client answers."""
        answer = (await RawClient(self.house.url).request("resources/read", {"uri": uri})).json()
        return answer.get("error", {}).get("code") or answer["result"]["contents"][0]["text"]

    def from_(self, server: SmallServer, uri: str) -> str:
        return f"{server.url} {uri}"


@pytest.fixture(scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Two]:
    offered: dict[str, Any] = {
        "resources": [RESOURCE, SHARED],
        "resourceTemplates": [TEMPLATE],
        "prompts": [{"name": "p"}],
    }
    async with (
        small_server(tool("echo"), resources=[SHARED], prompts=[{"name": "p"}]) as one,
        small_server(tool("echo"), **offered) as two,
    ):
        servers = {"one": {"url": one.url}, "two": {"url": two.url}}
        async with gateway(servers, tmp_path_factory.mktemp("two")) as house:
            yield Two(house, one, two)


@pytest.fixture
async def two(built: Two) -> Two:
    """Both up, nothing filtered, nothing seen."""
    for server in (built.one, built.two):
        server.seen.clear()
        server.handlers = dict.fromkeys(("x:listed", "x:shared", "t:1", "x:linked"), _read)
    await built.house.gateway.fleet.start("two")
    await built.house.ready("one", "two")
    await built.house.filtering()
    return built


async def _refuses(call: Call) -> Answer:
    raise Refused(-32603, "not mine")


async def test_every_form_of_a_uri_reaches_its_owner(two: Two) -> None:
    for asked, uri in (
        ("x:listed", "x:listed"),
        ("two__x:listed", "x:listed"),
        ("two__x:shared", "x:shared"),
        ("t:1", "t:1"),
        ("two__t:1", "t:1"),
        ("two__x:linked", "x:linked"),
    ):
        assert await two.read(asked) == two.from_(two.two, uri), asked
    assert await two.read("one__x:shared") == two.from_(two.one, "x:shared")


async def test_a_link_that_no_list_names_is_asked_of_everybody(two: Two) -> None:
    two.one.handlers["x:linked"] = _refuses
    assert await two.read("x:linked") == two.from_(two.two, "x:linked")
    two.two.handlers["x:linked"] = _refuses
    assert await two.read("x:linked") == -32603
    del two.one.handlers["x:linked"], two.two.handlers["x:linked"]
    assert await two.read("x:linked") == -32602


async def test_a_link_is_found_though_another_upstream_is_gone(two: Two) -> None:
    async def dies(call: Call) -> Answer:
        call.outgoing.put_nowait(None)
        await call.cancelled.wait()
        return {}

    two.one.handlers["x:linked"] = dies
    assert await two.read("x:linked") == two.from_(two.two, "x:linked")


@pytest.mark.parametrize("uri", ("x:listed", "two__x:listed", "two__x:shared", "t:1", "two__t:1", "two__x:linked"))
async def test_an_upstream_that_is_hidden_is_not_read(two: Two, uri: str) -> None:
    await two.house.filtering(
        enabled=True, mode="server-allowlist", serverFilter={"mode": "denylist", "servers": ["two"]}
    )
    del two.one.handlers["t:1"], two.one.handlers["x:listed"]
    seen = len(two.two.seen)
    assert await two.read(uri) == -32602
    assert [m for m in two.two.seen[seen:] if m.get("method") == "resources/read"] == []
    assert await two.read("x:shared") == two.from_(two.one, "x:shared")


@pytest.mark.parametrize("uri", ("x:listed", "two__x:listed", "t:1", "two__t:1"))
async def test_an_entry_that_is_hidden_is_not_read_though_its_upstream_shows_others(two: Two, uri: str) -> None:
    categories = {"categories": ["shown"], "customMappings": {"echo": "shown", "*": "hidden"}}
    await two.house.filtering(enabled=True, mode="category", categoryFilter=categories)
    del two.one.handlers["t:1"], two.one.handlers["x:listed"]
    assert await two.read(uri) == -32602
    assert await two.read("two__x:linked") == two.from_(two.two, "x:linked")


@pytest.mark.parametrize(
    ("method", "params"),
    (
        ("tools/call", {"name": "two__echo"}),
        ("prompts/get", {"name": "two__p"}),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "two__p"}, "argument": {"name": "a", "value": "b"}},
        ),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "t:{id}"}, "argument": {"name": "id", "value": "b"}},
        ),
    ),
)
async def test_what_is_hidden_is_unknown(two: Two, method: str, params: dict[str, Any]) -> None:
    client = RawClient(two.house.url)
    assert "result" in (await client.request(method, params)).json()
    await two.house.filtering(
        enabled=True, mode="server-allowlist", serverFilter={"mode": "denylist", "servers": ["two"]}
    )
    assert (await client.request(method, params)).json()["error"]["code"] == -32602


async def test_an_entry_goes_by_its_own_name_upstream(two: Two) -> None:
    client = RawClient(two.house.url)
    await client.call("two__echo", {"a": 1})
    await client.request("prompts/get", {"name": "two__p", "arguments": {}})
    ref = {"type": "ref/prompt", "name": "two__p", "title": "x"}
    await client.request("completion/complete", {"ref": ref, "argument": {"name": "a", "value": "b"}})
    assert (await two.two.saw_method("tools/call"))["params"] == {"name": "echo", "arguments": {"a": 1}}
    assert (await two.two.saw_method("prompts/get"))["params"]["name"] == "p"
    assert (await two.two.saw_method("completion/complete"))["params"]["ref"] == {**ref, "name": "p"}


@pytest.mark.parametrize(
    ("method", "params"),
    (
        ("tools/call", {"name": 5}),
        ("tools/call", {}),
        ("prompts/get", {}),
        ("resources/read", {"uri": None}),
        ("completion/complete", {"ref": 5}),
        ("completion/complete", {"ref": {}}),
        ("completion/complete", {}),
        ("resources/subscribe", {}),
        ("tools/call", {"name": "nobody__knows"}),
        ("resources/subscribe", {"uri": "y:unknown"}),
    ),
)
async def test_params_that_do_not_fit_are_refused(two: Two, method: str, params: dict[str, Any]) -> None:
    async with raw_session(two.house.url) as client:
        two.one.handlers["y:unknown"] = two.two.handlers["y:unknown"] = _refuses
        if method == "resources/subscribe" and params:
            await two.house.filtering(
                enabled=True, mode="server-allowlist", serverFilter={"mode": "allowlist", "servers": ["nobody"]}
            )
        assert (await client.request(method, params)).json()["error"]["code"] == -32602


async def test_an_unknown_resource_has_each_era_s_code(two: Two) -> None:
    async with raw_session(two.house.url) as client:
        answer = (await client.request("resources/read", {"uri": "y:unknown"})).json()
    assert (answer["error"]["code"], answer["error"]["data"]) == (-32002, {"uri": "y:unknown"})
    assert await two.read("y:unknown") == -32602


@pytest.mark.parametrize(
    ("code", "words"),
    (
        (-32601, "Method not found"),
        (-32602, "no"),
        (0, "Unknown resource: y:unknown"),
        (-32603, "Resource not found: y"),
    ),
)
async def test_who_does_not_have_a_resource_does_not_decide_what_is_answered(two: Two, code: int, words: str) -> None:
    async def has_none(_call: Call) -> Answer:
        raise Refused(code, words)

    one, other = two.one.handlers, two.two.handlers
    async with raw_session(two.house.url) as session:
        for first, second in ((has_none, None), (None, has_none), (has_none, has_none)):
            for handlers, handler in ((one, first), (other, second)):
                handlers.pop("y:unknown", None)
                handlers |= {} if handler is None else {"y:unknown": handler}
            answer = await RawClient(two.house.url).request("resources/read", {"uri": "y:unknown"})
            said = {"message": "Resource not found: y:unknown", "data": {"uri": "y:unknown"}}
            assert (answer.status, answer.json()["error"]) == (400, {"code": -32602, **said})
            answer = await session.request("resources/read", {"uri": "y:unknown"})
            assert answer.json()["error"] == {"code": -32002, **said}
    for handlers in ((one, other), (other, one)):
        handlers[0]["y:unknown"], handlers[1]["y:unknown"] = has_none, _refuses
        assert await two.read("y:unknown") == -32603, "who has it and fails is heard"


async def test_a_server_that_reads_nothing_is_not_heard_where_it_is_the_only_one(two: Two) -> None:
    async def reads_nothing(_call: Call) -> Answer:
        raise Refused(-32601, "Method not found")

    two.one.handlers["y:unknown"] = reads_nothing
    await two.house.filtering(
        enabled=True, mode="server-allowlist", serverFilter={"mode": "allowlist", "servers": ["one"]}
    )
    assert await two.read("y:unknown") == -32602


async def test_an_upstream_that_goes_is_named_and_the_others_go_on(two: Two) -> None:
    await two.house.gateway.fleet.stop("two")
    await two.house.settled()
    client = RawClient(two.house.url)
    assert (await client.call("two__echo")).json()["error"]["code"] == -32602
    two.one.handlers["echo"] = _hello
    assert (await client.call("one__echo")).json()["result"]["content"][0]["text"] == "hello"


async def _hello(_call: Call) -> Answer:
    return text("hello")


async def test_an_upstream_that_fails_is_told_to_the_client_and_is_no_fault_of_the_hub(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    async def dies(call: Call) -> Answer:
        call.outgoing.put_nowait(None)
        await call.cancelled.wait()
        return {}

    two.one.handlers["echo"] = dies
    async with raw_session(two.house.url) as session:
        for client in (RawClient(two.house.url), session):
            answer = (await client.call("one__echo")).json()
            assert answer["error"]["code"] == -32000
            assert answer["error"]["message"].startswith("one: ")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
