"""`mcp-hub serve --watch`: what an edit takes away is gone, and the next edit is applied as well."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support import hub as hubs
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.processes import RAW, stdio_entry
from tests.support.raw_http import Answer
from tests.support.small_server import Call, small_server, text, tool
from tests.support.waiting import until
from tests.unit.categorizer.gemini_stand_in import KEY, all_as, gemini_stand_in

pytestmark = pytest.mark.anyio
SERVER = stdio_entry(RAW, "--era", "handshake", "--tools", "2")
WITHIN_S = 20.0


async def _prefixes(hub: Hub) -> set[str]:
    listed = (await RawClient(hub.url).request("tools/list")).json()["result"]["tools"]
    return {each["name"].partition("__")[0] for each in listed}


async def _lists(hub: Hub, prefixes: set[str], why: str) -> None:
    await until(lambda: _prefixes(hub), lambda seen: seen == prefixes, WITHIN_S, why)


def _edit(hub: Hub, servers: dict[str, Any], **document: Any) -> None:
    hub.config.write_text(json.dumps({"mcpServers": servers, **document}))


async def test_edits_go_on_being_applied(tmp_path: Path) -> None:
    one, two = {"one": SERVER}, {"one": SERVER, "two": SERVER}
    with hubs.running({"mcpServers": two}, tmp_path, "--watch") as hub:
        await hub.until_ready("one", "two")
        await _lists(hub, {"one", "two"}, "both are listed")
        _edit(hub, one)
        await _lists(hub, {"one"}, "a server is removed")
        _edit(hub, one, toolFiltering={"tools": {"deny": ["one__*"]}})
        await _lists(hub, set(), "a policy is in force after that")
        hub.config.write_text('{"mcpServers": {"a\\ud800": {"command": "x", "era": "never"}}}')
        _edit(hub, two)
        await _lists(hub, {"one", "two"}, "and a server comes back, whatever stood there in between")


async def test_an_edit_that_is_refused_is_told_until_one_is_applied(tmp_path: Path) -> None:
    async def refused() -> list[str]:
        config = (await hub.api("GET", "/api/health"))[1]["config"]
        assert (config["refusedAt"] is not None) is bool(config["refused"])
        return config["refused"]

    with hubs.running({"mcpServers": {"one": SERVER}}, tmp_path, "--watch") as hub:
        assert await refused() == []
        _edit(hub, {"one": SERVER}, toolFiltering={"mode": "prompt"})
        (said,) = await until(refused, bool, WITHIN_S, "the fault is told")
        assert re.match(rf"{re.escape(str(hub.config))}:\d+: toolFiltering.mode: expected one of", said)
        _edit(hub, {"one": SERVER})
        await until(refused, lambda faults: faults == [], WITHIN_S, "the next edit is applied")


async def test_a_call_in_a_view_that_is_removed_ends_with_an_error(tmp_path: Path) -> None:
    async with small_server(tool("wait")) as server:
        began: list[Call] = []

        async def wait(call: Call) -> dict[str, Any]:
            began.append(call)
            await call.cancelled.wait()
            return text("too late")

        server.handlers["wait"] = wait
        servers: dict[str, Any] = {"slow": {"url": server.url}}
        with hubs.running({"mcpServers": servers, "views": {"v": {}}}, tmp_path, "--watch") as hub:
            await hub.until_ready("slow")
            async with raw_session(f"{hub.url}/v/v") as client:
                answers: list[Answer] = []

                async def call() -> None:
                    answers.append(await client.call("slow__wait"))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call)
                    await server.saw_method("tools/call")
                    _edit(hub, servers)
    error = answers[0].json()["error"]
    assert (error["code"], error["message"].partition(":")[0]) == (-32000, "The session has ended")
    assert began[0].cancelled.is_set()


async def test_the_llm_is_the_one_that_the_edit_names(tmp_path: Path) -> None:
    async def known() -> tuple[object, list[str]]:
        stats = (await hub.api("GET", "/api/filtering/stats"))[1]
        return stats["llm"]["model"], list(stats["categorySources"])

    with (
        gemini_stand_in() as gemini,
        hubs.running({"mcpServers": {"one": SERVER}}, tmp_path, "--watch", environ={"NO_PROXY": "127.0.0.1"}) as hub,
    ):
        gemini.answer = all_as("cloud")
        llm = {"enabled": True, "provider": "gemini", "apiKey": KEY, "baseURL": gemini.url, "retryCount": 0}
        await hub.until_ready("one")
        assert (await known())[0] is None
        for named in ({"model": "first"}, {"model": "second"}):
            _edit(hub, {"one": SERVER}, toolFiltering={"llmCategorization": {**llm, **named}})
            await until(known, lambda said, named=named: said == (named["model"], ["llm"]), WITHIN_S, "it is asked")
        _edit(hub, {"one": SERVER}, toolFiltering={"llmCategorization": {**llm, "enabled": False}})
        await until(known, lambda said: said == (None, ["pattern"]), WITHIN_S, "it is asked no more")
