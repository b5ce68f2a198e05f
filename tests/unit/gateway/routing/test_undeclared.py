"""A stateless client is answered with nothing that it did not declare on that very request."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import RawClient
from tests.support.gateway import House, gateway
from tests.support.small_server import STATELESS, Answer, Call, SmallServer, small_server, tool

pytestmark = pytest.mark.anyio
TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
TASK: dict[str, Any] = {"resultType": "task", "taskId": "t1", "status": "working", "ttlMs": 1, "x": 1e5}


class Served:
    """A gateway in front of one stateless server, which answers with whatever `result` is."""

    def __init__(self, house: House, server: SmallServer) -> None:
        self.house = house
        self.server = server
        self.result: Answer = {}
        server.handlers = dict.fromkeys(("work", "p", "x:1", "completion/complete"), self._answer)

    async def _answer(self, _call: Call) -> Answer:
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
