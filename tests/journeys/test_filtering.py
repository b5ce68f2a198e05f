"""What the filter hides stays hidden, whatever name it is asked for by."""

from collections.abc import Generator
from functools import partial
from typing import Final

import mcp_types as types
import pytest

from tests.journeys import matrix
from tests.journeys.matrix import Cell
from tests.support import hub as hubs
from tests.support.clients import all_tools, refusal, text_of
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, stdio_entry

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]
SHUT: Final = ("shut_handshake", "shut_stateless", "both_shut_handshake", "both_shut_stateless")
DENIED: Final = {"enabled": True, "mode": "server-allowlist", "serverFilter": {"mode": "denylist", "servers": SHUT}}
NOT_THERE: Final = (-32602, -32002)

journey = partial(matrix.journey, upstreams=SHUT)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """A hub in front of servers of which the filter denies all but one."""
    entries = {name: stdio_entry(EVERYTHING, "--name", name, "--era", matrix.speaks(name)) for name in SHUT}
    entries["open"] = stdio_entry(EVERYTHING, "--name", "open")
    document = {"mcpServers": entries, "toolFiltering": DENIED}
    with hubs.running(document, tmp_path_factory.mktemp("filtering")) as running:
        hubs.wait_ready_sync(running, *entries)
        yield running


@journey("hidden-entries")
async def test_hidden_entries_are_not_listed(cell: Cell) -> None:
    async with cell.client() as client:
        names = [
            *await all_tools(client),
            *(prompt.name for prompt in (await client.list_prompts()).prompts),
            *(resource.uri for resource in (await client.list_resources()).resources),
            *(template.uri_template for template in (await client.list_resource_templates()).resource_templates),
        ]
    assert [name for name in names if "shut" in name] == []
    assert {"open__echo", "open__test_simple_prompt", "test://only-open"} <= set(names)


@journey("hidden-entries")
async def test_hidden_entries_are_not_reached(cell: Cell) -> None:
    async with cell.client() as client:
        tool = await refusal(client.call_tool(cell.name("echo"), {"text": "x"}))
        prompt = await refusal(client.get_prompt(cell.name("test_simple_prompt")))
        reference = types.PromptReference(name=cell.name("test_prompt_with_arguments"))
        completion = await refusal(client.complete(reference, {"name": "arg1", "value": "p"}))
        assert text_of(await client.call_tool("open__whoami", {})) == "open"
    assert {tool.code, prompt.code, completion.code} == {-32602}


@journey("hidden-entries")
async def test_hidden_resources_are_not_read(cell: Cell) -> None:
    own = f"test://only-{cell.upstream}"
    async with cell.client() as client:
        for uri in (own, *map(cell.name, (own, "test://whoami", "test://template/1/data"))):
            error = await refusal(client.read_resource(uri))
            assert error.code in NOT_THERE, uri


@journey("hidden-entries")
async def test_a_uri_of_two_servers_is_read_from_the_one_that_is_shown(cell: Cell) -> None:
    async with cell.client() as client:
        (contents,) = (await client.read_resource("test://whoami")).contents
    assert isinstance(contents, types.TextResourceContents)
    assert contents.text == "open"
