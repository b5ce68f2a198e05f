"""A gateway with a menu worth choosing from, and what clients of both eras see of it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from hub_gateway.catalog.entry import Entry, EntryKind
from tests.support.clients import RawClient
from tests.support.gateway import House, gateway
from tests.support.small_server import SmallServer, small_server, tool

MENU: dict[str, tuple[dict[str, Any], ...]] = {
    "filesystem": (
        tool("read_file", "Read a file from the disk", path="string"),
        tool("write_file", "Write a file to the disk", path="string", text="string"),
    ),
    "memory": (tool("recall", "Recall what was remembered about a person", person="string"),),
    "mail": (
        tool("send_email", "Send an email message to somebody", to="string", body="string"),
        tool("list_inbox", "List the newest email messages in the inbox"),
    ),
    "weather": (tool("forecast", "Tell the weather forecast of a city", city="string"),),
}
ALL = {f"{name}__{each['name']}" for name, tools in MENU.items() for each in tools}
MINIMAL = {"filesystem__read_file", "filesystem__write_file", "memory__recall"}
ANALYZE, SEARCH, DESCRIBE, CALL = (
    "hub__analyze_prompt",
    "hub__search_tools",
    "hub__describe_tool",
    "hub__call_tool",
)
OWN = {ANALYZE, DESCRIBE, CALL}
"""The hub's own tools that a session lists."""
OWN_STATELESS = OWN | {SEARCH}
RESOURCE = {"uri": "mail:inbox", "name": "inbox"}


class Menu:
    """The gateway and the servers behind it."""

    def __init__(self, house: House, servers: dict[str, SmallServer]) -> None:
        self.house = house
        self.servers = servers

    async def prompt_based(self, default_exposure: str = "meta-only", **policy: Any) -> None:
        """Switch to prompt-based mode."""
        details = {"defaultExposure": default_exposure, **policy.pop("details", {})}
        await self.house.filtering(enabled=True, mode="prompt-based", promptBasedFiltering=details, **policy)

    @property
    def tools(self) -> list[Entry]:
        """Every tool."""
        return [each for each in self.house.gateway.current.exposure.catalog.entries if each.kind is EntryKind.TOOL]

    @property
    def stateless(self) -> RawClient:
        """A client without a session."""
        return RawClient(self.house.url)


@asynccontextmanager
async def menu(directory: Path, **options: Any) -> AsyncGenerator[Menu]:
    """A gateway in front of the menu's servers."""
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(
                small_server(*tools, resources=[RESOURCE] if name == "mail" else [], prompts=[{"name": "p"}])
            )
            for name, tools in MENU.items()
        }
        urls = {name: {"url": server.url} for name, server in servers.items()}
        yield Menu(await stack.enter_async_context(gateway(urls, directory, **options)), servers)


async def listed(client: RawClient, method: str = "tools/list", member: str = "tools") -> set[str]:
    """What a client lists."""
    names = [each.get("name") for each in (await client.request(method)).json()["result"][member]]
    assert len(set(names)) == len(names)
    return set(names)


async def told(client: RawClient, name: str, arguments: dict[str, Any], *, is_error: bool = False) -> str:
    """What one of the hub's own tools answers, as a model reads it."""
    answer = (await client.call(name, arguments)).json()
    assert "result" in answer, answer
    result = answer["result"]
    assert result["isError"] is is_error, result
    assert "structuredContent" not in result, "a model would be shown the same twice"
    (content,) = result["content"]
    return content["text"]


async def analyzed(client: RawClient, prompt: str, **more: Any) -> dict[str, Any]:
    """What `hub__analyze_prompt` answers."""
    return json.loads(await told(client, ANALYZE, {"prompt": prompt, **more}))


async def searched(client: RawClient, query: str, **more: Any) -> list[str]:
    """The names `hub__search_tools` answers with, best first."""
    _head, *found = (await told(client, SEARCH, {"query": query, **more})).splitlines()
    return [line.partition("(")[0] for line in found]


def names_of(analysis: dict[str, Any]) -> list[str]:
    """The tools an analysis returned, best first."""
    return [line.partition("(")[0] for line in analysis["tools"]]
