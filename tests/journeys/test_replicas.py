"""Several gateways, one hub: nothing depends on which replica a request hits."""

import asyncio
import json
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from tests.journeys.matrix import proves
from tests.journeys.test_held_calls import CAPABLE, ROUNDS, accepted, required
from tests.journeys.test_streams import fresh_key
from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.processes import EVERYTHING, RAW, serving, stdio_entry
from tests.support.raw_http import Answer
from tests.support.raw_tasks import EXTENSION
from tests.support.replicas import Replicas, replicas
from tests.support.speakers import EVENT_STREAM, over_sse
from tests.support.waiting import until

UPSTREAMS: Final = ("http", "stdio")
TOLD_S: Final = 15.0

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Replicas]:
    """Two replicas in front of servers with sessions, over HTTP and over stdio, and of some of both eras."""
    with ExitStack() as stack:
        servers: dict[str, object] = {
            "http": {"url": stack.enter_context(serving(EVERYTHING, "--era", "handshake", "--name", "http"))},
            "stdio": stdio_entry(EVERYTHING, "--era", "handshake", "--name", "stdio"),
        }
        for name, era in (("raw_old", "handshake"), ("raw", "stateless")):
            servers[name] = stdio_entry(RAW, "--era", era, "--extras", "--tools", "3")
        servers["raw_both"] = stdio_entry(RAW, "--extras", "--tools", "3")
        servers["raw_http_both"] = {"url": stack.enter_context(serving(RAW, "--extras"))}
        servers["raw_http_old"] = {"url": stack.enter_context(serving(RAW, "--era", "handshake", "--extras"))}
        yield stack.enter_context(replicas(servers, tmp_path_factory.mktemp("replicas")))


def _text(answer: Answer) -> str:
    return answer.json()["result"]["content"][0]["text"]


def _retry(name: str, asked: dict[str, Any], answer: Any, **more: Any) -> dict[str, Any]:
    """The params of a retry that answers every question alike."""
    responses = dict.fromkeys(asked["inputRequests"], answer)
    return {"arguments": {}, "name": name, "inputResponses": responses, "requestState": asked["requestState"], **more}


def _asking(url: str) -> RawClient:
    return RawClient(url, capabilities=CAPABLE)


@proves("held-call-elsewhere")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_a_retry_finds_its_call_from_any_replica(pair: Replicas, upstream: str) -> None:
    name = f"{upstream}__{ROUNDS}"
    first = required(await _asking(pair.one.url).call(name))
    there = await _asking(pair.other.url).request("tools/call", _retry(name, first, accepted(name="Ada")))
    second = required(there)
    assert second["requestState"] != first["requestState"]
    (question,) = second["inputRequests"].values()
    assert question["method"] == "elicitation/create"
    body = _retry(name, second, accepted(color="green"))
    assert _text(await _asking(pair.other.url).request("tools/call", body)) == "Ada likes green."
    replayed = await _asking(pair.other.url).request("tools/call", body)
    assert replayed.json()["error"]["code"] == -32602
    assert "continued already" in replayed.json()["error"]["message"]


@proves("held-call-elsewhere")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_what_comes_before_the_result_comes_through_the_replica_that_was_asked(
    pair: Replicas, upstream: str
) -> None:
    name = f"{upstream}__ask_then_progress"
    params = {"name": name, "_meta": {"progressToken": "first"}}
    asked = required(await _asking(pair.one.url).request("tools/call", params))
    retry = _retry(name, asked, accepted(name="Ada"), _meta={"progressToken": "second"})
    answer = await _asking(pair.other.url).request("tools/call", retry)
    told = [json.loads(data) for data in raw_http.events_of(answer)]
    assert [each["params"]["progressToken"] for each in told if "method" in each] == ["second", "second"]
    assert told[-1]["result"]["content"][0]["text"] == "Ada"


@proves("held-call-elsewhere")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_hanging_up_on_a_retry_cancels_the_call_where_it_waits(pair: Replicas, upstream: str) -> None:
    gate, name = fresh_key(), f"{upstream}__ask_then_wait"
    client = _asking(pair.other.url)
    asked = required(await _asking(pair.one.url).call(name, {"key": gate}))
    params = _retry(name, asked, accepted(name="Ada"), arguments={"key": gate})
    watcher = RawClient(pair.one.url)

    async def state(wanted: str) -> str:
        return _text(await watcher.call(f"{upstream}__slow_state", {"key": gate, "state": wanted}))

    fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **client.headers("tools/call", params)}
    async with raw_http.opened_early("POST", client.url, client.body("tools/call", params), fields):
        assert await state("waiting") == "waiting"
    assert await state("cancelled") == "cancelled"


@proves("held-call-elsewhere")
async def test_a_forged_state_is_refused_by_any_replica(pair: Replicas) -> None:
    name = f"http__{ROUNDS}"
    first = required(await _asking(pair.one.url).call(name))
    state = first["requestState"]
    for forged in (state[:-1] + ("0" if state[-1] != "0" else "1"), state.replace(state.split(".")[1], "00000000")):
        answer = await _asking(pair.other.url).request(
            "tools/call", _retry(name, {**first, "requestState": forged}, accepted(name="Eve"))
        )
        assert answer.json()["error"]["code"] == -32602
        assert "not made by this hub" in answer.json()["error"]["message"]
    stolen = await _asking(pair.other.url).request(
        "tools/call", _retry("http__test_input_required_result_elicitation", first, accepted(name="Eve"))
    )
    assert "another request" in stolen.json()["error"]["message"]


async def _task(client: RawClient, upstream: str) -> str:
    """The handle of a new task."""
    params: dict[str, Any] = {"name": f"{upstream}__raw_task", "arguments": {}}
    if client.handshake:
        return str((await client.request("tools/call", {**params, "task": {}})).json()["result"]["task"]["taskId"])
    return str((await client.request("tools/call", params)).json()["result"]["taskId"])


@proves("tasks-elsewhere")
@pytest.mark.parametrize("upstream", ("raw_old", "raw_http_old", "raw_both", "raw_http_both"))
async def test_a_task_is_polled_and_cancelled_from_any_replica(pair: Replicas, upstream: str) -> None:
    """Each child counts its tasks from 1, so an id alone would name two of them."""
    async with raw_session(pair.one.url) as here, raw_session(pair.other.url) as elsewhere:
        there = RawClient(pair.other.url, here.session_id)
        task_id, another = await _task(here, upstream), await _task(elsewhere, upstream)
        assert task_id != another
        assert (await there.request("tools/call", {"name": f"{upstream}__raw_seen", "arguments": {}})).status == 200
        polled = (await there.request("tasks/get", {"taskId": task_id})).json()["result"]
        assert (polled["taskId"], polled["status"]) == (task_id, "working")
        result = (await there.request("tasks/result", {"taskId": task_id})).json()["result"]
        assert result["_meta"]["io.modelcontextprotocol/related-task"]["taskId"] == task_id
        assert (await elsewhere.request("tasks/get", {"taskId": task_id})).json()["result"]["status"] == "completed"
        assert (await here.request("tasks/get", {"taskId": another})).json()["result"]["status"] == "working"
        assert (await here.request("tasks/cancel", {"taskId": another})).json()["result"]["status"] == "cancelled"
        assert (await elsewhere.request("tasks/get", {"taskId": another})).json()["result"]["status"] == "cancelled"


@proves("tasks-elsewhere")
async def test_the_status_of_a_task_reaches_its_session_on_another_replica(pair: Replicas) -> None:
    async with raw_session(pair.one.url) as here:
        there = RawClient(pair.other.url, here.session_id)
        fields = {"Accept": "text/event-stream", **there.headers("", {})}
        async with raw_http.opened("GET", pair.other.url, headers=fields) as stream:
            events = stream.events()
            task_id = await _task(here, "raw_old")
            async with asyncio.timeout(TOLD_S):
                told = json.loads(await anext(events))
            assert told["method"] == "notifications/tasks/status"
            assert (told["params"]["taskId"], told["params"]["status"]) == (task_id, "working")


@proves("tasks-elsewhere")
async def test_a_task_of_a_stateless_client_is_updated_from_any_replica(pair: Replicas) -> None:
    capable: dict[str, Any] = {"extensions": {EXTENSION: {}}}
    here, there = (RawClient(hub.url, capabilities=capable) for hub in (pair.one, pair.other))
    task_id = await _task(here, "raw")
    assert (await there.request("tasks/get", {"taskId": task_id})).json()["result"]["status"] == "working"
    assert "result" in (await there.request("tasks/update", {"taskId": task_id, "inputResponses": {}})).json()
    assert (await there.request("tasks/get", {"taskId": task_id})).json()["result"]["status"] == "completed"


@proves("tasks-elsewhere")
async def test_what_becomes_of_a_task_is_told_from_the_replica_that_has_it(pair: Replicas) -> None:
    """Each child counts its tasks from 1: the other replica's first task is another one."""
    capable: dict[str, Any] = {"extensions": {EXTENSION: {}}}
    here, there = (RawClient(hub.url, capabilities=capable) for hub in (pair.one, pair.other))
    task_id, another = await _task(here, "raw"), await _task(there, "raw")
    params = {"notifications": {"taskIds": [task_id, another, task_id[:-1] + "99"]}}
    fields = {"Accept": raw_http.ACCEPT, "Content-Type": "application/json"}
    fields |= there.headers("subscriptions/listen", params)
    body = there.body("subscriptions/listen", params, 42)
    async with raw_http.opened("POST", pair.other.url, body, fields) as stream:
        events = stream.events()
        async with asyncio.timeout(TOLD_S):
            acknowledged = json.loads(await anext(events))
            assert sorted(acknowledged["params"]["notifications"]["taskIds"]) == sorted([task_id, another])
            for way, each in ((there, task_id), (here, another)):
                await way.request("tasks/update", {"taskId": each, "inputResponses": {}})
                told = json.loads(await anext(events))
                assert (told["method"], told["params"]["taskId"]) == ("notifications/tasks", each)
                assert told["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 42}


@proves("tasks-elsewhere")
async def test_the_tasks_of_all_replicas_are_listed_by_any(pair: Replicas) -> None:
    async with raw_session(pair.one.url) as here:
        there = RawClient(pair.other.url, here.session_id)
        made = {await _task(here, "raw_old"), await _task(there, "raw_old")}
        for way in (here, there):
            listed = [task["taskId"] for task in (await way.request("tasks/list")).json()["result"]["tasks"]]
            assert made <= set(listed)
            assert len(set(listed)) == len(listed)


@proves("tasks-elsewhere")
async def test_a_task_of_a_replica_that_died_is_unknown(pair: Replicas) -> None:
    async with raw_session(pair.one.url) as client:
        there = RawClient(pair.other.url, client.session_id)
        of_a_child, over_http = await _task(there, "raw_old"), await _task(there, "raw_http_old")
        pair.other.kill()
        gone = (await client.request("tasks/get", {"taskId": of_a_child})).json()["error"]
        assert (gone["code"], "is gone" in gone["message"]) == (-32602, True)
        assert (await client.request("tasks/get", {"taskId": over_http})).json()["result"]["status"] == "working"
        pair.other.start_again()
        await pair.other.until_ready(*UPSTREAMS, "raw_old", "raw")


@proves("held-call-elsewhere")
async def test_a_call_held_by_a_replica_that_died_is_said_to_be_gone(pair: Replicas) -> None:
    name = f"http__{ROUNDS}"
    first = required(await _asking(pair.other.url).call(name))
    pair.other.kill()
    here = await _asking(pair.one.url).request("tools/call", _retry(name, first, accepted(name="Ada")))
    assert here.json()["error"]["code"] == -32602
    assert "is gone; start again" in here.json()["error"]["message"]
    pair.other.start_again()
    await pair.other.until_ready(*UPSTREAMS)
    restarted = await _asking(pair.other.url).request("tools/call", _retry(name, first, accepted(name="Ada")))
    assert restarted.json()["error"]["code"] == -32602
    assert "is gone; start again" in restarted.json()["error"]["message"]


@proves("shared-session")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_what_a_client_of_http_sse_posts_finds_its_stream_on_another_replica(
    pair: Replicas, upstream: str
) -> None:
    client = over_sse(pair.one.url, stateless=False, capabilities={}, posts_to=pair.other.url)
    async with client as speaker:
        assert (await speaker.call(f"{upstream}__echo", {"text": "hello"})).json()["result"]["content"][0]["text"]
        long = "x" * 200_000
        said = (await speaker.call(f"{upstream}__echo", {"text": long})).json()
        assert said["result"]["content"][0]["text"] == long


@proves("shared-session")
async def test_a_post_for_a_stream_that_is_closed_is_refused_by_any_replica(pair: Replicas) -> None:
    async with raw_http.opened("GET", pair.one.url, headers=EVENT_STREAM) as stream:
        path = (await anext(stream.events())).decode()
    body = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    for hub in (pair.one, pair.other):

        async def refused(base: str = hub.base) -> int:
            return (await raw_http.post(base + path, body)).status

        await until(refused, lambda status: status == 404, TOLD_S, "404")
        assert (await raw_http.post(f"{hub.base}/messages?sessionId=none.00000000.", body)).status == 404
        assert (await raw_http.post(f"{hub.base}/messages?sessionId=none", body)).status == 404
