"""What one without a session lists stays byte for byte: at the edge of mode `auto`'s budget, through calls of all sorts
on any replica, while a language model answers late, and over a restart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import anyio.to_thread
import pytest

from tests.journeys.matrix import proves
from tests.support import hub as hubs
from tests.support.clients import RawClient
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, stdio_entry
from tests.support.replicas import Replicas, replicas
from tests.support.waiting import until
from tests.unit.categorizer.gemini_stand_in import KEY
from tests.unit.categorizer.stand_ins import StandIn, stand_in

pytestmark = pytest.mark.anyio
SERVERS: Final = ("one", "two")
ENTRIES: Final = {name: stdio_entry(EVERYTHING, "--era", "handshake", "--name", name) for name in SERVERS}
VIEWS: Final = ("", "/v/exact", "/v/short", "/v/prompted")
LISTS: Final = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
KEYWORDS: Final = "quokka census"
CALLS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("echo", {"text": "x"}),
    ("add", {"a": 1, "b": 2}),
    ("add", {"a": 1, "b": 2}),
    ("echo", {}),
    ("nobody", {}),
)
STEPS: Final = 60
ANSWERED_S: Final = 30.0
PATIENT_S: Final = 120.0
"""How long the categorizer waits for the model: longer than the test lets it wait."""


class Late(NamedTuple):
    """Two replicas, and the model that says nothing of a tool before its `ready` is set."""

    pair: Replicas
    model: StandIn


def _answer(data: dict[str, Any]) -> Any:
    if "prompt" in data:
        asked = [data["prompt"] or "anything"]
        return {"categories": ["cloud"], "tools": [], "confidence": 0.9, "reasoning": "", "requests": asked}
    each = {"category": "cloud", "confidence": 0.95, "use_when": [KEYWORDS]}
    return {"items": [{"index": item["index"], **each} for item in data["items"]]}


def _tokens(directory: Any) -> int:
    """What the definitions of all tools cost, as the hub counts."""
    with hubs.running({"mcpServers": ENTRIES}, directory) as hub:
        hubs.wait_ready_sync(hub, *SERVERS)
        status, said = asyncio.run(hub.api("GET", "/api/filtering/stats"))
    assert status == 200
    return said["tokens"]["all"]


@pytest.fixture(scope="module")
async def late(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Late]:
    """`/mcp/v/exact` lists everything, since that costs just its budget; `/mcp/v/short` has one token less."""
    with ExitStack() as stack:
        model = stack.enter_context(stand_in("openai"))
        model.answer = _answer
        model.ready.clear()
        cost = await anyio.to_thread.run_sync(_tokens, tmp_path_factory.mktemp("cost"))
        policies: dict[str, Any] = {
            "exact": {"mode": "auto", "auto": {"tokenBudget": cost}},
            "short": {"mode": "auto", "auto": {"tokenBudget": cost - 1, "pinned": ["two__echo"]}},
            "prompted": {"mode": "prompt-based", "promptBasedFiltering": {"sessionIsolation": False}},
        }
        document = {
            "views": {name: {"toolFiltering": policy} for name, policy in policies.items()},
            "toolFiltering": {
                "llmCategorization": {
                    "enabled": True,
                    "provider": "openai",
                    "apiKey": KEY,
                    "model": "m",
                    "baseURL": f"{model.url}/v1",
                    "circuitBreakerThreshold": 1_000,
                }
            },
        }
        directory = tmp_path_factory.mktemp("late")
        # Entered in a thread, since starting waits with a loop of its own.
        started = replicas(ENTRIES, directory, {"HUB_CATEGORIZER_LLM_TIMEOUT_S": str(PATIENT_S)}, **document)
        pair = await anyio.to_thread.run_sync(started.__enter__)
        stack.push(started.__exit__)
        stack.callback(model.ready.set)  # first of all: no question is open when the replicas end
        yield Late(pair, model)


async def lists(pair: Replicas) -> dict[tuple[str, str], bytes]:
    """Every list of every view, as it came; both replicas have to say the same."""
    found: dict[tuple[str, str], bytes] = {}
    for view in VIEWS:
        for method in LISTS:
            one, other = [
                (await RawClient(f"{hub.url}{view}").request(method)).message_raw.partition(b'"result":')[2]
                for hub in (pair.one, pair.other)
            ]
            assert one == other, (view, method)
            found[view, method] = one
    return found


async def stir(pair: Replicas, dice: random.Random) -> bool:
    """One request of a client that comes for the first time; whether it is answered with what it asked for."""
    hub = dice.choice((pair.one, pair.other))
    client = RawClient(f"{hub.url}{dice.choice(VIEWS)}")
    local, arguments = dice.choice(CALLS)
    name = f"{dice.choice(SERVERS)}__{local}"
    prompt = dice.choice(("Echo a text back to me", "Sum two numbers", KEYWORDS, ""))
    step = dice.randrange(6)
    if step == 0:
        answer = await client.call(name, arguments)
    elif step == 1:
        answer = await client.call("hub__call_tool", {"name": name, "arguments": arguments})
    elif step == 2:
        answer = await client.call("hub__analyze_prompt", {"prompt": prompt, "replace": dice.random() < 0.3})
    elif step == 3:
        answer = await client.call("hub__search_tools", {"query": prompt})
    elif step == 4:
        answer = await client.call("hub__describe_tool", {"names": [name]})
    else:
        answer = await client.request("prompts/get", {"name": name, "arguments": {}})
    result = answer.json().get("result")
    return result is not None and not result.get("isError")


async def judged(hub: Hub) -> dict[str, int]:
    """Tools by where their category comes from, as this replica knows."""
    return (await hub.api("GET", "/api/filtering/stats"))[1]["categorySources"]


@proves("list-order")
async def test_nothing_moves_the_lists_of_one_without_a_session(late: Late) -> None:
    pair, dice = late.pair, random.Random(7)
    before = await lists(pair)
    exact, short = (before[view, "tools/list"] for view in ("/v/exact", "/v/short"))
    assert exact == before["", "tools/list"], "it costs no more than its budget"
    assert (b"one__add" in exact, b"hub__search_tools" in exact) == (True, False)
    assert (b"one__add" in short, b"two__echo" in short, b"hub__search_tools" in short) == (False, True, True)
    done = [await stir(pair, dice) for _ in range(STEPS)]
    assert sum(done) > STEPS // 3, "the others are refused, by some view, for some name, or for what they lack"
    assert await anyio.to_thread.run_sync(late.model.asked.wait, ANSWERED_S), "the model has its question"
    assert not any([(await judged(hub)).get("llm") for hub in (pair.one, pair.other)])
    assert await lists(pair) == before

    late.model.ready.set()
    for hub in (pair.one, pair.other):
        await until(lambda hub=hub: judged(hub), lambda found: "llm" in found, ANSWERED_S, "what the model said")
    assert await lists(pair) == before, "a category that came late is in no list"
    for _ in range(STEPS):
        await stir(pair, dice)
    assert await lists(pair) == before

    pair.other.kill()
    pair.other.start_again()
    await pair.other.until_ready(*SERVERS)
    assert await lists(pair) == before
