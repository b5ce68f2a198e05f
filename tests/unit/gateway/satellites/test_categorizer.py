"""The categorizer seen from the gateway, without an LLM and with one that stands in for Gemini."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from hub_categorizer.servicer import start
from hub_common.store_embedded import EmbeddedStore
from hub_gateway.catalog.entry import Offering
from hub_gateway.config.filter_model import CategoryFilter, ToolFiltering
from hub_gateway.errors import SatelliteError
from hub_gateway.satellites.categorizer import Categorizer
from hub_gateway.satellites.patience import FAILURES, PAUSE_S
from tests.support.waiting import until
from tests.unit.categorizer.conftest import llm_settings
from tests.unit.categorizer.gemini_stand_in import GeminiStandIn, all_as, gemini_stand_in, json_reply
from tests.unit.categorizer.test_process import COMMAND, environment
from tests.unit.gateway.catalog.offerings import catalog, raw
from tests.unit.gateway.satellites.conftest import Satellites

pytestmark = pytest.mark.anyio
CATALOG = catalog(
    {
        "files": Offering(tools=(raw(name="read_file", description="Read a file from the disk"),)),
        "db": Offering(tools=(raw(name="query", description="Run an SQL query on the database"),)),
    }
)
NAMES = [each.public_name for each in CATALOG.entries]
POLICY = ToolFiltering()


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[GeminiStandIn]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with gemini_stand_in() as stand_in:
        yield stand_in


async def test_each_entry_gets_a_category_by_pattern(satellites: Satellites) -> None:
    assigned = await satellites.categorizer.categorize(CATALOG.entries, POLICY)
    found = {
        name: (each.category.name, each.category.source, each.refinable)
        for name, each in zip(NAMES, assigned, strict=True)
    }
    assert found == {
        "db__query": ("database", "pattern", False),
        "files__read_file": ("filesystem", "pattern", False),
    }
    assert satellites.categorizer.reason is None


async def test_a_mapping_of_the_document_wins(satellites: Satellites) -> None:
    policy = ToolFiltering(category_filter=CategoryFilter(("mine",), {"db__*": "mine"}))
    assigned = await satellites.categorizer.categorize(CATALOG.entries, policy)
    (mine,) = [each for name, each in zip(NAMES, assigned, strict=True) if name == "db__query"]
    assert (mine.category.name, mine.category.source) == ("mine", "mapping")


async def test_an_override_of_the_document_wins_for_the_one_entry(satellites: Satellites) -> None:
    overrides = {"db__query": "cloud", "files__*": "cloud"}
    policy = ToolFiltering(category_filter=CategoryFilter(("cloud",), {"*__query": "mine"}, overrides))
    assigned = await satellites.categorizer.categorize(CATALOG.entries, policy)
    found = {name: (each.category.name, each.category.source) for name, each in zip(NAMES, assigned, strict=True)}
    assert found == {"db__query": ("cloud", "override"), "files__read_file": ("filesystem", "pattern")}


async def test_without_an_llm_a_prompt_is_not_analyzed_and_nothing_is_refined(satellites: Satellites) -> None:
    with pytest.raises(SatelliteError):
        await satellites.categorizer.analyze_prompt("read it", "", {CATALOG.entries[0]: "database"}, POLICY)
    assert satellites.categorizer.reason is None, "no LLM is no absence"
    assert [digest async for digest in satellites.categorizer.refine(CATALOG.entries, POLICY)] == []
    assert not (await satellites.categorizer.describe()).llm_configured


async def test_its_absence_is_an_error_with_the_reason_and_is_logged_once(
    satellites: Satellites, caplog: pytest.LogCaptureFixture
) -> None:
    await satellites.categorizer_server.stop(0)
    for _ in range(2):
        with pytest.raises(SatelliteError, match="categorizer: UNAVAILABLE"):
            await satellites.categorizer.categorize(CATALOG.entries, POLICY)
    assert satellites.categorizer.reason == "categorizer: UNAVAILABLE"
    (line,) = [record.getMessage() for record in caplog.records if "satellites" in record.name]
    assert line == "categorizer: a call failed, and the hub goes on without it: UNAVAILABLE"
    with pytest.raises(SatelliteError, match="UNAVAILABLE"):
        [digest async for digest in satellites.categorizer.refine(CATALOG.entries, POLICY)]


async def test_an_llm_refines_and_chooses(gemini: GeminiStandIn, tmp_path: Path) -> None:
    gemini.answer = lambda data: {
        "items": [{**item, "use_when": ["look it up"]} for item in all_as("cloud")(data)["items"]]
    }
    store = EmbeddedStore(tmp_path / "state")
    server = await start(llm_settings(gemini), f"unix:{tmp_path}/llm", store)
    client = Categorizer(server.address, 10.0, 10.0)
    first = await client.categorize(CATALOG.entries, POLICY)
    assert {each.refinable for each in first} == {True}
    refined = {digest async for digest in client.refine(CATALOG.entries, POLICY)}
    assert refined == {each.digest for each in CATALOG.entries}
    second = await client.categorize(CATALOG.entries, POLICY)
    assert {(each.category.name, each.category.source, each.refinable) for each in second} == {("cloud", "llm", False)}
    assert {each.category.keywords for each in second} == {("look it up",)}
    choice = {
        "categories": ["database"],
        "tools": ["db__query", "nobody__knows"],
        "confidence": 0.8,
        "reasoning": "sql",
        "requests": ["Run a query"],
    }
    gemini.replies.append(json_reply(choice))
    shortlist = dict.fromkeys(CATALOG.entries, "cloud")
    analysis = await client.analyze_prompt("ask the database", "", shortlist, POLICY)
    assert analysis.categories == {"database"}
    assert analysis.public_names == ("db__query",)
    assert (analysis.reasoning, analysis.requests) == ("sql", ("Run a query",))
    described = await client.describe(check_key=True)
    # One for the entries of each server, and the analysis.
    questions = len({entry.upstream_name for entry in CATALOG.entries}) + 1
    assert (described.llm.calls, described.llm.successes) == (questions, questions)
    assert described.provider_status.checked_at_ms > 0
    await client.close()
    await server.stop(0)
    await store.close()


class Asked(grpc.aio.UnaryUnaryClientInterceptor):
    """Notes the rpcs that are called, and how long each may take, in seconds."""

    def __init__(self) -> None:
        self.rpcs: list[str] = []
        self.limits_s: list[float | None] = []

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        method = client_call_details.method
        self.rpcs.append((method if isinstance(method, str) else method.decode()).rpartition("/")[2])
        self.limits_s.append(client_call_details.timeout)
        return await continuation(client_call_details, request)


async def test_one_that_is_frozen_is_not_waited_for_by_every_prompt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hub_gateway.satellites")
    address = f"unix:{tmp_path}/categorizer"
    variables = environment(tmp_path, HUB_CATEGORIZER_ADDRESS=address)
    process = await asyncio.create_subprocess_exec(*COMMAND, env=variables)
    asked = Asked()
    client = Categorizer(address, 1.0, 600.0, [asked])

    async def analyze() -> str:
        """Why it did not: here is no LLM."""
        with pytest.raises(SatelliteError) as fault:
            await client.analyze_prompt("read it", "", {}, POLICY)
        return "" if client.reason is None else str(fault.value)

    try:
        await until(analyze, lambda why: not why, 10 * PAUSE_S, "it answers")
        process.send_signal(signal.SIGSTOP)
        asked.rpcs.clear()
        asked.limits_s.clear()
        caplog.clear()
        for _ in range(FAILURES):
            assert await analyze() == "categorizer: DEADLINE_EXCEEDED"
        assert {await analyze() for _ in range(100)} == {"categorizer: it let 2 calls in a row run out of time"}
        # In doubt, what takes no LLM's time finds out whether anybody is there.
        assert asked.rpcs == ["AnalyzePrompt", "Describe"]
        assert asked.limits_s == [1.0, 1.0], "it said before that it has no LLM"
        process.send_signal(signal.SIGCONT)
        assigned = await client.categorize(CATALOG.entries, POLICY)
        assert len(assigned) == len(CATALOG.entries), "what needs no LLM is asked meanwhile"
        await until(analyze, lambda why: not why, 10 * PAUSE_S, "it is asked again")
    finally:
        process.kill()
        await process.wait()
        await client.close()
    assert [record.getMessage() for record in caplog.records] == [
        "categorizer: a call failed, and the hub goes on without it: DEADLINE_EXCEEDED",
        "categorizer: it let 2 calls in a row run out of time; now one is tried every 5 s",
        "categorizer: it answers again",
        "categorizer: a call failed, and the hub goes on without it: it let 2 calls in a row run out of time",
        "categorizer: calls end in time again (UNAVAILABLE)",
        "categorizer: it answers again",
    ]
