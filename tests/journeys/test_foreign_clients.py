"""Clients nobody here wrote: the Python SDK 1.x and the Inspector."""

import pytest

from tests.journeys.matrix import UPSTREAMS, proves
from tests.support.cache_dir import ToolMissing
from tests.support.foreign_clients import inspector, sdk1
from tests.support.hub import Hub

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@proves("sdk-1")
@pytest.mark.parametrize("transport", ("http", "sse"))
async def test_the_python_sdk_1_lists_and_calls(hub: Hub, transport: str) -> None:
    for upstream in UPSTREAMS:
        seen = await sdk1(hub.url, f"{upstream}__echo", {"text": "héllo"}, transport)
        assert f"{upstream}__add" in seen["tools"]
        assert (seen["texts"], seen["error"]) == (["héllo"], False)


@proves("inspector")
async def test_the_inspector_lists_and_calls(hub: Hub) -> None:
    name = "stdio_handshake__echo"
    try:
        listed = await inspector(hub.url, "tools/list")
        called = await inspector(hub.url, "tools/call", "--tool-name", name, "--tool-arg", "text=hello")
    except ToolMissing as missing:
        pytest.skip(f"NOT RUN: {missing}")
    assert name in {tool["name"] for tool in listed["tools"]}
    assert called["content"] == [{"type": "text", "text": "hello"}]
