"""The walk-through: more than 300 tools behind the hub, no key, and a prompt that leads to the right one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import Client

from tests.journeys.matrix import proves
from tests.support import hub as hubs
from tests.support.clients import all_tools, session, stateless, text_of
from tests.support.hub import Hub
from tests.support.small_server import small_server, tool

pytestmark = pytest.mark.anyio
PROMPT: Final = "Check my GitHub notifications"
WANTED: Final = "github__list_notifications"
LABELLED: Final = Path(__file__).parents[2] / "bench" / "data" / "categories.jsonl"
SERVERS: Final = 24
"""As many of the servers with the most tools stand behind the hub."""
INBOX: Final = (
    tool("list_notifications", "List the notifications of the signed-in user", all="boolean"),
    tool("get_notification_details", "Show one notification with the issue it is about", thread="string"),
    tool("mark_all_notifications_read", "Mark every notification as read"),
)


def _offers() -> dict[str, list[dict[str, Any]]]:
    """Definitions of real servers' tools, by server."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in LABELLED.read_bytes().splitlines():
        each = json.loads(line)
        definition = tool(each["name"], each["description"])
        definition["inputSchema"]["properties"] = {name: {"type": "string"} for name in each["parameters"]}
        found[each["server"]].append(definition)
    largest = sorted(found, key=lambda name: (-len(found[name]), name))[:SERVERS]
    return {name: found[name] + (list(INBOX) if name == "github" else []) for name in largest}


@pytest.fixture(scope="module", params=("prompt-based", "auto"))
async def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Hub]:
    """A hub in front of them, without any key."""
    offers = _offers()
    assert sum(map(len, offers.values())) > 300
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(small_server(*tools)) for name, tools in offers.items()}
        entries = {name: {"url": server.url} for name, server in servers.items()}
        document = {"mcpServers": entries, "toolFiltering": {"enabled": True, "mode": request.param}}
        running = stack.enter_context(hubs.running(document, tmp_path_factory.mktemp("walk")))
        await running.until_ready(*entries)
        yield running


async def _analyzed(client: Client) -> list[str]:
    """The names of the tools the analysis opened, or would have."""
    body = json.loads(text_of(await client.call_tool("hub__analyze_prompt", {"prompt": PROMPT})))
    return [line.partition("(")[0] for line in body["tools"]]


async def _called(client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return json.loads(text_of(await client.call_tool(name, arguments)))


@proves("find-tools")
async def test_a_session_opens_the_right_tools_and_calls_one(hub: Hub) -> None:
    async with session(hub.url) as client:
        before = await all_tools(client)
        assert WANTED not in before
        assert "hub__analyze_prompt" in before
        names = await _analyzed(client)
        assert names[0] == WANTED
        after = await all_tools(client)
        assert set(names) <= set(after)
        assert len(after) < 30
        assert await _called(client, WANTED, {"all": True}) == {
            "name": "list_notifications",
            "arguments": {"all": True},
        }


@proves("find-tools")
async def test_a_session_whose_client_keeps_its_list_calls_through_the_hub(hub: Hub) -> None:
    async with session(hub.url) as client:
        arguments: dict[str, Any] = {"name": WANTED, "arguments": {}}
        assert WANTED in await _analyzed(client)
        assert (await _called(client, "hub__call_tool", arguments))["name"] == "list_notifications"


@proves("find-tools")
async def test_a_stateless_client_finds_it_and_calls_it(hub: Hub) -> None:
    async with stateless(hub.url) as client:
        before = await all_tools(client)
        assert WANTED not in before
        assert (await _analyzed(client))[0] == WANTED
        answer = text_of(await client.call_tool("hub__search_tools", {"query": PROMPT}))
        assert answer.splitlines()[1].startswith(f"{WANTED}(all?): List the notifications")
        described = json.loads(text_of(await client.call_tool("hub__describe_tool", {"names": [WANTED]})))
        assert described["inputSchema"]["properties"] == {"all": {"type": "boolean"}}
        arguments = {"name": WANTED, "arguments": {"all": True}}
        assert (await _called(client, "hub__call_tool", arguments))["arguments"] == {"all": True}
        assert await all_tools(client) == before
