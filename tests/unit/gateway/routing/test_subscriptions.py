"""What is subscribed to at an upstream: once for all who want it, answered in its words, and given back by the last."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, Stream, gateway, heard_before, posted, standing
from tests.support.small_server import STATELESS, Answer, Call, Refused, SmallServer, small_server, tool
from tests.unit.gateway.upstreams.eyes import until
from tests.unit.gateway.upstreams.scripted import STREAM_END, STREAM_HEAD, Request, Write, answer, chunk, scripted

pytestmark = pytest.mark.anyio
UPDATED, SUBSCRIBE, UNSUBSCRIBE = "notifications/resources/updated", "resources/subscribe", "resources/unsubscribe"
TASKS = "io.modelcontextprotocol/tasks"
CAPABLE: dict[str, Any] = {"extensions": {TASKS: {}}}
RESOURCES = [{"uri": "x:1", "name": "one"}, {"uri": "x:2", "name": "two"}]


class Place:
    """A gateway and the server behind it."""

    def __init__(self, house: House, server: SmallServer) -> None:
        self.house = house
        self.server = server

    def asked(self, method: str) -> list[str]:
        """The URIs the server was asked this of."""
        return [each["params"]["uri"] for each in self.server.seen if each.get("method") == method]

    def listens(self) -> list[dict[str, Any]]:
        """The filters of the subscriptions the server was asked for, list changes aside."""
        found = [each["params"]["notifications"] for each in self.server.seen if "listen" in each.get("method", "")]
        return [each for each in found if "toolsListChanged" not in each]

    def handle(self, task_id: str) -> str:
        """The handle that a client in the default view has for a task of the server."""
        return self.house.gateway.calls.handles.ids.public("a", task_id, "\0")

    @asynccontextmanager
    async def listening(self, client: RawClient, **notifications: Any) -> AsyncGenerator[Stream]:
        """A `subscriptions/listen` of a stateless client, with the id 42."""
        params = {"notifications": notifications}
        body = client.body("subscriptions/listen", params, 42)
        async with posted(self.house, body, client.headers("subscriptions/listen", params)) as stream:
            yield stream


@asynccontextmanager
async def place(directory: Path, era: str = "2025-11-25") -> AsyncGenerator[Place]:
    """A gateway in front of one server."""
    async with small_server(tool("work"), era=era, resources=RESOURCES) as server:
        server.capabilities = {"extensions": {TASKS: {}}} if era == STATELESS else {}
        async with gateway({"a": {"url": server.url}}, directory) as house:
            yield Place(house, server)


async def test_a_subscription_is_answered_with_the_upstream_s_own_words(tmp_path: Path) -> None:
    async def refuse(_call: Call) -> Answer:
        raise Refused(-32002, "no such thing here")

    async def welcome(call: Call) -> Answer:
        return {"x-more": call.params["uri"]}

    async with place(tmp_path) as at, raw_session(at.house.url) as client:
        at.server.handlers[SUBSCRIBE] = refuse
        answer = (await client.request(SUBSCRIBE, {"uri": "x:1"})).json()
        assert answer["error"] == {"code": -32002, "message": "no such thing here"}
        assert at.house.session(client.session_id).subscribed == set()
        async with standing(at.house, client.session_id) as stream:
            at.server.tell(UPDATED, uri="x:1")
            at.server.handlers[SUBSCRIBE] = welcome
            assert (await client.request(SUBSCRIBE, {"uri": "a__x:1"})).json()["result"] == {"x-more": "x:1"}
            at.server.tell(UPDATED, uri="x:1")
            assert (await stream.next())["params"]["uri"] == "a__x:1"
        assert at.asked(UNSUBSCRIBE) == [], "what was refused is not given back"


async def test_it_is_not_answered_before_the_upstream_has(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def wait(_call: Call) -> Answer:
        await release.wait()
        return {}

    async with place(tmp_path) as at, raw_session(at.house.url) as client:
        at.server.handlers[SUBSCRIBE] = wait
        asking = asyncio.ensure_future(client.request(SUBSCRIBE, {"uri": "x:1"}))
        await at.server.saw_method(SUBSCRIBE)
        assert (await client.request("ping")).json()["result"] == {}
        assert not asking.done()
        release.set()
        assert (await asking).json()["result"] == {}


async def test_many_share_one_and_the_last_gives_it_back(tmp_path: Path) -> None:
    async with place(tmp_path) as at, raw_session(at.house.url) as one:
        async with raw_session(at.house.url) as other:
            answers = await asyncio.gather(
                *(client.request(SUBSCRIBE, {"uri": uri}) for client in (one, other) for uri in ("x:1", "x:1", "x:2"))
            )
            assert [answer.json()["result"] for answer in answers] == [{}] * 6
            assert sorted(at.asked(SUBSCRIBE)) == ["x:1", "x:2"]
            assert (await one.request(UNSUBSCRIBE, {"uri": "x:1"})).json()["result"] == {}
            assert (await one.request(UNSUBSCRIBE, {"uri": "x:1"})).json()["result"] == {}
            assert at.asked(UNSUBSCRIBE) == []
        await at.server.saw_method(UNSUBSCRIBE)
        assert at.asked(UNSUBSCRIBE) == ["x:1"], "one still wants the other"
        await one.request(SUBSCRIBE, {"uri": "x:1"})
        assert at.asked(SUBSCRIBE).count("x:1") == 2


async def test_who_wants_it_while_it_is_given_back_is_subscribed_after_that(tmp_path: Path) -> None:
    giving_back, again = asyncio.Event(), asyncio.Event()
    said: list[str] = []

    async def unsubscribe(_call: Call) -> Answer:
        giving_back.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await again.wait()
        said.append(UNSUBSCRIBE)
        return {}

    async def subscribe(_call: Call) -> Answer:
        said.append(SUBSCRIBE)
        if giving_back.is_set():
            again.set()
        return {}

    async with place(tmp_path) as at, raw_session(at.house.url) as one, raw_session(at.house.url) as other:
        at.server.handlers[SUBSCRIBE], at.server.handlers[UNSUBSCRIBE] = subscribe, unsubscribe
        await one.request(SUBSCRIBE, {"uri": "x:1"})
        async with asyncio.TaskGroup() as group:
            group.create_task(one.request(UNSUBSCRIBE, {"uri": "x:1"}))
            await asyncio.wait_for(giving_back.wait(), 10)
            group.create_task(other.request(SUBSCRIBE, {"uri": "x:1"}))
        assert said == [SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE]
        async with standing(at.house, other.session_id) as stream:
            at.server.tell(UPDATED, uri="x:1")
            assert (await stream.next())["params"]["uri"] == "x:1"


async def test_an_update_of_a_part_of_a_resource_is_told(tmp_path: Path) -> None:
    async with place(tmp_path) as at, raw_session(at.house.url) as client:
        await client.request(SUBSCRIBE, {"uri": "x:1"})
        async with standing(at.house, client.session_id) as stream:
            at.server.tell(UPDATED, uri="x:10")
            at.server.tell(UPDATED, uri="x:1/part", _meta={"com.example/n": 1e5})
            told = await stream.next()
            assert told["params"] == {"uri": "x:1/part", "_meta": {"com.example/n": 1e5}}


async def test_a_stateless_upstream_s_subscription_is_acknowledged_as_far_as_it_is_honoured(tmp_path: Path) -> None:
    async with place(tmp_path, STATELESS) as at:
        at.server.dishonoured = {"x:2"}
        listings = len([each for each in at.server.seen if each["method"] == "tools/list"])
        client = RawClient(at.house.url)
        async with at.listening(client, resourceSubscriptions=["x:1", "x:2"], toolsListChanged=True) as stream:
            told = await stream.next()
            honoured = {"resourceSubscriptions": ["x:1"], "toolsListChanged": True}
            assert told["params"]["notifications"] == honoured
            meta = {"io.modelcontextprotocol/subscriptionId": 7, "com.example/n": 1}
            at.server.tell(UPDATED, uri="x:1", _meta=meta)
            told = await stream.next()
            assert told["params"]["_meta"] == {**meta, "io.modelcontextprotocol/subscriptionId": 42}
        assert len([each for each in at.server.seen if each["method"] == "tools/list"]) == listings
        async with raw_session(at.house.url) as session, standing(at.house, session.session_id) as heard:
            refused = (await session.request(SUBSCRIBE, {"uri": "x:2"})).json()["error"]
            assert (refused["code"], refused["data"]) == (-32002, {"uri": "x:2"})
            assert (await session.request(SUBSCRIBE, {"uri": "x:1"})).json()["result"] == {}
            at.server.tell(UPDATED, uri="x:1", _meta=meta)
            assert (await heard.next())["params"] == {"uri": "x:1", "_meta": {"com.example/n": 1}}


async def test_a_subscription_that_is_refused_for_a_while_after_it_broke_is_made_again(tmp_path: Path) -> None:
    listens: list[bytes] = []
    both: dict[str, bytes] = {
        "server/discover": b'{"supportedVersions":["2026-07-28"],"capabilities":{"resources":{}}}',
        "resources/list": b'{"resources":[{"uri":"x:1","name":"one"}]}',
        "resources/templates/list": b'{"resourceTemplates":[]}',
    }
    honoured = (
        b'data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged",'
        b'"params":{"notifications":{"resourceSubscriptions":["x:1"]}}}\n\n'
    )

    async def play(request: Request, write: Write) -> bool:
        message = msgspec.json.decode(request.body)
        if message["method"] != "subscriptions/listen":
            await write(answer(b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (message["id"], both[message["method"]])))
            return True
        listens.append(request.body)
        if len(listens) == 2:
            busy = b'"error":{"code":-32603,"message":"busy"}'
            await write(answer(b'{"jsonrpc":"2.0","id":%d,%b}' % (message["id"], busy)))
        else:
            await write(STREAM_HEAD + chunk(honoured) + STREAM_END)
        return True

    async with scripted(play) as server, gateway({"a": {"url": server.url}}, tmp_path) as house:
        client, params = RawClient(house.url), {"notifications": {"resourceSubscriptions": ["x:1"]}}
        headers = client.headers("subscriptions/listen", params)
        async with posted(house, client.body("subscriptions/listen", params, 42), headers) as stream:
            assert (await stream.next())["params"]["notifications"] == {"resourceSubscriptions": ["x:1"]}
            await until(lambda: len(listens), lambda count: count >= 3, "the third time")


async def test_the_states_of_tasks_are_told_to_who_listens_for_them(tmp_path: Path) -> None:
    async with place(tmp_path, STATELESS) as at:
        at.server.dishonoured = {"t9"}
        client, handle = RawClient(at.house.url, capabilities=CAPABLE), at.handle("t1")
        async with at.listening(client, taskIds=[handle, at.handle("t9"), "nobody__t1", "a__t1"]) as stream:
            assert (await stream.next())["params"]["notifications"] == {"taskIds": [handle]}
            assert {"taskIds": ["t1"]} in at.listens()
            for task_id in ("t2", "t1"):
                task: dict[str, Any] = {"taskId": task_id, "status": "completed", "result": {"n": 1e5}}
                at.server.tell("notifications/tasks", **task, _meta={"io.modelcontextprotocol/subscriptionId": 7})
            told = await stream.next()
            assert told["method"] == "notifications/tasks"
            assert told["params"] == {
                "_meta": {"io.modelcontextprotocol/subscriptionId": 42},
                "taskId": handle,
                "status": "completed",
                "result": {"n": 1e5},
            }


async def test_the_tasks_of_a_server_that_is_hidden_are_not_told(tmp_path: Path) -> None:
    async with place(tmp_path, STATELESS) as at:
        hidden: dict[str, Any] = {"mode": "allowlist", "servers": []}
        await at.house.filtering(enabled=True, mode="server-allowlist", serverFilter=hidden)
        client = RawClient(at.house.url, capabilities=CAPABLE)
        async with at.listening(client, taskIds=[at.handle("t1")]) as stream:
            assert (await stream.next())["params"]["notifications"] == {}
        assert at.listens() == []


@pytest.mark.parametrize("method", ("subscriptions/listen", "tasks/get", "tasks/update", "tasks/cancel"))
async def test_who_does_not_declare_tasks_is_told_what_is_missing(tmp_path: Path, method: str) -> None:
    async with place(tmp_path, STATELESS) as at:
        params = {"notifications": {"taskIds": ["a__t1"]}} if "listen" in method else {"taskId": "a__t1"}
        answer = await RawClient(at.house.url).request(method, params)
        assert answer.status == 400
        error = answer.json()["error"]
        assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": CAPABLE})
        assert at.listens() == []


@pytest.mark.parametrize("params", ({}, {"notifications": 5}, {"notifications": {"resourceSubscriptions": [5]}}))
async def test_a_subscription_that_does_not_say_to_what_is_refused(tmp_path: Path, params: dict[str, Any]) -> None:
    async with place(tmp_path, STATELESS) as at:
        answer = await RawClient(at.house.url).request("subscriptions/listen", params)
        assert (answer.status, answer.json()["error"]["code"]) == (400, -32602)
        assert "notifications" in answer.json()["error"]["message"]


async def test_a_session_that_ends_gives_back_what_only_it_wanted(tmp_path: Path) -> None:
    async with place(tmp_path) as at, raw_session(at.house.url) as stays:
        async with raw_session(at.house.url) as leaves, standing(at.house, stays.session_id) as heard:
            await leaves.request(SUBSCRIBE, {"uri": "x:1"})
            await stays.request(SUBSCRIBE, {"uri": "x:2"})
            assert UPDATED not in await heard_before(at.house, stays.session_id, heard)
        await at.server.saw_method(UNSUBSCRIBE)
        assert at.asked(UNSUBSCRIBE) == ["x:1"]


@pytest.mark.parametrize("uri", ("x:2", "a__x:2"))
async def test_who_may_see_a_resource_no_more_is_not_told_of_it(tmp_path: Path, uri: str) -> None:
    async with place(tmp_path) as at, raw_session(at.house.url) as client:
        for wanted in ("x:1", uri):
            await client.request(SUBSCRIBE, {"uri": wanted})
        async with (
            standing(at.house, client.session_id) as heard,
            at.listening(RawClient(at.house.url), resourceSubscriptions=["x:1", uri]) as listener,
        ):
            await listener.next()
            await at.house.filtering(tools={"deny": ["x:2"]})
            for told in ("x:2", "x:2/part", "x:1"):
                at.server.tell(UPDATED, uri=told)
            for stream in (heard, listener):
                updates = await stream.until(lambda message: message.get("params", {}).get("uri") == "x:1")
                assert [each["params"]["uri"] for each in updates if each["method"] == UPDATED] == ["x:1"]
            await at.house.filtering()
            at.server.tell(UPDATED, uri="x:2")
            for stream in (heard, listener):
                updates = await stream.until(lambda message: message["method"] == UPDATED)
                assert updates[-1]["params"]["uri"] == uri
