"""Long-running tasks: their handles carry the server, and whatever is asked of one is asked there."""

import json
from typing import Any

import anyio
import pytest

from tests.journeys.matrix import proves
from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.raw_http import Answer
from tests.support.raw_tasks import EXTENSION, MORE

OLD = ("raw_http_old", "raw_stdio_old")
NEW = ("raw_http", "raw_stdio")
CAPABLE: dict[str, Any] = {"extensions": {EXTENSION: {}}}
TOLD_TIMEOUT_S = 10.0

pytestmark = pytest.mark.anyio


def _result(answer: Answer) -> dict[str, Any]:
    body = answer.json()
    assert "result" in body, body
    return body["result"]


async def _old_task(client: RawClient, upstream: str) -> str:
    params = {"name": f"{upstream}__raw_task", "arguments": {}, "task": {"ttl": 60_000}}
    answer = await client.request("tools/call", params)
    result = _result(answer)
    assert result["x-beside"] == {"taskId": "not an id"}
    assert MORE in answer.message_raw
    return str(result["task"]["taskId"])


async def _new_task(client: RawClient, upstream: str) -> str:
    answer = await client.call(f"{upstream}__raw_task")
    result = _result(answer)
    assert result["resultType"] == "task"
    assert MORE in answer.message_raw
    return str(result["taskId"])


@proves("tasks")
@pytest.mark.parametrize("upstream", OLD)
async def test_a_task_of_a_session_is_polled_and_ends(hub: Hub, upstream: str) -> None:
    async with raw_session(hub.url) as client:
        task_id = await _old_task(client, upstream)
        assert task_id.startswith(f"{upstream}__task/")
        polled = _result(await client.request("tasks/get", {"taskId": task_id}))
        assert (polled["taskId"], polled["status"]) == (task_id, "working")
        answer = await client.request("tasks/result", {"taskId": task_id})
        result = _result(answer)
        assert result["content"][0]["text"] == "done"
        assert result["_meta"]["io.modelcontextprotocol/related-task"]["taskId"] == task_id
        assert answer.message_raw.count(MORE) == 2
        assert _result(await client.request("tasks/get", {"taskId": task_id}))["status"] == "completed"


@proves("tasks")
@pytest.mark.parametrize("upstream", OLD)
async def test_a_task_is_polled_from_another_session_and_cancelled(hub: Hub, upstream: str) -> None:
    async with raw_session(hub.url) as client, raw_session(hub.url) as other:
        task_id = await _old_task(client, upstream)
        assert _result(await other.request("tasks/get", {"taskId": task_id}))["status"] == "working"
        cancelled = _result(await other.request("tasks/cancel", {"taskId": task_id}))
        assert (cancelled["taskId"], cancelled["status"]) == (task_id, "cancelled")
        assert _result(await client.request("tasks/get", {"taskId": task_id}))["status"] == "cancelled"


@proves("tasks")
async def test_tasks_of_all_servers_are_listed(hub: Hub) -> None:
    async with raw_session(hub.url) as client:
        made = [await _old_task(client, upstream) for upstream in OLD]
        listed = [task["taskId"] for task in _result(await client.request("tasks/list"))["tasks"]]
    assert set(made) <= set(listed)
    assert len(listed) == len(set(listed))


@proves("tasks")
async def test_the_status_of_a_task_is_told_to_its_session(hub: Hub) -> None:
    async with raw_session(hub.url) as client, raw_session(hub.url) as other:
        fields = {"Accept": "text/event-stream", **client.headers("", {})}
        async with raw_http.opened("GET", hub.url, headers=fields) as stream:
            task_id = await _old_task(client, "raw_stdio_old")
            await _old_task(other, "raw_stdio_old")
            mine = await _old_task(client, "raw_stdio_old")
            told: list[str] = []
            with anyio.fail_after(TOLD_TIMEOUT_S):
                async for event in stream.events():
                    message = json.loads(event)
                    if message["method"] == "notifications/tasks/status":
                        told.append(message["params"]["taskId"])
                    if len(told) == 2:
                        break
    assert told == [task_id, mine]


@proves("tasks-extension")
@pytest.mark.parametrize("upstream", NEW)
async def test_a_task_of_a_stateless_client_takes_input_and_ends(hub: Hub, upstream: str) -> None:
    client = RawClient(hub.url, capabilities=CAPABLE)
    task_id = await _new_task(client, upstream)
    assert task_id.startswith(f"{upstream}__task/")
    polled = _result(await client.request("tasks/get", {"taskId": task_id}))
    assert (polled["taskId"], polled["status"], polled["resultType"]) == (task_id, "working", "complete")
    answers = {"form": {"action": "accept", "content": {"n": 1}}}
    update = await client.request("tasks/update", {"taskId": task_id, "inputResponses": answers})
    assert _result(update)["resultType"] == "complete"
    another = RawClient(hub.url, capabilities=CAPABLE)
    done = _result(await another.request("tasks/get", {"taskId": task_id}))
    assert (done["status"], done["result"]["input"]) == ("completed", answers)


@proves("tasks-extension")
@pytest.mark.parametrize("upstream", NEW)
async def test_a_task_of_a_stateless_client_is_cancelled(hub: Hub, upstream: str) -> None:
    client = RawClient(hub.url, capabilities=CAPABLE)
    task_id = await _new_task(client, upstream)
    assert _result(await client.request("tasks/cancel", {"taskId": task_id}))["resultType"] == "complete"
    assert _result(await client.request("tasks/get", {"taskId": task_id}))["status"] == "cancelled"


@proves("tasks-extension")
@pytest.mark.parametrize("upstream", NEW)
async def test_a_client_that_wants_no_tasks_gets_none(hub: Hub, upstream: str) -> None:
    result = _result(await RawClient(hub.url).call(f"{upstream}__raw_task"))
    assert result["content"][0]["text"] == "at once"


@proves("tasks", "tasks-extension")
async def test_a_handle_that_is_nobody_s_is_refused(hub: Hub) -> None:
    client = RawClient(hub.url, capabilities=CAPABLE)
    async with raw_session(hub.url) as session:
        for asking in (client, session):
            for task_id in ("", "x", "nobody__task/1", "raw_http__task/9999", "__", "raw_http__"):
                answer = await asking.request("tasks/get", {"taskId": task_id})
                assert answer.json()["error"]["code"] == -32602, (task_id, answer)
        for method in ("tasks/list", "tasks/result"):
            answer = await client.request(method, {"taskId": "raw_http__task/1"})
            assert answer.json()["error"]["code"] == -32601
