"""Long-running tasks: their handles carry the server, and whatever is asked of one is asked there."""

from typing import Any

import pytest

from tests.journeys.matrix import Cell, journey
from tests.support.inbox import Received
from tests.support.raw_tasks import EXTENSION, MORE
from tests.support.speakers import Said, Speaker

OLD = ("raw_http_old", "raw_stdio_old", "both_raw_http_old")
NEW = ("raw_http", "raw_stdio", "both_raw_http")
CAPABLE: dict[str, Any] = {"extensions": {EXTENSION: {}}}
STATUS = "notifications/tasks/status"

pytestmark = pytest.mark.anyio


def _result(answer: Said) -> dict[str, Any]:
    body = answer.json()
    assert "result" in body, body
    return body["result"]


async def _old_task(client: Speaker, upstream: str) -> str:
    params = {"name": f"{upstream}__raw_task", "arguments": {}, "task": {"ttl": 60_000}}
    answer = await client.request("tools/call", params)
    result = _result(answer)
    assert result["x-beside"] == {"taskId": "not an id"}
    assert MORE in answer.message_raw
    return str(result["task"]["taskId"])


async def _new_task(client: Speaker, upstream: str) -> str:
    answer = await client.call(f"{upstream}__raw_task")
    result = _result(answer)
    assert result["resultType"] == "task"
    assert MORE in answer.message_raw
    return str(result["taskId"])


@journey("tasks", upstreams=OLD)
async def test_a_task_of_a_session_is_polled_and_ends(cell: Cell) -> None:
    async with cell.speaking() as client:
        task_id = await _old_task(client, cell.upstream)
        assert task_id.startswith(cell.name("~"))
        assert "~task/" in task_id
        polled = _result(await client.request("tasks/get", {"taskId": task_id}))
        assert (polled["taskId"], polled["status"]) == (task_id, "working")
        answer = await client.request("tasks/result", {"taskId": task_id})
        result = _result(answer)
        assert result["content"][0]["text"] == "done"
        assert result["_meta"]["io.modelcontextprotocol/related-task"]["taskId"] == task_id
        assert answer.message_raw.count(MORE) == 2
        assert _result(await client.request("tasks/get", {"taskId": task_id}))["status"] == "completed"


@journey("tasks", upstreams=OLD)
async def test_a_task_is_polled_from_another_session_and_cancelled(cell: Cell) -> None:
    async with cell.speaking() as client, cell.speaking() as other:
        task_id = await _old_task(client, cell.upstream)
        assert _result(await other.request("tasks/get", {"taskId": task_id}))["status"] == "working"
        cancelled = _result(await other.request("tasks/cancel", {"taskId": task_id}))
        assert (cancelled["taskId"], cancelled["status"]) == (task_id, "cancelled")
        assert _result(await client.request("tasks/get", {"taskId": task_id}))["status"] == "cancelled"


@journey("tasks", upstreams=OLD[:1])
async def test_tasks_of_all_servers_are_listed(cell: Cell) -> None:
    async with cell.speaking() as client:
        made = [await _old_task(client, upstream) for upstream in OLD]
        listed = [task["taskId"] for task in _result(await client.request("tasks/list"))["tasks"]]
    assert set(made) <= set(listed)
    assert len(listed) == len(set(listed))


@journey("tasks", upstreams=OLD[1:2])
async def test_the_status_of_a_task_is_told_to_its_session(cell: Cell) -> None:
    async with cell.speaking() as client, cell.speaking() as other:
        task_id = await _old_task(client, cell.upstream)
        await _old_task(other, cell.upstream)
        mine = await _old_task(client, cell.upstream)

        def last(message: Received) -> bool:
            return message.get("method") == STATUS and message["params"]["taskId"] == mine

        await client.inbox.until(last)
        told = [message["params"]["taskId"] for message in client.inbox.messages if message.get("method") == STATUS]
    assert told == [task_id, mine]


@journey("tasks-extension", upstreams=NEW)
async def test_a_task_of_a_stateless_client_takes_input_and_ends(cell: Cell) -> None:
    async with cell.speaking(CAPABLE) as client, cell.speaking(CAPABLE) as another:
        task_id = await _new_task(client, cell.upstream)
        assert task_id.startswith(cell.name("~"))
        assert "~task/" in task_id
        polled = _result(await client.request("tasks/get", {"taskId": task_id}))
        assert (polled["taskId"], polled["status"], polled["resultType"]) == (task_id, "working", "complete")
        answers = {"form": {"action": "accept", "content": {"n": 1}}}
        update = await client.request("tasks/update", {"taskId": task_id, "inputResponses": answers})
        assert _result(update)["resultType"] == "complete"
        done = _result(await another.request("tasks/get", {"taskId": task_id}))
        assert (done["status"], done["result"]["input"]) == ("completed", answers)


@journey("tasks-extension", upstreams=NEW)
async def test_a_task_of_a_stateless_client_is_cancelled(cell: Cell) -> None:
    async with cell.speaking(CAPABLE) as client:
        task_id = await _new_task(client, cell.upstream)
        assert _result(await client.request("tasks/cancel", {"taskId": task_id}))["resultType"] == "complete"
        assert _result(await client.request("tasks/get", {"taskId": task_id}))["status"] == "cancelled"


@journey("tasks-extension", upstreams=NEW)
async def test_a_client_that_wants_no_tasks_gets_none(cell: Cell) -> None:
    async with cell.speaking() as client:
        result = _result(await client.call(cell.name("raw_task")))
    assert result["content"][0]["text"] == "at once"


async def _is_nobody_s(client: Speaker) -> None:
    for task_id in ("", "x", "nobody__task/1", "raw_http__task/9999", "__", "raw_http__"):
        answer = await client.request("tasks/get", {"taskId": task_id})
        assert answer.json()["error"]["code"] == -32602, (task_id, answer)


@journey("tasks", upstreams=OLD[:1])
async def test_a_handle_that_is_nobody_s_is_refused_in_a_session(cell: Cell) -> None:
    async with cell.speaking() as client:
        await _is_nobody_s(client)


@journey("tasks-extension", upstreams=NEW[:1])
async def test_a_handle_that_is_nobody_s_is_refused_without_one(cell: Cell) -> None:
    async with cell.speaking(CAPABLE) as client:
        await _is_nobody_s(client)
        for method in ("tasks/list", "tasks/result"):
            answer = await client.request(method, {"taskId": "raw_http__task/1"})
            assert answer.json()["error"]["code"] == -32601
