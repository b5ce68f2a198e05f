"""Log levels toward servers with sessions: one connection has one level, and all who share it are served."""

from collections.abc import Generator
from contextlib import ExitStack
from typing import Final

import pytest

from tests.journeys.matrix import proves
from tests.support import hub as hubs
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, serving, stdio_entry
from tests.support.raw_http import Answer
from tests.support.waiting import until

UPSTREAMS: Final = ("http", "stdio")
LEVEL: Final = "io.modelcontextprotocol/logLevel"
TOLD_S: Final = 20.0

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """A hub of its own: what other clients want would be seen here."""
    with ExitStack() as stack:
        entries: dict[str, object] = {
            "http": {"url": stack.enter_context(serving(EVERYTHING, "--era", "handshake"))},
            "stdio": stdio_entry(EVERYTHING, "--era", "handshake"),
            "own": {**stdio_entry(EVERYTHING, "--era", "handshake"), "isolation": "session"},
        }
        running = stack.enter_context(hubs.running({"mcpServers": entries}, tmp_path_factory.mktemp("levels")))
        hubs.wait_ready_sync(running, *entries)
        yield running


def _text(answer: Answer) -> str:
    return answer.json()["result"]["content"][0]["text"]


async def _threshold(client: RawClient, upstream: str) -> str:
    return _text(await client.call(f"{upstream}__log_threshold"))


async def _hears(client: RawClient, upstream: str, level: str) -> bool:
    return b"a word" in (await client.call(f"{upstream}__log", {"text": "a word", "level": level})).body


@proves("log-levels")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_the_server_is_told_the_most_verbose_level_and_each_hears_its_own(hub: Hub, upstream: str) -> None:
    async with raw_session(hub.url) as one:
        await one.request("logging/setLevel", {"level": "error"})
        assert await _threshold(one, upstream) == "error"
        async with raw_session(hub.url) as other:
            await other.request("logging/setLevel", {"level": "debug"})
            assert await _threshold(one, upstream) == "debug"
            assert [await _hears(client, upstream, "debug") for client in (one, other)] == [False, True]
        await until(lambda: _threshold(one, upstream), lambda level: level == "error", TOLD_S, "told after the end")


@proves("log-levels")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_a_stateless_call_hears_the_level_that_it_asks_for(hub: Hub, upstream: str) -> None:
    async with raw_session(hub.url) as session:
        await session.request("logging/setLevel", {"level": "alert"})
        assert await _threshold(session, upstream) == "alert"
        client = RawClient(hub.url)
        for level, heard in (("debug", True), ("info", True), ("warning", False)):
            arguments = {"text": "a word", "level": "info"}
            params = {"name": f"{upstream}__log", "arguments": arguments, "_meta": {LEVEL: level}}
            assert (b"a word" in (await client.request("tools/call", params)).body) is heard, level
        await until(lambda: _threshold(session, upstream), lambda level: level == "alert", TOLD_S, "lowered again")


@proves("log-levels")
async def test_a_connection_of_its_own_has_the_session_s_level(hub: Hub) -> None:
    async with raw_session(hub.url) as one, raw_session(hub.url) as other:
        assert await _threshold(one, "own") == "none"
        for client, level in ((one, "error"), (other, "debug")):
            await client.request("logging/setLevel", {"level": level})
        assert [await _threshold(client, "own") for client in (one, other)] == ["error", "debug"]
