"""What the filter hides stays hidden, whatever name it is asked for by."""

from collections.abc import Callable, Generator
from typing import Final

import mcp_types as types
import pytest
from mcp import Client

from tests.journeys.matrix import proves
from tests.support import hub as hubs
from tests.support.clients import all_tools, refusal, session, stateless, text_of
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, stdio_entry

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("connect", (session, stateless))]
DENIED: Final = {"enabled": True, "mode": "server-allowlist", "serverFilter": {"mode": "denylist", "servers": ["shut"]}}
NOT_THERE: Final = (-32602, -32002)
Connect = Callable[[str], Client]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """A hub in front of two servers, one of which the filter denies."""
    entries = {name: stdio_entry(EVERYTHING, "--name", name) for name in ("open", "shut")}
    document = {"mcpServers": entries, "toolFiltering": DENIED}
    with hubs.running(document, tmp_path_factory.mktemp("filtering")) as running:
        hubs.wait_ready_sync(running, *entries)
        yield running


@proves("hidden-entries")
async def test_hidden_entries_are_not_listed(hub: Hub, connect: Connect) -> None:
    async with connect(hub.url) as client:
        names = [
            *await all_tools(client),
            *(prompt.name for prompt in (await client.list_prompts()).prompts),
            *(resource.uri for resource in (await client.list_resources()).resources),
            *(template.uri_template for template in (await client.list_resource_templates()).resource_templates),
        ]
    assert [name for name in names if "shut" in name] == []
    assert {"open__echo", "open__test_simple_prompt", "test://only-open"} <= set(names)


@proves("hidden-entries")
async def test_hidden_entries_are_not_reached(hub: Hub, connect: Connect) -> None:
    async with connect(hub.url) as client:
        tool = await refusal(client.call_tool("shut__echo", {"text": "x"}))
        prompt = await refusal(client.get_prompt("shut__test_simple_prompt"))
        reference = types.PromptReference(name="shut__test_prompt_with_arguments")
        completion = await refusal(client.complete(reference, {"name": "arg1", "value": "p"}))
        assert text_of(await client.call_tool("open__whoami", {})) == "open"
    assert {tool.code, prompt.code, completion.code} == {-32602}


@proves("hidden-entries")
@pytest.mark.parametrize(
    "uri",
    (
        "test://only-shut",
        "shut__test://only-shut",
        "shut__test://whoami",
        "shut__test://template/1/data",
    ),
)
async def test_hidden_resources_are_not_read(hub: Hub, connect: Connect, uri: str) -> None:
    async with connect(hub.url) as client:
        error = await refusal(client.read_resource(uri))
    assert error.code in NOT_THERE


@proves("hidden-entries")
async def test_a_uri_of_two_servers_is_read_from_the_one_that_is_shown(hub: Hub, connect: Connect) -> None:
    async with connect(hub.url) as client:
        (contents,) = (await client.read_resource("test://whoami")).contents
    assert isinstance(contents, types.TextResourceContents)
    assert contents.text == "open"
