"""A stateless client is answered with nothing that it did not declare on that very request."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.clients import RawClient
from tests.support.gateway import House, gateway
from tests.support.small_server import STATELESS, Answer, Call, Refused, SmallServer, small_server, tool
from tests.unit.gateway.upstreams.scripted import Request, Write, answer, scripted

pytestmark = pytest.mark.anyio
TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
TASK: dict[str, Any] = {"resultType": "task", "taskId": "t1", "status": "working", "ttlMs": 1, "x": 1e5}
PAGE = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://x/1", "message": "Log in"}}
FORM = {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {"type": "object"}}}
SAMPLE: dict[str, Any] = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
TOOLS: dict[str, Any] = {"method": "sampling/createMessage", "params": {"messages": [], "tools": [{"name": "t"}]}}
ROOTS = {"method": "roots/list"}
REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tools/call", {"name": "a__work", "arguments": {}}),
    ("prompts/get", {"name": "a__p"}),
    ("resources/read", {"uri": "x:1"}),
)


def asking(*questions: dict[str, Any]) -> Answer:
    """A result that asks these."""
    asked = {f"q{number}": question for number, question in enumerate(questions)}
    return {"resultType": "input_required", "inputRequests": asked, "requestState": "s", "x": 1e5}


def unsealed(result: Answer) -> Answer:
    """A result whose state is the server's own again."""
    return {**result, "requestState": result["requestState"].rpartition(".")[2]}


class Served:
    """A gateway in front of one stateless server, which answers with whatever `result` is."""

    def __init__(self, house: House, server: SmallServer) -> None:
        self.house = house
        self.server = server
        self.result: Answer = {}
        server.handlers = dict.fromkeys(("work", "p", "x:1", "completion/complete"), self.tells)

    async def tells(self, _call: Call) -> Answer:
        """Answer a request with the result."""
        return self.result

    def client(self, capabilities: dict[str, Any]) -> RawClient:
        """A stateless client that declares these."""
        return RawClient(self.house.url, capabilities=capabilities)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    lists: dict[str, Any] = {"prompts": [{"name": "p"}], "resources": [{"uri": "x:1", "name": "one"}]}
    async with (
        small_server(tool("work"), era=STATELESS, **lists) as server,
        gateway({"a": {"url": server.url}}, tmp_path) as house,
    ):
        yield Served(house, server)


async def test_a_task_is_for_who_declares_the_extension(served: Served) -> None:
    served.result = TASK
    for capabilities in ({}, {"extensions": {}}, {"extensions": {"com.example/e": {}}}, {"tasks": {}}):
        error = (await served.client(capabilities).call("a__work")).json()["error"]
        assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": TASKS})
    made = (await served.client(TASKS).call("a__work")).json()["result"]
    assert made == {**TASK, "taskId": made["taskId"]}
    assert made["taskId"] != "t1"


async def test_what_is_told_of_a_task_has_what_a_result_owes_and_no_retired_code(served: Served) -> None:
    async def refuses(_call: Call) -> Answer:
        raise Refused(-32002, "gone")

    served.result = TASK
    client = served.client(TASKS)
    params = {"taskId": (await client.call("a__work")).json()["result"]["taskId"]}
    served.server.bare = True
    served.server.handlers |= {"tasks/get": served.tells, "tasks/update": served.tells, "tasks/cancel": refuses}
    served.result = {"taskId": "t1", "status": "working", "x": 1e5}
    for method in ("tasks/get", "tasks/update"):
        told = (await client.request(method, params)).json()["result"]
        assert told == {"resultType": "complete", **served.result, **params}
    assert (await client.request("tasks/cancel", params)).json()["error"] == {"code": -32602, "message": "gone"}


@pytest.mark.parametrize(
    ("questions", "declared", "missing"),
    (
        ((FORM,), {}, {"elicitation": {}}),
        ((FORM,), {"sampling": {}}, {"elicitation": {}}),
        ((FORM,), {"elicitation": {"url": {}}}, {"elicitation": {}}),
        ((FORM,), {"elicitation": {}}, None),
        ((PAGE,), {"elicitation": {}}, {"elicitation": {"url": {}}}),
        ((PAGE, FORM), {"elicitation": {"url": {}, "form": {}}}, None),
        ((SAMPLE, ROOTS), {"sampling": {}}, {"roots": {}}),
        ((SAMPLE, ROOTS), {"sampling": {}, "roots": {}}, None),
        ((TOOLS,), {"sampling": {}}, {"sampling": {"tools": {}}}),
        ((SAMPLE, TOOLS, FORM, PAGE), {}, {"sampling": {"tools": {}}, "elicitation": {"url": {}}}),
        ((), {}, None),
    ),
)
async def test_a_client_is_asked_only_what_it_declares(
    served: Served, questions: tuple[dict[str, Any], ...], declared: dict[str, Any], missing: dict[str, Any] | None
) -> None:
    served.result = asking(*questions)
    for method, params in REQUESTS:
        answer = await served.client(declared).request(method, params)
        if missing is None:
            assert unsealed(answer.json()["result"]) == served.result
        else:
            error = answer.json()["error"]
            assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": missing})
            assert answer.status == 400


async def test_a_result_that_only_carries_a_state_passes(served: Served) -> None:
    served.result = {"resultType": "input_required", "requestState": "s"}
    assert unsealed((await served.client({}).call("a__work")).json()["result"]) == served.result


@pytest.mark.parametrize("question", ({"method": "tools/call", "params": {}}, {"params": {}}, {"method": 5}, 5))
async def test_what_no_client_can_be_asked_is_the_server_s_fault(served: Served, question: Any) -> None:
    served.result = asking(question)
    error = (await served.client({"elicitation": {}}).call("a__work")).json()["error"]
    assert error["code"] == -32000
    assert error["message"].startswith("a: malformed input_required result")


async def test_a_completion_asks_nothing(served: Served) -> None:
    served.result = asking(FORM)
    params = {"ref": {"type": "ref/prompt", "name": "a__p"}, "argument": {"name": "x", "value": "y"}}
    error = (await served.client({"elicitation": {}}).request("completion/complete", params)).json()["error"]
    assert error == {"code": -32000, "message": "a: completion/complete may not be answered with questions"}


@pytest.mark.parametrize("result_raw", [b'"ok"', b"null", b'["taskId"]'])
async def test_a_result_that_is_no_object_is_for_its_client_to_judge(tmp_path: Path, result_raw: bytes) -> None:
    says = {
        "server/discover": b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}',
        "tools/list": b'{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}',
        "tools/call": result_raw,
    }

    async def play(request: Request, write: Write) -> bool:
        message = msgspec.json.decode(request.body)
        await write(answer(b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (message["id"], says[message["method"]])))
        return True

    async with scripted(play) as server, gateway({"a": {"url": server.url}}, tmp_path) as house:
        told = (await RawClient(house.url).call("a__work")).json()
    assert told["result"] == msgspec.json.decode(result_raw)
