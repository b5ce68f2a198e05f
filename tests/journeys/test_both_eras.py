"""Servers that speak both eras, as newcomers write them: what a client can do with one directly it can do through the
hub, and where there are no sessions to be had nothing else is lost."""

import os
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from typing import Any, Final

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError, StdioServerParameters

from tests.journeys.matrix import proves
from tests.journeys.test_questions import Person
from tests.journeys.test_streams import Told, fresh_key
from tests.support import hub as hubs
from tests.support.clients import READ_TIMEOUT_S, all_tools, session, stateless, text_of
from tests.support.hub import Hub
from tests.support.processes import BOTH, EVERYTHING, RAW, ROOT, command, serving, stdio_entry
from tests.support.raw_tasks import EXTENSION
from tests.support.speakers import over_http
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]
Entries = dict[str, dict[str, Any]]
TRANSPORTS: Final = ("http", "stdio")
TOOLS: Final = ("era", "form_in_session", "model_in_session", "roots_in_session", "by_result", "by_parameter")
SESSION, STATELESS = "2025-11-25", "2026-07-28"
BACK_S = 20.0

of_each_transport = pytest.mark.parametrize("transport", TRANSPORTS)
of_each_client = pytest.mark.parametrize("client_of", (session, stateless))


@pytest.fixture(scope="module")
def entries() -> Generator[Entries]:
    """Config entries of servers of both eras, and of one that keeps no sessions."""
    with ExitStack() as stack:
        url = stack.enter_context(serving(BOTH))
        yield {
            "http": {"url": url},
            "stdio": stdio_entry(BOTH),
            "one_by_one": {"url": stack.enter_context(serving(BOTH, "--one-by-one"))},
            "old_http": {"url": url, "era": "handshake"},
            "new_http": {"url": url, "era": "stateless"},
            "old_stdio": {**stdio_entry(BOTH), "era": "handshake"},
            "new_stdio": {**stdio_entry(BOTH), "era": "stateless"},
            "raw_http": {"url": stack.enter_context(serving(RAW, "--extras"))},
            "own_http": {"url": url, "isolation": "session"},
            "own_stdio": {**stdio_entry(BOTH), "isolation": "session"},
            "changing_http": {"url": stack.enter_context(serving(EVERYTHING, "--name", "changing_http"))},
            "changing_stdio": stdio_entry(EVERYTHING, "--name", "changing_stdio"),
        }


@pytest.fixture(scope="module")
def hub(entries: Entries, tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """A hub in front of all these."""
    with hubs.running({"mcpServers": entries}, tmp_path_factory.mktemp("both")) as running:
        hubs.wait_ready_sync(running, *entries)
        yield running


def directly(entry: Mapping[str, Any], client_of: Callable[..., Client], person: Person) -> Client:
    """A client of a server without a hub between them."""
    if "url" in entry:
        return client_of(entry["url"], **person.callbacks)
    line = command(BOTH, "--transport", "stdio")
    child = StdioServerParameters(command=line[0], args=line[1:], cwd=ROOT)
    mode = "legacy" if client_of is session else "auto"
    return Client(child, mode=mode, cache=None, read_timeout_seconds=READ_TIMEOUT_S, **person.callbacks)


async def outcomes(client: Client, prefix: str = "") -> dict[str, object]:
    """What each tool answers, or the code of its error."""
    found = dict[str, object]()
    for tool in TOOLS:
        try:
            result = await client.call_tool(prefix + tool, {})
        except MCPError as fault:
            found[tool] = fault.error.code
        else:
            found[tool] = (text_of(result), result.is_error)
    return found


@proves("both-eras")
@of_each_client
@of_each_transport
async def test_a_client_can_do_what_it_can_do_directly(
    hub: Hub, entries: Entries, transport: str, client_of: Callable[..., Client]
) -> None:
    person, asked = Person(name="Ada"), Person(name="Ada")
    async with directly(entries[transport], client_of, person) as client:
        expected = await outcomes(client)
    async with client_of(hub.url, **asked.callbacks) as client:
        assert await outcomes(client, f"{transport}__") == expected
    assert (len(asked.forms), len(asked.prompts)) == (len(person.forms), len(person.prompts))
    assert expected["era"] == (SESSION if client_of is session else STATELESS, False)
    assert expected["by_parameter"] == ("accept: Ada", False)
    if client_of is session:
        assert expected["form_in_session"] == ("accept: Ada", False)
    else:
        assert expected["by_result"] == ("accept: Ada", False)


@proves("both-eras")
@of_each_transport
async def test_its_status_says_in_which_revisions_it_is_spoken_to(hub: Hub, transport: str) -> None:
    async with session(hub.url) as client:
        await client.call_tool(f"{transport}__era", {})
    server = (await hub.servers())[transport]
    assert (server["protocolVersion"], server["sessionProtocolVersion"]) == (STATELESS, SESSION)


@proves("both-eras", "capabilities")
async def test_what_it_can_do_in_one_era_alone_is_declared_to_clients_of_that_one(hub: Hub) -> None:
    name = "raw_http"
    async with over_http(hub.url, stateless=False, capabilities={}) as client:
        assert "result" in (await client.call(f"{name}__raw_task")).json()
    assert (await hub.servers())[name]["sessionProtocolVersion"] == SESSION
    async with (
        over_http(hub.url, stateless=False, capabilities={}) as client,
        over_http(hub.url, stateless=True, capabilities={}) as other,
    ):
        in_session = client.greeting["capabilities"]
        without = (await other.request("server/discover")).json()["result"]["capabilities"]
    assert in_session["tasks"]["requests"] == {"tools": {"call": {}}}
    assert EXTENSION not in in_session.get("extensions", {})
    assert EXTENSION in without["extensions"]
    assert "tasks" not in without


@proves("both-eras")
async def test_one_that_keeps_no_session_is_spoken_to_statelessly(hub: Hub) -> None:
    """Such a server cannot ask in the words of sessions, but it can with its results."""
    async with session(hub.url, **Person(name="Ada").callbacks) as client:
        assert text_of(await client.call_tool("one_by_one__era", {})) == STATELESS
        assert text_of(await client.call_tool("one_by_one__by_result", {})) == "accept: Ada"
        assert text_of(await client.call_tool("one_by_one__by_parameter", {})) == "accept: Ada"


@proves("both-eras")
@of_each_transport
async def test_with_isolation_each_session_has_one_at_the_server(hub: Hub, transport: str) -> None:
    async with session(hub.url, **Person(name="Ada").callbacks) as one, stateless(hub.url) as other:
        assert text_of(await one.call_tool(f"own_{transport}__era", {})) == SESSION
        assert text_of(await one.call_tool(f"own_{transport}__form_in_session", {})) == "accept: Ada"
        assert text_of(await other.call_tool(f"own_{transport}__era", {})) == STATELESS


@proves("era-setting")
@of_each_client
@of_each_transport
@pytest.mark.parametrize(("word", "revision"), (("old", SESSION), ("new", STATELESS)))
async def test_the_config_may_want_one_era_for_all(
    hub: Hub, transport: str, client_of: Callable[..., Client], word: str, revision: str
) -> None:
    name = f"{word}_{transport}"
    async with client_of(hub.url, **Person(name="Ada").callbacks) as client:
        assert text_of(await client.call_tool(f"{name}__era", {})) == revision
        asking = "form_in_session" if word == "old" else "by_result"
        assert text_of(await client.call_tool(f"{name}__{asking}", {})) == "accept: Ada"
    server = (await hub.servers())[name]
    assert (server["protocolVersion"], server["sessionProtocolVersion"]) == (revision, revision)


@proves("both-eras-lists")
@of_each_transport
async def test_what_a_session_has_added_is_listed_once_and_called(hub: Hub, transport: str) -> None:
    """Over stdio the process of the sessions alone knows such a tool."""
    upstream, told = f"changing_{transport}", Told()
    local = f"added_{fresh_key()}"
    name = f"{upstream}__{local}"
    async with session(hub.url, message_handler=told.message) as client:

        async def listed() -> bool:
            return name in await all_tools(client)

        await client.call_tool(f"{upstream}__change_tools", {"action": "add", "name": local})
        await told.until("notifications/tools/list_changed", listed)
        assert text_of(await client.call_tool(name, {})) == "dynamic"
        async with stateless(hub.url) as other:
            assert name in await all_tools(other)
        await client.call_tool(f"{upstream}__change_tools", {"action": "remove", "name": local})

        async def gone() -> bool:
            return not await listed()

        await told.until("notifications/tools/list_changed", gone)


@proves("both-eras-away")
async def test_a_process_of_the_sessions_that_dies_comes_back(hub: Hub) -> None:
    name = "changing_stdio__process_id"
    async with session(hub.url, **Person(name="Ada").callbacks) as client, stateless(hub.url) as other:
        pid, stays = [int(text_of(await each.call_tool(name, {}))) for each in (client, other)]
        assert pid != stays
        os.kill(pid, signal.SIGKILL)

        async def now() -> int:
            try:
                return int(text_of(await client.call_tool(name, {})))
            except MCPError:  # the call that found it dead
                return pid

        await until(now, lambda each: each not in (pid, stays), BACK_S, "another process for sessions")
        assert int(text_of(await other.call_tool(name, {}))) == stays
        assert text_of(await client.call_tool("changing_stdio__test_elicitation", {"message": "?"})).startswith("User")
        assert await hub.status_of("changing_stdio") == "ready"


@proves("both-eras-away", "resource-updated")
async def test_what_was_subscribed_to_stays_so_when_that_process_is_another(hub: Hub) -> None:
    uri, told = "test://only-changing_stdio", list[str]()

    async def heard(message: object) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            told.append(str(message.params.uri))

    async with session(hub.url, message_handler=heard) as client:
        await client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]
        pid = int(text_of(await client.call_tool("changing_stdio__process_id", {})))
        os.kill(pid, signal.SIGKILL)

        async def touched() -> list[str]:
            try:
                await client.call_tool("changing_stdio__touch_resource", {"uri": uri})
            except MCPError:
                return []  # the call that found it dead
            return told

        await until(touched, lambda heard: uri in heard, BACK_S, "told of an update again")


@proves("both-eras-away")
async def test_both_processes_end_with_their_server(hub: Hub) -> None:
    upstream, name = "changing_stdio", "changing_stdio__process_id"
    async with session(hub.url) as one, stateless(hub.url) as other:
        pids = [int(text_of(await client.call_tool(name, {}))) for client in (one, other)]
        await hub.api("POST", "/api/servers/stop", {"server_name": upstream})
        try:
            for pid in pids:
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)
        finally:
            await hub.api("POST", "/api/servers/start", {"server_name": upstream})
        await hub.until_ready(upstream)

        async def listed() -> bool:
            return name in await all_tools(one)

        await until(listed, bool, BACK_S, "listed again")
        again = [int(text_of(await client.call_tool(name, {}))) for client in (one, other)]
        assert len({*pids, *again}) == 4


@proves("both-eras-away")
async def test_where_no_session_can_be_opened_all_are_served_statelessly(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The second process finds the lock of the first one taken, and ends."""
    directory = tmp_path_factory.mktemp("alone")
    entry = stdio_entry(BOTH, "--lock", str(directory / "lock"))
    with hubs.running({"mcpServers": {"alone": entry}}, directory) as running:
        await running.until_ready("alone")
        async with session(running.url, **Person(name="Ada").callbacks) as client:
            with anyio.fail_after(READ_TIMEOUT_S):
                assert text_of(await client.call_tool("alone__era", {})) == STATELESS
            assert text_of(await client.call_tool("alone__by_result", {})) == "accept: Ada"
        assert (await running.servers())["alone"]["sessionProtocolVersion"] == STATELESS
