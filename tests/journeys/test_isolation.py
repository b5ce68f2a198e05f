"""Servers with state: `isolation: "session"` gives each client session a connection, and so a process, of its own."""

import os
import signal
from collections.abc import Generator
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client, MCPError

from tests.journeys.matrix import Cell, journey, proves, speaks
from tests.journeys.test_questions import Person
from tests.journeys.test_streams import Told, fresh_key
from tests.support import hub as hubs
from tests.support.clients import all_tools, raw_session, refusal, session, stateless, text_of
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, stdio_entry
from tests.support.waiting import until

UPSTREAMS = ("own_handshake", "own_stateless", "both_own_handshake")
GONE_S = 10.0

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]
of_each_era = pytest.mark.parametrize("upstream", UPSTREAMS)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """A hub in front of isolated servers."""
    entries = {
        name: {**stdio_entry(EVERYTHING, "--era", speaks(name), "--name", name), "isolation": "session"}
        for name in UPSTREAMS
    }
    with hubs.running({"mcpServers": entries}, tmp_path_factory.mktemp("isolation")) as running:
        hubs.wait_ready_sync(running, *UPSTREAMS)
        yield running


async def _process(client: Client, upstream: str) -> int:
    return int(text_of(await client.call_tool(f"{upstream}__process_id", {})))


async def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    await until(lambda: _runs(pid), lambda runs: not runs, GONE_S, f"process {pid} gone")


@journey("isolation", upstreams=UPSTREAMS)
async def test_each_session_has_a_process_of_its_own(cell: Cell) -> None:
    async with cell.client() as one, cell.client() as other:
        first, second = await _process(one, cell.upstream), await _process(other, cell.upstream)
        assert first != second
        assert [await _process(one, cell.upstream), await _process(other, cell.upstream)] == [first, second]
    await gone(first)
    await gone(second)


@proves("isolation")
@of_each_era
async def test_clients_without_a_session_share_one(hub: Hub, upstream: str) -> None:
    async with stateless(hub.url) as one, stateless(hub.url) as other, session(hub.url) as isolated:
        shared = await _process(one, upstream)
        assert await _process(other, upstream) == shared
        assert await _process(isolated, upstream) != shared


@proves("isolation")
@of_each_era
async def test_the_process_ends_with_its_session(hub: Hub, upstream: str) -> None:
    async with session(hub.url) as stays:
        kept = await _process(stays, upstream)
        async with raw_session(hub.url) as client:
            answer = await client.call(f"{upstream}__process_id")
            pid = int(answer.json()["result"]["content"][0]["text"])
            assert await _runs(pid)
        await gone(pid)
        assert await _process(stays, upstream) == kept


@proves("own-questions", "isolation")
@of_each_era
async def test_overlapping_calls_are_asked_each_its_own(hub: Hub, upstream: str) -> None:
    """What a shared stdio connection cannot do: nothing in a question says which of several calls it belongs to."""
    names, heard, open_ = ("Ada", "Bob", "Cyd"), dict[str, str](), dict[str, anyio.Event]()

    async def one(name: str) -> None:
        person = Person(name=name)
        open_[name] = anyio.Event()

        async def elicit(ctx: object, params: Any) -> Any:
            open_[name].set()
            for other in names:  # no answer before everybody was asked
                await open_.setdefault(other, anyio.Event()).wait()
            return await person.elicit(ctx, params)

        async with session(hub.url, elicitation_callback=elicit) as client:
            heard[name] = text_of(await client.call_tool(f"{upstream}__ask_watched", {"key": name}))

    for name in names:
        open_[name] = anyio.Event()
    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(one, name)
    assert heard == {name: f"Hello, {name}!" for name in names}


@proves("own-questions", "isolation")
@of_each_era
async def test_calls_of_one_session_that_overlap_are_asked_all(hub: Hub, upstream: str) -> None:
    """Whichever call a question belongs to, it is this session's."""
    heard, asked, both = set[str](), list[str](), anyio.Event()

    async def elicit(ctx: object, params: Any) -> Any:
        asked.append("")
        if len(asked) == 2:
            both.set()
        await both.wait()
        return await Person(name="Ada").elicit(ctx, params)

    async def one(key: str) -> None:
        heard.add(key + text_of(await client.call_tool(f"{upstream}__ask_watched", {"key": key})))

    async with session(hub.url, elicitation_callback=elicit) as client:
        with anyio.fail_after(GONE_S):
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(one, fresh_key())
    assert len(heard) == 2
    assert all(each.endswith("Hello, Ada!") for each in heard)


@proves("resource-updated", "isolation")
@of_each_era
async def test_an_update_of_its_own_process_is_told(hub: Hub, upstream: str) -> None:
    uri, told = f"test://only-{upstream}", Told()

    async def yes() -> bool:
        return True

    async with session(hub.url, message_handler=told.message) as client:
        await client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]
        await client.call_tool(f"{upstream}__touch_resource", {"uri": uri})
        await told.until("notifications/resources/updated", yes)


@proves("resource-updated", "isolation")
@of_each_era
async def test_what_was_subscribed_to_stays_so_when_its_process_is_another(hub: Hub, upstream: str) -> None:
    uri, told = f"test://only-{upstream}", list[str]()

    async def heard(message: object) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            told.append(str(message.params.uri))

    async with session(hub.url, message_handler=heard) as client:
        pid = await _process(client, upstream)
        await client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]
        os.kill(pid, signal.SIGKILL)
        await gone(pid)

        async def touched() -> list[str]:
            try:
                assert await _process(client, upstream) != pid
                await client.call_tool(f"{upstream}__touch_resource", {"uri": uri})
            except MCPError:
                return []  # the next process is not there yet
            return told

        await until(touched, lambda heard: uri in heard, GONE_S, "told of an update again")


@proves("isolation")
@of_each_era
async def test_the_processes_end_with_their_server(hub: Hub, upstream: str) -> None:
    async with session(hub.url) as client:

        async def listed(wanted: bool) -> None:
            name = f"{upstream}__process_id"
            await until(lambda: all_tools(client), lambda tools: (name in tools) is wanted, GONE_S, f"listed: {wanted}")

        pid = await _process(client, upstream)
        assert (await hub.api("POST", "/api/servers/stop", {"server_name": upstream}))[0] < 300
        try:
            await gone(pid)
            await listed(False)
            await refusal(client.call_tool(f"{upstream}__process_id", {}))
        finally:
            assert (await hub.api("POST", "/api/servers/start", {"server_name": upstream}))[0] < 300
        await listed(True)
        assert await _process(client, upstream) != pid


@proves("isolation")
@of_each_era
async def test_state_is_kept_apart(hub: Hub, upstream: str) -> None:
    gate = fresh_key()
    async with session(hub.url) as one, session(hub.url) as other:
        await one.call_tool(f"{upstream}__slow_release", {"key": gate})
        assert text_of(await one.call_tool(f"{upstream}__slow", {"key": gate})) == "released"
        state = await other.call_tool(f"{upstream}__gate_state", {"key": gate})
        assert text_of(state) == "new"
