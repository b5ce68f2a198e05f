"""The filter seen from the gateway: taught catalogs it does not know, and reported when it is away."""

from __future__ import annotations

import pytest

from hub_gateway.catalog.entry import Offering
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.model import CategoryFilter, ServerFilter, ToolFiltering
from hub_gateway.errors import SatelliteError
from hub_gateway.exposure.verdicts import Rule
from tests.support.waiting import until
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
    hits = await satellites.filter.search(found, "what is the weather in Paris", "", tools, 2)
    assert hits[0][0].local_name == "weather"
    assert hits[0][0] in found.entries
    assert len(hits) <= 2
    scores = [score for _, score in hits]
    assert scores == sorted(scores, reverse=True)
    without = [each for each in tools if each.local_name != "weather"]
    assert "weather" not in [
        each.local_name for each, _ in await satellites.filter.search(found, "weather", "", without, 5)
    ]


async def test_a_catalog_it_forgot_is_sent_again(satellites: Satellites) -> None:
    for number in range(4):  # it holds two
        await satellites.filter.decide(_catalog(f"p{number}"), DENIED, "server-allowlist", [])
    assert await satellites.filter.search(_catalog("p0"), "weather", "", _catalog("p0").entries[:0], 1) is not None
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


async def test_a_categories_too_few_is_an_error(satellites: Satellites) -> None:
    policy = ToolFiltering(category_filter=CategoryFilter(("web",)))
    with pytest.raises(SatelliteError, match="INVALID_ARGUMENT"):
        await satellites.filter.decide(_catalog(), policy, "category", ["web"])
