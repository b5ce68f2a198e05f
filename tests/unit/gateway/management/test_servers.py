"""Servers as people see and steer them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import EVERYTHING, serving
from tests.support.raw_messages import EXOTIC, definitions
from tests.support.raw_messages import Offer as RawOffer
from tests.support.waiting import until
from tests.unit.gateway.management.conftest import SECRET, until_ready
from tests.unit.gateway.management.house import House, built

pytestmark = pytest.mark.anyio


async def server(house: House, name: str) -> dict[str, Any]:
    """One server object."""
    answer = await house.post("/api/servers/info", {"server_name": name})
    assert answer.status == 200
    return answer.json()["server"]


async def test_all_servers(house: House) -> None:
    answer = await house.get("/api/servers")
    servers = {each["name"]: each for each in answer.json()["servers"]}
    assert {name: each["status"] for name, each in servers.items() if name != "gone"} == {
        "raw": "ready",
        "far": "ready",
        "off": "stopped",
        "broken": "invalid",
    }
    assert {name: each["transportType"] for name, each in servers.items()} == {
        "raw": "stdio",
        "far": "streamable-http",
        "off": "stdio",
        "broken": None,
        "gone": "stdio",
    }
    assert servers["raw"]["displayName"] == "Raw one"
    assert servers["raw"]["description"] == "first"
    assert servers["broken"]["reason"] == servers["broken"]["error"] != ""
    assert servers["gone"]["lastStarted"] is None
    assert servers["off"]["disabled"] is True


async def test_transport_is_the_one_that_is_spoken(tmp_path: Path) -> None:
    with serving(EVERYTHING, "--transport", "sse") as url:
        async with built({"mcpServers": {"old": {"url": url}}}, tmp_path) as house:
            assert (await server(house, "old"))["transportType"] == "streamable-http"
            await until_ready(house, "old")
            assert (await server(house, "old"))["transportType"] == "sse"


async def test_no_secret_is_told(house: House) -> None:
    assert SECRET.encode() not in (await house.get("/api/servers")).body
    assert SECRET.encode() not in (await house.get("/api/health")).body


async def test_server_object(house: House) -> None:
    raw = await server(house, "raw")
    assert raw["serverInfo"] == {"name": "raw", "version": "1"}
    assert raw["protocolVersion"] == "2025-11-25"
    assert raw["counts"] == {"tools": 15, "prompts": 7, "resources": 7, "resourceTemplates": 7}
    assert [tool["name"] for tool in raw["capabilities"]["tools"]][-1] == "tool_00002"
    assert raw["uptime"] >= 0
    assert raw["lastStarted"].endswith("Z")
    assert raw["config_source"] == str(house.document.sources[0])
    answer = await house.post("/api/servers/info", {"server_name": "raw"})
    for definition in definitions(RawOffer(3, 0, "handshake")):
        assert definition in answer.body


@pytest.mark.parametrize("word", ["info", "start", "stop", "refresh"])
async def test_unknown_server(house: House, word: str) -> None:
    answer = await house.post(f"/api/servers/{word}", {"server_name": "nobody"})
    assert (answer.status, answer.json()["code"]) == (404, "SERVER_NOT_FOUND")


@pytest.mark.parametrize("word", ["start", "stop", "refresh"])
async def test_invalid_server_cannot_be_steered(house: House, word: str) -> None:
    answer = await house.post(f"/api/servers/{word}", {"server_name": "broken"})
    assert (answer.status, answer.json()["code"]) == (409, "CONFLICT")


@pytest.mark.parametrize(
    ("word", "more"),
    [("tools", {"tool": "raw_echo"}), ("resources", {"uri": "raw://r/1"}), ("prompts", {"prompt": "p"})],
)
async def test_stopped_server_takes_no_calls(house: House, word: str, more: dict[str, str]) -> None:
    answer = await house.post(f"/api/servers/{word}", {"server_name": "off", **more})
    assert (answer.status, answer.json()["code"]) == (409, "CONFLICT")


async def test_server_that_is_down_takes_no_calls(house: House) -> None:
    answer = await house.post("/api/servers/tools", {"server_name": "gone", "tool": "x"})
    assert (answer.status, answer.json()["code"]) == (503, "CONNECTION_ERROR")
    assert "no-such-program-anywhere" in answer.json()["error"]


async def test_tool_result_is_passed_on_byte_for_byte(house: House) -> None:
    body = b'{"server_name":"raw","tool":"raw_echo","arguments":' + EXOTIC + b"}"
    answer = await house.post("/api/servers/tools", body)
    assert answer.status == 200
    assert b'"structuredContent":{"echo":' + EXOTIC + b"}" in answer.body
    assert set(answer.json()) == {"result", "timestamp"}


async def test_unknown_tool(house: House) -> None:
    answer = await house.post("/api/servers/tools", {"server_name": "raw", "tool": "raw__nothing"})
    assert (answer.status, answer.json()["code"]) == (404, "NOT_FOUND")
    assert "raw_echo" not in answer.json()["error"]


async def test_arguments_that_are_null_are_none(house: House) -> None:
    answer = await house.post("/api/servers/tools", {"server_name": "raw", "tool": "raw_echo", "arguments": None})
    assert answer.status == 200
    assert answer.json()["result"]["structuredContent"] == {"echo": {}}


async def test_arguments_must_be_an_object(house: House) -> None:
    body = {"server_name": "raw", "tool": "raw_echo", "arguments": [1]}
    answer = await house.post("/api/servers/tools", body)
    assert (answer.status, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert "arguments" in answer.json()["error"]


async def test_error_of_the_server(house: House) -> None:
    answer = await house.post("/api/servers/tools", {"server_name": "raw", "tool": "raw_error"})
    assert answer.status == 502
    data = answer.json()["data"]
    assert (data["server"], data["code"], data["message"]) == ("raw", -32123, "raw error")
    assert data["data"] == json.loads(EXOTIC)


async def test_call_that_takes_too_long(house: House) -> None:
    body = {"server_name": "raw", "tool": "raw_hang", "request_options": {"timeout": 100}}
    answer = await house.post("/api/servers/tools", body)
    assert (answer.status, answer.json()["code"]) == (504, "TIMEOUT")


async def test_timeout_must_be_positive(house: House) -> None:
    body = {"server_name": "raw", "tool": "raw_echo", "request_options": {"timeout": 0}}
    assert (await house.post("/api/servers/tools", body)).status == 400


async def test_resource(house: House) -> None:
    answer = await house.post("/api/servers/resources", {"server_name": "far", "uri": "raw://anything"})
    assert answer.status == 200
    assert b'{"uri":"raw://anything","text":"raw","_meta":{},"x-n":1E5}' in answer.body


async def test_prompt(house: House) -> None:
    answer = await house.post("/api/servers/prompts", {"server_name": "far", "prompt": "prompt_1"})
    assert answer.json()["result"]["messages"][0]["role"] == "user"
    answer = await house.post("/api/servers/prompts", {"server_name": "far", "prompt": "prompt_99"})
    assert (answer.status, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_stop_and_start(house: House) -> None:
    answer = await house.post("/api/servers/stop?disable=true", {"server_name": "raw"})
    assert (answer.status, answer.json()["status"], answer.json()["persisted"]) == (200, "ok", False)
    stopped = answer.json()["server"]
    assert (stopped["status"], stopped["reason"], stopped["uptime"]) == ("stopped", "disabled by request", 0)
    assert stopped["lastStarted"] is None
    assert stopped["counts"]["tools"] == 0
    refused = await house.post("/api/servers/refresh", {"server_name": "raw"})
    assert refused.status == 409
    answer = await house.post("/api/servers/start", {"server_name": "raw"})
    assert (answer.status, answer.json()["server"]["status"]) == (200, "connecting")
    await until_ready(house, "raw")
    again = await house.post("/api/servers/start", {"server_name": "raw"})
    assert again.json()["server"]["status"] == "ready"


async def test_start_what_the_config_disables(house: House) -> None:
    await house.post("/api/servers/start", {"server_name": "off"})
    await until_ready(house, "off")
    assert (await server(house, "off"))["status"] == "ready"
    await house.post("/api/servers/stop", {"server_name": "off"})


async def test_refresh(house: House) -> None:
    before = house.deps.fleet.get("raw").stats.calls
    answer = await house.post("/api/servers/refresh", {"server_name": "raw"})
    assert (answer.status, answer.json()["server"]["counts"]["tools"]) == (200, 15)
    assert house.deps.fleet.get("raw").stats.calls == before
    down = await house.post("/api/servers/refresh", {"server_name": "gone"})
    assert down.status == 503


@pytest.mark.parametrize("ask_with", ["GET", "POST"])
async def test_refresh_all(house: House, ask_with: str) -> None:
    answer = await (house.get("/api/refresh") if ask_with == "GET" else house.post("/api/refresh"))
    body = answer.json()
    assert (answer.status, body["status"], body["failed"]) == (200, "ok", {})
    assert len(body["servers"]) == 5


async def test_crash_during_a_call(house: House) -> None:
    answer = await house.post("/api/servers/tools", {"server_name": "raw", "tool": "raw_crash"})
    assert (answer.status, answer.json()["code"]) == (503, "CONNECTION_ERROR")

    async def seen() -> dict[str, Any]:
        return await server(house, "raw")

    await until(seen, lambda it: it["lastError"] is not None and it["status"] == "ready", 20, "raw is back")
