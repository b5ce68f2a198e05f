"""Servers that fail: killed, hanging, talking garbage. The others must not notice."""

import os
import shlex
import signal
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import anyio
import pytest
from mcp import Client

from tests.journeys.matrix import proves
from tests.journeys.test_streams import Told
from tests.support import hub as hubs
from tests.support.clients import RawClient, all_tools, refusal, session, stateless, text_of
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, RAW, ROOT, command, serving, stdio_entry
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
VICTIMS: Final = ("victim_handshake", "victim_stateless")
BYSTANDERS: Final = ("bystander_http", "bystander_stdio")
HANGING: Final = ("hanging_stdio", "hanging_http")
GARBAGE: Final = ("garbage_stdio", "garbage_http")
NOTICED_S: Final = 5.0
"""How soon a crash has to be seen."""
BACK_S: Final = 30.0


def _gated(gate: Path, *arguments: str) -> dict[str, object]:
    """A stdio server that does not come up while the file `gate` exists."""
    line = shlex.join(command(EVERYTHING, "--transport", "stdio", *arguments))
    script = f"while [ -e {shlex.quote(str(gate))} ]; do sleep 0.1; done; exec {line}"
    return {"command": "/bin/sh", "args": ["-c", script], "cwd": str(ROOT)}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the hub and the gates of its servers keep their files."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def hub(directory: Path) -> Generator[Hub]:
    """A hub of its own, half of whose servers are broken; given when the good half is ready."""
    with ExitStack() as stack:
        limits = {"timeoutSeconds": 2, "connectTimeoutSeconds": 6, "pingIntervalSeconds": 1}
        entries: dict[str, object] = {
            name: _gated(directory / f"{name}.gate", "--era", name.split("_")[1], "--name", name) for name in VICTIMS
        }
        entries["bystander_http"] = {"url": stack.enter_context(serving(EVERYTHING, "--name", "bystander_http"))}
        entries["bystander_stdio"] = stdio_entry(EVERYTHING, "--name", "bystander_stdio")
        for fault in ("hanging", "garbage"):
            option = ("--fault", fault.replace("hanging", "hang"))
            entries[f"{fault}_stdio"] = {**stdio_entry(RAW, *option), **limits}
            entries[f"{fault}_http"] = {"url": stack.enter_context(serving(RAW, *option)), **limits}
        entries["missing"] = {"command": "no-such-program-anywhere"}
        entries["noisy"] = {**stdio_entry(RAW, "--fault", "noise"), **limits}
        entries["odd_http"] = {"url": stack.enter_context(serving(RAW)), **limits}
        entries["odd_stdio"] = {**stdio_entry(RAW), **limits}
        entries["mortal_http"] = {"url": stack.enter_context(serving(RAW)), **limits}
        running = stack.enter_context(hubs.running({"mcpServers": entries}, directory))
        hubs.wait_ready_sync(running, *VICTIMS, *BYSTANDERS, "noisy", "odd_http", "odd_stdio", "mortal_http")
        yield running


async def _others_answer(client: Client) -> None:
    for name in BYSTANDERS:
        assert text_of(await client.call_tool(f"{name}__whoami", {})) == name


@proves("killed-server")
@pytest.mark.parametrize("victim", VICTIMS)
async def test_a_killed_server_is_noticed_and_comes_back(hub: Hub, directory: Path, victim: str) -> None:
    gate, told = directory / f"{victim}.gate", Told()
    failures: list[str] = []

    async def caught_in_flight(client: Client) -> None:
        error = await refusal(client.call_tool(f"{victim}__slow", {"key": "in-flight"}))
        failures.append(error.message)

    async with session(hub.url, message_handler=told.message) as client:

        async def listed(present: bool) -> bool:
            return (f"{victim}__echo" in await all_tools(client)) is present

        pid = int(text_of(await client.call_tool(f"{victim}__process_id", {})))
        async with anyio.create_task_group() as group:
            group.start_soon(caught_in_flight, client)
            arguments = {"key": "in-flight", "state": "waiting"}
            assert text_of(await client.call_tool(f"{victim}__slow_state", arguments)) == "waiting"
            gate.touch()
            os.kill(pid, signal.SIGKILL)
            with anyio.fail_after(NOTICED_S):
                await told.until("notifications/tools/list_changed", lambda: listed(False))
        assert len(failures) == 1
        assert await hub.status_of(victim) != "ready"
        await _others_answer(client)
        gate.unlink()
        with anyio.fail_after(BACK_S):
            await told.until("notifications/tools/list_changed", lambda: listed(True))
        assert await hub.status_of(victim) == "ready"
        assert text_of(await client.call_tool(f"{victim}__whoami", {})) == victim


@proves("killed-server")
async def test_a_remote_server_that_ends_is_noticed(hub: Hub) -> None:
    client = RawClient(hub.url)
    answer = await client.call("mortal_http__raw_crash")
    assert "error" in answer.json()
    await until(lambda: hub.status_of("mortal_http"), lambda status: status != "ready", NOTICED_S, "mortal_http lost")
    async with stateless(hub.url) as other:
        await _others_answer(other)


@proves("hanging-server")
@pytest.mark.parametrize("name", HANGING)
async def test_a_hanging_server_delays_nobody(hub: Hub, name: str) -> None:
    server = (await hub.servers())[name]
    assert server["status"] in ("connecting", "degraded")
    for client in (session(hub.url), stateless(hub.url)):
        async with client:
            await _others_answer(client)
            assert not [tool for tool in await all_tools(client) if tool.startswith(name)]
    answer = await RawClient(hub.url).call(f"{name}__raw_exotic")
    assert "error" in answer.json()


@proves("garbage-server")
@pytest.mark.parametrize("name", (*GARBAGE, "missing"))
async def test_a_garbage_server_says_why_it_is_not_ready(hub: Hub, name: str) -> None:
    server = await until(
        lambda: _server(hub, name), lambda seen: bool(seen.get("error")), BACK_S, f"{name} has a reason in its status"
    )
    assert server["status"] != "ready"
    async with session(hub.url) as client:
        await _others_answer(client)


async def _server(hub: Hub, name: str) -> dict[str, object]:
    return (await hub.servers())[name]


@proves("noise")
async def test_noise_is_skipped(hub: Hub) -> None:
    assert await hub.status_of("noisy") == "ready"
    for client in (session(hub.url), stateless(hub.url)):
        async with client:
            assert not (await client.call_tool("noisy__raw_exotic", {})).is_error
            assert not (await client.call_tool("odd_stdio__raw_noise", {})).is_error


@proves("bad-answers")
@pytest.mark.parametrize("name", ("odd_http", "odd_stdio"))
@pytest.mark.parametrize("tool", ("raw_garbage", "raw_cut", "raw_hang"))
async def test_a_bad_answer_is_an_error_of_its_call_only(hub: Hub, name: str, tool: str) -> None:
    client = RawClient(hub.url)
    bad = await client.call(f"{name}__{tool}")
    assert bad.json()["error"]["message"]
    for other in (f"{name}__raw_exotic", f"{name}__raw_wrong_id", "bystander_http__whoami"):
        answer = (await client.call(other)).json()
        assert "result" in answer, (other, answer)
