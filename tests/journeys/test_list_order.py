"""The order of lists, over pages, replicas and restarts: what a session opens is added at the end, and nothing that a
client does moves the list of one without a session."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, Final

import pytest

from tests.journeys.matrix import proves
from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.processes import EVERYTHING, stdio_entry
from tests.support.replicas import Replicas, replicas
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
PAGE: Final = 3
SERVERS: Final = ("one", "two")
CALLED: Final = "two__echo"
ASKED: Final = ("Show an image", "Echo a text back to me", "Sum two numbers", "Log a message with progress")
SHOWN: Final = ["two__add", "two__echo"]
VIEWS: Final = {
    "auto": {"toolFiltering": {"mode": "auto", "auto": {"tokenBudget": 60, "pinned": SHOWN[::-1]}}},
    "used": {"toolFiltering": {"mode": "auto", "auto": {"tokenBudget": 400}}},
}
SEEN_S: Final = 15.0
"""Much less than it takes until replicas look by themselves."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Replicas]:
    """Two replicas that put three tools on a page; `/mcp/v/auto` lists what is pinned, beside a search."""
    entries = {name: stdio_entry(EVERYTHING, "--era", "handshake", "--name", name) for name in SERVERS}
    document: dict[str, Any] = {"toolFiltering": {"enabled": True, "mode": "prompt-based"}, "views": VIEWS}
    directory, environ = tmp_path_factory.mktemp("order"), {"HUB_GATEWAY_PAGE_SIZE": str(PAGE)}
    with replicas(entries, directory, environ, **document) as started:
        yield started


async def pages(client: RawClient) -> list[str]:
    """The definitions of all pages, in their order, as they came."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        answer = await client.request("tools/list", {"cursor": cursor} if cursor else {})
        result = answer.json()["result"]
        assert len(result["tools"]) <= PAGE
        found += [json.dumps(each) for each in result["tools"]]
        if (cursor := result.get("nextCursor")) is None:
            return found


def names(definitions: list[str]) -> list[str]:
    """What they are called."""
    return [json.loads(each)["name"] for each in definitions]


@proves("list-order")
async def test_what_a_session_opens_is_added_at_the_end(pair: Replicas) -> None:
    async with raw_session(pair.one.url) as client:
        before = await pages(client)
        for prompt in ASKED:
            old_cursor = (await client.request("tools/list")).json()["result"].get("nextCursor")
            answer = await client.call("hub__analyze_prompt", {"prompt": prompt})
            after = await pages(client)
            assert after[: len(before)] == before
            added = names(after[len(before) :])
            assert added == sorted(added)
            assert added or prompt != ASKED[0], answer.body
            if old_cursor:
                stale = await client.request("tools/list", {"cursor": old_cursor})
                assert stale.json()["error"]["code"] == -32602, "a page of another list would leave something out"
            before = after
        elsewhere = RawClient(pair.other.url, client.session_id)
        assert await pages(elsewhere) == before
        pair.one.kill()
        pair.one.start_again()
        await pair.one.until_ready(*SERVERS)
        assert await pages(client) == before
        await client.call("hub__analyze_prompt", {"prompt": ASKED[1], "replace": True})
        replaced = await pages(client)
        assert replaced[:3] == before[:3], "the hub's own"
        assert set(replaced) < set(before)


@proves("list-order")
@pytest.mark.parametrize("view", ["", "/v/auto"])
async def test_the_list_of_a_stateless_client_never_moves(pair: Replicas, view: str) -> None:
    clients = [RawClient(f"{hub.url}{view}") for hub in (pair.one, pair.other)]
    before = await pages(clients[0])
    own = [name for name in names(before) if name.startswith("hub__")]
    assert names(before) == own + (SHOWN if view else [])
    for client in clients:
        for prompt in ASKED:
            await client.call("hub__analyze_prompt", {"prompt": prompt})
            await client.call("hub__call_tool", {"name": CALLED, "arguments": {"text": "x"}})
        assert await pages(client) == before
    pair.other.kill()
    pair.other.start_again()
    await pair.other.until_ready(*SERVERS)
    assert await pages(clients[1]) == before
    heads = [(await client.request("tools/list")).message_raw.partition(b'"result":')[2] for client in clients]
    assert heads[0] == heads[1], "byte for byte, cursor and all"


@proves("list-order")
async def test_what_a_person_has_chosen_anew_is_listed_by_every_replica(pair: Replicas) -> None:
    clients = [RawClient(f"{hub.url}/v/used") for hub in (pair.one, pair.other)]
    for client in clients:
        assert CALLED not in names(await pages(client))
    for _ in range(5):
        await clients[0].call("hub__call_tool", {"name": CALLED, "arguments": {"text": "x"}})
    assert CALLED not in names(await pages(clients[0])), "a call moves nothing"
    base = pair.one.url.removesuffix("/mcp")
    assert (await raw_http.send("POST", f"{base}/api/filtering/most-used")).status == 200

    async def listed() -> list[str]:
        return names(await pages(clients[1]))

    await until(listed, lambda found: CALLED in found, SEEN_S, "the choice of the other replica")
    assert names(await pages(clients[0])) == await listed()
