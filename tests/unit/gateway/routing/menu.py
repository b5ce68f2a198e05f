"""A gateway with a menu worth choosing from, and what clients of both eras see of it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

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
ANALYZE, CALL = "hub__analyze_prompt", "hub__call_tool"
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


async def analyzed(client: RawClient, prompt: str, **more: str) -> dict[str, Any]:
    """What `hub__analyze_prompt` answers, as a model reads it."""
    answer = (await client.call(ANALYZE, {"prompt": prompt, **more})).json()
    assert "result" in answer, answer
    result = answer["result"]
    (content,) = result["content"]
    assert json.loads(content["text"]) == result["structuredContent"]
    assert result["isError"] is False
    return result["structuredContent"]


def names_of(analysis: dict[str, Any]) -> list[str]:
    """The tools an analysis returned, best first."""
    return [each["name"] for each in analysis["tools"]]
