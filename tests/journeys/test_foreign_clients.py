"""Clients nobody here wrote, with filtering on: the SDKs 1.x for Python and for TypeScript, and the Inspector."""

import pytest

from tests.journeys.matrix import UPSTREAMS, proves
from tests.support.foreign_clients import inspector, sdk1, typescript
from tests.support.hub import Hub

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@proves("sdk-1")
@pytest.mark.parametrize("transport", ("http", "sse"))
async def test_the_python_sdk_1_lists_and_calls(hub: Hub, transport: str) -> None:
    for upstream in UPSTREAMS:
        seen = await sdk1(hub.url, f"{upstream}__echo", {"text": "héllo"}, transport)
        assert f"{upstream}__add" in seen["tools"]
        assert (seen["texts"], seen["error"]) == (["héllo"], False)


@proves("sdk-typescript")
@pytest.mark.parametrize("transport", ("http", "sse", "stdio"))
@pytest.mark.parametrize("upstream", ("http_handshake", "stdio_stateless"))
async def test_the_typescript_sdk_has_everything(hub: Hub, upstream: str, transport: str) -> None:
    seen = await typescript(hub.url, upstream, transport)
    assert {f"{upstream}__echo", f"{upstream}__add"} <= set(seen["tools"])
    assert not [name for name in seen["tools"] if name.startswith("shut")]
    assert seen["echo"] == "héllo"
    assert seen["progress"] == [0, 50, 100]
    assert seen["sampling"] == "LLM response: re: the way?"
    assert seen["elicitation"] == 'Elicitation completed: action=accept, content={"name": "Ada", "age": 36}'
    assert seen["roots"] == "roots: ['file:///home/someone']"
    assert seen["resource"] == f"test://only-{upstream} of {upstream}"
    assert seen["prompt"]
    assert seen["added"] == "dynamic"


@proves("inspector")
async def test_the_inspector_lists_and_calls(hub: Hub) -> None:
    name = "stdio_handshake__echo"
    listed = await inspector(hub.url, "tools/list")
    called = await inspector(hub.url, "tools/call", "--tool-name", name, "--tool-arg", "text=hello")
    assert name in {tool["name"] for tool in listed["tools"]}
    assert called["content"] == [{"type": "text", "text": "hello"}]
