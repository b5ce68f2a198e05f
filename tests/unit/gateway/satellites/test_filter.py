"""The filter seen from the gateway: taught catalogs it does not know, and reported when it is away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from hub_gateway.catalog.entry import Entry, Offering
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.filter_model import AnnotationFilter, CategoryFilter, NameFilter, ServerFilter, ToolFiltering
from hub_gateway.errors import SatelliteError
from hub_gateway.exposure.current import Category, Exposure
from hub_gateway.exposure.verdicts import Rule
from hub_gateway.satellites.filter import TEACH_CALLS, Asked, Filter
from hub_gateway.satellites.patience import FAILURES, PAUSE_S
from tests.support.waiting import until
from tests.unit.filter.test_main import running, serving
from tests.unit.gateway.catalog.offerings import catalog, offering, raw
from tests.unit.gateway.satellites.conftest import Satellites

pytestmark = pytest.mark.anyio
MAIL = Offering(
    tools=(
        raw(name="send", description="Send an email to somebody"),
        raw(name="weather", description="Tell the weather of a city"),
        raw(name="odd", description="x", inputSchema={"properties": {"n": {"maximum": 1e308}}}),
    )
)
DENIED = ToolFiltering(server_filter=ServerFilter("denylist", ("b",)))


def _catalog(extra: str = "p") -> Catalog:
    return catalog({"a": MAIL, "b": offering(["x"], [extra], ["r:1"], ["t:{id}"])})


async def test_every_entry_gets_its_rule_in_order(satellites: Satellites) -> None:
    found = _catalog()
    rules = await satellites.filter.decide(found, DENIED, "server-allowlist", [])
    assert rules == [
        Rule("server-denylist:not-listed", True) if each.upstream_name == "a" else Rule("server-denylist:listed", False)
        for each in found.entries
    ]


async def test_globs_and_annotations_decide_over_every_kind(satellites: Satellites) -> None:
    reads = {"annotations": {"readOnlyHint": True, "destructiveHint": "odd"}}
    tools = (raw(name="read", **reads), raw(name="write"), raw(name="drop", **reads))
    found = catalog({"a": Offering(tools=tools), "b": offering(["x"], ["p"], ["r:1"], ["t:{id}"])}, {"a": "short"})
    filtering = ToolFiltering(
        tools=NameFilter(allow=("a__*", "b__*"), deny=("*__drop", "t:*")), annotations=AnnotationFilter(read_only=True)
    )
    rules = await satellites.filter.decide(found, filtering, None, [])
    decided = {each.public_name: rule.id for each, rule in zip(found.entries, rules, strict=True)}
    assert decided == {
        "short__read": "tools.allow:a__*",
        "short__write": "annotations:readOnly",
        "short__drop": "tools.deny:*__drop",
        "b__x": "annotations:readOnly",
        "b__p": "tools.allow:b__*",
        "r:1": "tools.allow:b__*",
        "t:{id}": "tools.deny:t:*",
    }


async def test_categories_decide_by_entry(satellites: Satellites) -> None:
    found = _catalog()
    categories = ["web" if each.local_name == "weather" else "" for each in found.entries]
    policy = ToolFiltering(category_filter=CategoryFilter(("web",)))
    rules = await satellites.filter.decide(found, policy, "category", categories)
    allowed = [each.local_name for each, rule in zip(found.entries, rules, strict=True) if rule.allows]
    assert allowed == ["weather"]


async def test_the_best_of_the_scope_comes_first(satellites: Satellites) -> None:
    found = _catalog()
    tools = [each for each in found.entries if each.upstream_name == "a"]
    asked = Asked(query="what is the weather in Paris", limit=2, budget=1)
    matches, cut = await satellites.filter.search(Exposure(found), asked, tools)
    assert matches[0].entry.local_name == "weather"
    assert matches[0].entry in found.entries
    assert matches[0].parts.terms > 0
    assert len(matches) <= 2
    assert cut == 1
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    without = [each for each in tools if each.local_name != "weather"]
    assert "weather" not in await _names(satellites.filter, Exposure(found), "weather", without)


async def test_calls_in_the_past_are_told_and_count(satellites: Satellites) -> None:
    twins = catalog({name: offering(["search"]) for name in ("a", "b", "c")})
    used = [(each, 40) for each in twins.entries if each.upstream_name == "b"]
    asked = Asked(query="search", limit=3, used=used)
    matches, _ = await satellites.filter.search(Exposure(twins), asked, twins.entries)
    assert len(matches) == 3
    assert {match.entry.upstream_name for match in matches if match.parts.usage > 0} == {"b"}


async def test_what_a_server_lists_first_stands_first_among_what_fits_alike(satellites: Satellites) -> None:
    alike = ["search_records", "search-records", "search.records"]
    for order in (alike, alike[::-1]):
        records = Offering(tools=tuple(raw(name=name, description="Search records.") for name in order))
        found = await _names(satellites.filter, Exposure(catalog({"a": MAIL, "b": records})), "search records")
        assert found[:3] == order


class Sent(grpc.aio.UnaryUnaryClientInterceptor):
    """Notes the rpcs that carry a catalog."""

    def __init__(self) -> None:
        self.catalogs: list[str] = []

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        if request.HasField("catalog"):
            self.catalogs.append(type(request).__name__)
        return await continuation(client_call_details, request)


async def test_keywords_are_found_and_sent_once(satellites: Satellites) -> None:
    sent = Sent()
    client = Filter(f"unix:{satellites.directory}/filter", 5.0, [sent])
    found = _catalog()
    bare = Exposure(found)
    keys = {each.category_key for each in found.entries if each.local_name == "send"}
    worded = {key: Category("mail", keywords=("drop somebody a line",)) for key in keys}
    try:
        assert await _names(client, bare, "drop a line") == []
        assert sent.catalogs == ["SearchRequest"]
        for _ in range(TEACH_CALLS):  # the catalog goes along so often, for the other replicas
            await client.search(bare, Asked(query="weather", limit=1), found.entries)
        sent.catalogs.clear()
        assert await _names(client, Exposure(found, categories=worded), "drop a line") == ["send"]
        assert sent.catalogs == ["SearchRequest"]
        for _ in range(TEACH_CALLS):
            await client.search(Exposure(found, categories=worded), Asked(query="weather", limit=1), found.entries)
        sent.catalogs.clear()
        # Equal keywords in another exposure, verdicts, and the catalog without keywords: nothing is sent again.
        assert await _names(client, Exposure(found, categories=dict(worded)), "drop a line") == ["send"]
        await client.decide(found, DENIED, "server-allowlist", [])
        assert await _names(client, bare, "drop a line") == []
        assert sent.catalogs == []
    finally:
        await client.close()


async def _names(client: Filter, exposure: Exposure, query: str, scope: Sequence[Entry] | None = None) -> list[str]:
    """The local names that are found for a query."""
    within = exposure.catalog.entries if scope is None else scope
    found = await client.search(exposure, Asked(query=query, limit=5), within)
    return [match.entry.local_name for match in found.matches]


async def test_a_catalog_it_forgot_is_sent_again(satellites: Satellites) -> None:
    for number in range(4):  # it holds two
        await satellites.filter.decide(_catalog(f"p{number}"), DENIED, "server-allowlist", [])
    assert await _names(satellites.filter, Exposure(_catalog("p0")), "weather") == ["weather"]
    assert satellites.filter.reason is None


async def test_a_replica_that_started_anew_is_taught(satellites: Satellites) -> None:
    found = _catalog()
    before = await satellites.filter.decide(found, DENIED, "server-allowlist", [])
    await satellites.restart_filter()

    async def again() -> list[Rule]:
        try:
            return await satellites.filter.decide(found, DENIED, "server-allowlist", [])
        except SatelliteError:
            return []

    assert await until(again, bool, 10, "the filter answers again") == before


async def test_its_absence_is_an_error_with_the_reason_until_it_is_back(satellites: Satellites) -> None:
    await satellites.filter_server.stop(0)
    with pytest.raises(SatelliteError, match="filter: UNAVAILABLE"):
        await satellites.filter.decide(_catalog(), DENIED, "server-allowlist", [])
    assert satellites.filter.reason == "filter: UNAVAILABLE"


async def test_one_that_is_frozen_is_not_waited_for_by_every_call(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/filter"
    async with running(HUB_FILTER_ADDRESS=address, HUB_FILTER_METRICS_PORT="0") as process:
        await serving(process)
        asking, found = Filter(address, 1.0), _catalog()
        try:
            await until(lambda: _rules(asking, found), bool, 10 * PAUSE_S, "it answers")
            process.send_signal(signal.SIGSTOP)
            for _ in range(FAILURES):
                with pytest.raises(SatelliteError, match="DEADLINE_EXCEEDED"):
                    await asking.decide(found, DENIED, "server-allowlist", [])
            calls = [asking.decide(found, DENIED, "server-allowlist", []) for _ in range(100)]
            for fault in await asyncio.gather(*calls, return_exceptions=True):
                assert "filter: it let 2 calls in a row run out of time" in str(fault)
            process.send_signal(signal.SIGCONT)
            await until(lambda: _rules(asking, found), bool, 10 * PAUSE_S, "it is asked again")
        finally:
            await asking.close()


async def _rules(asking: Filter, found: Catalog) -> list[Rule]:
    try:
        return await asking.decide(found, DENIED, "server-allowlist", [])
    except SatelliteError:
        return []


async def test_a_categories_too_few_is_an_error(satellites: Satellites) -> None:
    policy = ToolFiltering(category_filter=CategoryFilter(("web",)))
    with pytest.raises(SatelliteError, match="INVALID_ARGUMENT"):
        await satellites.filter.decide(_catalog(), policy, "category", ["web"])
