"""What a client says besides answers, and what an upstream says of its own questions, reaches the other end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, Stream, gateway, posted, standing
from tests.support.small_server import WAIT_S, Answer, Call, SmallServer, small_server, text, tool
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
PROGRESS = "notifications/progress"
ROOTS_CHANGED = "notifications/roots/list_changed"
FORM: dict[str, Any] = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
ABLE: dict[str, Any] = {"roots": {"listChanged": True}, "elicitation": {}}


class Asking:
    """A gateway, a server that asks, and one of each session's own."""

    def __init__(self, house: House, server: SmallServer, own: SmallServer) -> None:
        self.house = house
        self.server = server
        self.own = own

    async def say(self, client: RawClient, **message: Any) -> None:
        """Send a notification or a response."""
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert (await raw_http.post(self.house.url, body, {"Mcp-Session-Id": client.session_id or ""})).status == 202

    def call(self, client: RawClient, name: str) -> Any:
        """A call whose answer is read as a stream."""
        params: dict[str, Any] = {"name": name, "arguments": {}}
        return posted(self.house, client.body("tools/call", params), client.headers("tools/call", params))


@pytest.fixture
async def asking(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Asking]:
    async with small_server(tool("ask"), tool("other")) as server, small_server(tool("ask")) as own:
        entries = {"a": {"url": server.url}, "own": {"url": own.url, "isolation": "session"}}
        async with gateway(entries, tmp_path_factory.mktemp("asking")) as house:
            yield Asking(house, server, own)


async def _asks(call: Call) -> Answer:
    answer = await call.ask("elicitation/create", {**FORM, "_meta": {"progressToken": 7, "x": 1e5}})
    return text(json.dumps(answer.get("result") or answer["error"]))


async def test_progress_toward_a_question_reaches_who_asked_under_their_own_token(asking: Asking) -> None:
    asking.server.handlers["ask"] = _asks
    async with (
        raw_session(asking.house.url, capabilities=ABLE) as one,
        raw_session(asking.house.url) as other,
        asking.call(one, "a__ask") as stream,
    ):
        question = await stream.next()
        meta = question["params"]["_meta"]
        assert meta == {"progressToken": question["id"], "x": 1e5}, "two servers may choose the same token"
        for step, client in ((1, one), (5, other), (2, one)):
            told = {"progressToken": meta["progressToken"], "progress": step, "message": "é", "x": 1}
            await asking.say(client, method=PROGRESS, params=told)
        await asking.say(one, method=PROGRESS, params={"progressToken": 7, "progress": 9})
        await asking.say(one, id=question["id"], result={"action": "decline"})
        await stream.rest()
        await asking.say(one, method=PROGRESS, params={"progressToken": meta["progressToken"], "progress": 3})
    said = [each for each in asking.server.seen if each.get("method") == PROGRESS or "result" in each]
    assert [each.get("params", {}).get("progress") for each in said] == [1, 2, None], "in order, and none after it"
    assert said[0]["params"] == {"progressToken": 7, "progress": 1, "message": "é", "x": 1}


async def test_a_question_that_wants_no_progress_is_given_no_token(asking: Asking) -> None:
    async def plain(call: Call) -> Answer:
        await call.ask("elicitation/create", {**FORM, "_meta": {"x": 1}})
        return text("")

    asking.server.handlers["ask"] = plain
    async with raw_session(asking.house.url, capabilities=ABLE) as client, asking.call(client, "a__ask") as stream:
        question = await stream.next()
        assert question["params"] == {**FORM, "_meta": {"x": 1}}
        await asking.say(client, method=PROGRESS, params={"progressToken": question["id"], "progress": 1})
        await asking.say(client, id=question["id"], result={"action": "decline"})
        await stream.rest()
    assert not [each for each in asking.server.seen if each.get("method") == PROGRESS]


async def test_a_question_that_is_taken_back_is_taken_back_under_the_client_s_id(asking: Asking) -> None:
    async def takes_back(call: Call) -> Answer:
        asked_id, _ = call.send_request("elicitation/create", FORM)
        call.tell("notifications/cancelled", requestId=asked_id, reason="never mind", x=1)
        call.tell("notifications/cancelled", requestId="of nothing")
        return text("done")

    asking.server.handlers["ask"] = takes_back
    async with raw_session(asking.house.url, capabilities=ABLE) as client:
        await asking.say(client, method="notifications/cancelled", params={"requestId": "of nothing"})
        async with asking.call(client, "a__ask") as stream:
            question, taken_back, done = await stream.rest()
    assert taken_back["method"] == "notifications/cancelled"
    assert taken_back["params"] == {"requestId": question["id"], "reason": "never mind", "x": 1}
    assert done["result"] == text("done")


async def test_other_roots_are_told_to_servers_that_may_have_asked(asking: Asking) -> None:
    async with raw_session(asking.house.url, capabilities=ABLE) as client, raw_session(asking.house.url) as rootless:
        await client.call("own__ask")
        await asking.say(rootless, method=ROOTS_CHANGED)
        await asking.say(client, method=ROOTS_CHANGED, params={"_meta": {"x": 1}})
        for server in (asking.server, asking.own):
            told = await server.saw_method(ROOTS_CHANGED)
            assert told["params"] == {"_meta": {"x": 1}}, "and not what a client without roots said"
    hellos = [each["params"]["capabilities"]["roots"] for each in asking.own.seen if each["method"] == "initialize"]
    assert hellos == [{"listChanged": True}] * 2


async def test_a_server_asks_for_roots_again_as_soon_as_they_changed(asking: Asking) -> None:
    """On the stream that belongs to no call, where else a question has nobody to go to."""

    async with (
        raw_session(asking.house.url, capabilities=ABLE) as client,
        raw_session(asking.house.url, capabilities=ABLE) as other,
        standing(asking.house, client.session_id) as stream,
    ):
        async with asyncio.timeout(WAIT_S):
            assert (await asking.server.ask("roots/list"))["error"]["code"] == -32601, "whose roots, nobody said"
        await asking.say(client, method=ROOTS_CHANGED)
        await asking.server.saw_method(ROOTS_CHANGED)
        answered = asking.server.ask("roots/list")
        question = (await stream.until(lambda message: message["method"] == "roots/list"))[-1]
        await asking.say(client, id=question["id"], result={"roots": []})
        async with asyncio.timeout(WAIT_S):
            assert (await answered)["result"] == {"roots": []}
        await asking.say(other, method=ROOTS_CHANGED)
        await asking.server.saw(lambda _: [m.get("method") for m in asking.server.seen].count(ROOTS_CHANGED) == 2)
        async with asyncio.timeout(WAIT_S):
            assert (await asking.server.ask("roots/list"))["error"]["code"] == -32601, (
                "one of two, and nothing says which"
            )


async def test_one_client_with_several_calls_is_asked_where_nothing_says_which(asking: Asking) -> None:
    release = asyncio.Event()

    async def waits(_: Call) -> Answer:
        await release.wait()
        return text("done")

    asking.server.handlers |= {"ask": waits, "other": waits}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(raw_session(asking.house.url, capabilities=ABLE))
        stream: Stream = await stack.enter_async_context(standing(asking.house, client.session_id))
        calls = [asyncio.ensure_future(client.call(name)) for name in ("a__ask", "a__other")]
        for name in ("ask", "other"):
            await asking.server.saw(lambda m, name=name: m.get("params", {}).get("name") == name)
        answered = asking.server.ask("elicitation/create", **FORM)
        question = (await stream.until(lambda message: message["method"] == "elicitation/create"))[-1]
        await asking.say(client, id=question["id"], result={"action": "cancel"})
        async with asyncio.timeout(WAIT_S):
            assert (await answered)["result"] == {"action": "cancel"}
        release.set()
        assert [(await call).json()["result"] for call in calls] == [text("done")] * 2


async def test_why_a_call_is_cancelled_reaches_the_server(asking: Asking) -> None:
    async def waits(call: Call) -> Answer:
        await call.cancelled.wait()
        return text("never read")

    asking.server.handlers["ask"] = waits
    reasons: tuple[dict[str, str], ...] = ({"reason": 'the "user" said né'}, {})
    async with raw_session(asking.house.url) as client:
        for number, reason in enumerate(reasons):
            params: dict[str, Any] = {"name": "a__ask", "arguments": {"number": number}}
            body = client.body("tools/call", params, f"call-{number}")
            calling = asyncio.ensure_future(client.send(body, "tools/call", params))
            await asking.server.saw(
                lambda m, params=params: m.get("params", {}).get("arguments") == params["arguments"]
            )
            told = {"requestId": f"call-{number}", **reason}
            await asking.say(client, method="notifications/cancelled", params=told)
            await calling
    said = [each["params"]["reason"] for each in asking.server.seen if each.get("method") == "notifications/cancelled"]
    assert said == ['the "user" said né', "the caller cancelled"]


async def test_what_may_not_be_answered_with_questions_is_not(asking: Asking) -> None:
    """2026-07-28 basic/patterns/mrtr §Supported Requests: a completion is none of them."""

    async def asks(call: Call) -> Answer:
        return {"completion": {"values": [str((await call.ask("elicitation/create", FORM))["error"]["code"])]}}

    asking.server.handlers["completion/complete"] = asks
    asking.server.change("prompts", [{"name": "p"}])
    await asking.house.published(lambda gateway: len(gateway.current.exposure.catalog.entries) > 3, "the prompt")
    client = RawClient(asking.house.url, capabilities=ABLE)
    params = {"ref": {"type": "ref/prompt", "name": "a__p"}, "argument": {"name": "x", "value": ""}}
    result = (await client.request("completion/complete", params)).json()["result"]
    assert result["completion"]["values"] == ["-32601"]


TASKS: dict[str, Any] = {"list": {}, "cancel": {}, "requests": {"sampling": {"createMessage": {}}}}


async def test_a_server_on_a_session_s_own_connection_asks_for_a_task_of_the_client(asking: Asking) -> None:
    """2025-11-25 basic/utilities/tasks: the client is the receiver; polls, result, cancel and status find it."""

    async def by_task(call: Call) -> Answer:
        asked = {"messages": [], "maxTokens": 5, "task": {"ttl": 60_000}}
        created = (await call.ask("sampling/createMessage", asked))["result"]["task"]
        said = [created["taskId"]]
        for method in ("tasks/get", "tasks/result", "tasks/cancel"):
            answer = await call.ask(method, {"taskId": created["taskId"]})
            said.append(answer.get("result") or answer["error"])
        return text(json.dumps(said))

    asking.own.handlers["ask"] = by_task
    able = {"sampling": {}, "tasks": TASKS}
    task = {"taskId": "client-1", "status": "working", "createdAt": "2025-11-25T00:00:00Z", "ttl": 60_000}
    result = {"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m"}
    async with raw_session(asking.house.url, capabilities=able) as client, asking.call(client, "own__ask") as stream:
        for method, answer in (
            ("sampling/createMessage", {"task": task}),
            ("tasks/get", {**task, "status": "completed"}),
            ("tasks/result", {**result, "_meta": {"io.modelcontextprotocol/related-task": {"taskId": "client-1"}}}),
            ("tasks/cancel", {**task, "status": "cancelled"}),
        ):
            question = await stream.next()
            assert question["method"] == method
            if method == "sampling/createMessage":
                assert question["params"]["task"] == {"ttl": 60_000}
                await asking.say(client, method="notifications/tasks/status", params={**task, "status": "working"})
                told = await asking.own.saw_method("notifications/tasks/status")
                assert told["params"]["taskId"] == "client-1"
            else:
                assert question["params"] == {"taskId": "client-1"}
            await asking.say(client, id=question["id"], result=answer)
        (answered,) = await stream.rest()
        said = json.loads(answered["result"]["content"][0]["text"])
    assert said[0] == "client-1"
    assert said[1]["status"] == "completed"
    assert (said[2]["content"]["text"], said[3]["status"]) == ("hi", "cancelled")
    hello = [each for each in asking.own.seen if each.get("method") == "initialize"]
    assert hello[-1]["params"]["capabilities"]["tasks"] == TASKS


async def test_a_client_without_tasks_is_not_asked_about_any(asking: Asking) -> None:
    async def about_tasks(call: Call) -> Answer:
        return text(json.dumps((await call.ask("tasks/get", {"taskId": "x"}))["error"]))

    asking.own.handlers["ask"] = about_tasks
    async with raw_session(asking.house.url, capabilities=ABLE) as client:
        answered = (await client.call("own__ask")).json()
    assert json.loads(answered["result"]["content"][0]["text"])["code"] == -32601


async def test_what_a_session_s_own_server_says_does_not_keep_an_abandoned_session(asking: Asking) -> None:
    async with raw_session(asking.house.url) as client:
        await client.request("tools/call", {"name": "own__ask", "arguments": {}})
        session, sessions = asking.house.session(client.session_id), asking.house.gateway.sessions
        session.seen_s = float("-inf")
        asking.own.tell("notifications/message", level="error", data="still here")

        async def has_heard() -> bool:
            return session.standing.has_unread

        await until(has_heard, bool, WAIT_S, "the message")
        assert (sessions.expire(), sessions.here(session.id)) == (1, None)
