"""Tasks of 2025-11-25: whatever is said of one carries the id that its hearer knows, and only its maker is told or
may ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, gateway, posted, standing
from tests.support.small_server import WAIT_S, Answer, Call, SmallServer, small_server, text, tool

pytestmark = pytest.mark.anyio
TIMEOUT_S = 1.0
RELATED = "io.modelcontextprotocol/related-task"
FORM: dict[str, Any] = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
ABLE: dict[str, Any] = {"elicitation": {}}
TASK: dict[str, Any] = {"taskId": "t~1", "status": "working"}
VIEWS: dict[str, Any] = {
    "low": {"toolFiltering": {"tools": {"allow": ["a__*"]}}},
    "kept": {"credentials": ["one-token", "other-token"]},
}


def related(task_id: str) -> dict[str, Any]:
    """The `_meta` that ties a message to a task; its other members are nobody's business."""
    return {"_meta": {RELATED: {"taskId": task_id, "x": 1e5}, "y": 1}}


def bearing(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


class Working:
    """A gateway and a server whose calls become tasks."""

    def __init__(self, house: House, server: SmallServer) -> None:
        self.house = house
        self.server = server

    async def made(self, client: RawClient, **meta: Any) -> str:
        """The handle of a new task."""
        params = {"name": "a__work", "arguments": {}, "task": {}, **({"_meta": meta} if meta else {})}
        return str((await client.request("tools/call", params)).json()["result"]["task"]["taskId"])

    async def say(self, client: RawClient, **message: Any) -> None:
        """Send a notification or a response."""
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert (await raw_http.post(client.url, body, client.headers("", {}))).status == 202


async def _made(_: Call) -> Answer:
    return {"task": TASK}


async def _told(_: Call) -> Answer:
    return TASK


def _serve(server: SmallServer) -> None:
    server.capabilities = {"tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}}
    server.handlers |= {"work": _made, "tasks/get": _told}


@pytest.fixture
async def working(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Working]:
    async with small_server(tool("work"), tool("wait")) as server:
        _serve(server)
        async with gateway({"a": {"url": server.url}}, tmp_path_factory.mktemp("tasks"), views=VIEWS) as house:
            yield Working(house, server)


@pytest.mark.parametrize("token", (7, "seven"))
async def test_progress_of_a_task_goes_on_after_the_answer_that_made_it(working: Working, token: object) -> None:
    async with raw_session(working.house.url) as client, standing(working.house, client.session_id) as stream:
        task_id = await working.made(client, progressToken=token)
        (call,) = [call for call in working.server.calls.values() if call.method == "tools/call"]
        for step in (1, 2):
            own = call.params["_meta"]["progressToken"]
            working.server.tell("notifications/progress", progressToken=own, progress=step, **related("t~1"))
        for step in (1, 2):
            told = await stream.next()
            assert told["method"] == "notifications/progress"
            assert told["params"] == {"progressToken": token, "progress": step, **related(task_id)}


async def test_the_result_of_a_task_is_waited_for_longer_than_a_call_is(tmp_path: Path) -> None:
    async def ends(_: Call) -> Answer:
        await asyncio.sleep(1.5 * TIMEOUT_S)
        return text("done")

    async with small_server(tool("work"), tool("wait")) as server:
        _serve(server)
        server.handlers |= {"wait": ends, "tasks/result": ends}
        async with (
            gateway({"a": {"url": server.url, "timeoutSeconds": TIMEOUT_S}}, tmp_path) as house,
            raw_session(house.url) as client,
        ):
            task_id = await Working(house, server).made(client)
            assert "no answer within" in (await client.call("a__wait")).json()["error"]["message"]
            answer = await client.request("tasks/result", {"taskId": task_id})
    assert answer.json()["result"] == text("done")


async def test_what_a_task_asks_reaches_its_maker_whoever_else_calls(working: Working) -> None:
    release = asyncio.Event()

    async def waits(_: Call) -> Answer:
        await release.wait()
        return text("done")

    working.server.handlers["wait"] = waits
    async with (
        raw_session(working.house.url, capabilities=ABLE) as maker,
        raw_session(working.house.url, capabilities=ABLE) as other,
        standing(working.house, maker.session_id) as stream,
    ):
        task_id = await working.made(maker)
        calling = asyncio.ensure_future(other.call("a__wait"))
        await working.server.saw(lambda message: message.get("params", {}).get("name") == "wait")
        answered = working.server.ask("elicitation/create", **FORM, **related("t~1"))
        question = await stream.next()
        assert question["params"] == {**FORM, **related(task_id)}
        await working.say(maker, id=question["id"], result={"action": "cancel", **related(task_id)})
        async with asyncio.timeout(WAIT_S):
            assert (await answered)["result"] == {"action": "cancel", **related("t~1")}
        working.server.tell("notifications/message", level="info", data=1, **related("t~1"))
        told = await stream.next()
        assert told["params"] == {"level": "info", "data": 1, **related(task_id)}
        release.set()
        assert (await calling).json()["result"] == text("done")


async def test_what_is_asked_on_the_stream_of_its_result_carries_the_handle(working: Working) -> None:
    async def result(call: Call) -> Answer:
        answer = await call.ask("elicitation/create", {**FORM, **related("t~1")})
        return {**text(json.dumps(answer["result"])), **related("t~1")}

    working.server.handlers["tasks/result"] = result
    async with raw_session(working.house.url, capabilities=ABLE) as client:
        task_id = await working.made(client)
        params = {"taskId": task_id}
        body, headers = client.body("tasks/result", params), client.headers("tasks/result", params)
        async with posted(working.house, body, headers) as stream:
            question = await stream.next()
            assert question["params"] == {**FORM, **related(task_id)}
            await working.say(client, id=question["id"], result={"action": "cancel", **related(task_id)})
            (done,) = await stream.rest()
        said = {"action": "cancel", **related("t~1")}
        assert done["result"] == {**text(json.dumps(said)), **related(task_id)}


async def test_a_request_that_is_related_to_a_task_reaches_the_server_under_its_id(working: Working) -> None:
    async with raw_session(working.house.url) as client:
        task_id = await working.made(client)
        await client.request("tools/call", {"name": "a__wait", **related(task_id)})
        await client.request("tools/call", {"name": "a__wait", **related("nobody's")})
    seen = [call.params for call in working.server.calls.values() if call.params.get("name") == "wait"]
    assert seen == [{"name": "wait", **related("t~1")}, {"name": "wait", **related("nobody's")}]


async def test_a_handle_is_nothing_in_another_view_or_with_another_token_also_after_a_restart(tmp_path: Path) -> None:
    made = list[dict[str, Any]]()

    async def make(_: Call) -> Answer:
        made.append({"taskId": f"t~{len(made)}", "status": "working"})
        return {"task": made[-1]}

    async def tell(call: Call) -> Answer:
        (task,) = (task for task in made if task["taskId"] == call.params["taskId"])
        return task

    async def tell_all(_: Call) -> Answer:
        return {"tasks": made}

    handles = dict[str, str]()
    async with small_server(tool("work")) as server:
        _serve(server)
        server.handlers |= {"work": make, "tasks/get": tell, "tasks/list": tell_all}
        for again in (False, True):
            async with gateway({"a": {"url": server.url}}, tmp_path, views=VIEWS) as house:
                url = house.url
                makers = {
                    "plain": raw_session(url),
                    "low": raw_session(f"{url}/v/low"),
                    "one": raw_session(f"{url}/v/kept", headers=bearing("one-token")),
                    "other": raw_session(f"{url}/v/kept", headers=bearing("other-token")),
                }
                for name, opening in makers.items():
                    async with opening as client:
                        if not again:
                            handles[name] = await Working(house, server).made(client)
                            assert handles[name].startswith("a__")
                            assert handles[name].endswith(f"~{made[-1]['taskId']}")
                        for maker, task_id in handles.items():
                            answer = (await client.request("tasks/get", {"taskId": task_id})).json()
                            if maker == name:
                                assert answer["result"]["taskId"] == task_id
                            else:
                                assert answer["error"]["message"] == f"Unknown task: {task_id}"
                        (told,) = (await client.request("tasks/list")).json()["result"]["tasks"]
                        assert told["taskId"] == handles[name], "its own, though the server lists all"
                        for forged in ("a__t~0", f"a__~.{'0' * 32}~t~0"):
                            assert (await client.request("tasks/get", {"taskId": forged})).json()["error"]


async def test_a_session_is_its_token_s(working: Working) -> None:
    url = f"{working.house.url}/v/kept"
    async with raw_session(url, headers=bearing("one-token")) as client:
        other = RawClient(url, client.session_id, headers=bearing("other-token"))
        assert (await other.request("ping")).status == 404
        assert (await client.request("ping")).json()["result"] == {}


LISTS: tuple[tuple[list[dict[str, Any]], int, int], ...] = (
    ([{"tasks": [TASK], "nextCursor": None}], 1, 1),
    ([{"tasks": [], "nextCursor": "2"}, {"tasks": [TASK]}], 1, 2),
    ([{"tasks": [TASK], "nextCursor": "2"}, {"tasks": [TASK], "nextCursor": "2"}], 1, 2),
    ([{"tasks": [TASK], "nextCursor": "2"}, {"tasks": 7}], 1, 2),
    ([{"tasks": []}], 0, 1),
)
"""The pages of a server, how many tasks are listed of them, and how many pages are asked for."""


@pytest.mark.parametrize(("pages", "listed", "asked"), LISTS)
async def test_tasks_are_listed_to_the_last_page_and_no_further(
    working: Working, pages: list[dict[str, Any]], listed: int, asked: int
) -> None:
    cursors = list[Any]()

    async def tell_all(call: Call) -> Answer:
        cursors.append(call.params.get("cursor"))
        return pages[min(len(cursors), len(pages)) - 1]

    working.server.handlers["tasks/list"] = tell_all
    async with raw_session(working.house.url) as client:
        task_id = await working.made(client)
        answer = (await client.request("tasks/list")).json()["result"]["tasks"]
    assert answer == [{**TASK, "taskId": task_id}] * listed
    assert cursors == [None, "2"][:asked]


@pytest.mark.parametrize("cursor", ["2", "", 5])
async def test_a_cursor_that_no_list_of_tasks_gave_is_refused(working: Working, cursor: object) -> None:
    async with raw_session(working.house.url) as client:
        error = (await client.request("tasks/list", {"cursor": cursor})).json()["error"]
        assert error["code"] == -32602
        assert "cursor" in error["message"]
        assert "result" in (await client.request("tasks/list", {"cursor": None})).json()


async def test_a_server_that_declares_tasks_as_no_object_spoils_no_list(tmp_path: Path) -> None:
    async with small_server(tool("work")) as server, small_server(tool("play")) as odd:
        _serve(server)
        odd.capabilities = {"tasks": True}

        async def listed(_: Call) -> Answer:
            return {"tasks": [TASK]}

        server.handlers["tasks/list"] = listed
        servers = {"a": {"url": server.url}, "odd": {"url": odd.url}}
        async with gateway(servers, tmp_path) as house, raw_session(house.url) as client:
            task_id = await Working(house, server).made(client)
            answer = (await client.request("tasks/list")).json()
    assert answer["result"]["tasks"] == [{**TASK, "taskId": task_id}]
