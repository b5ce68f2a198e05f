"""The Prometheus page."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub_gateway.management.metrics import BOUNDS_S, Metrics
from hub_gateway.wire.meta import Caller
from tests.support.processes import RAW, stdio_entry
from tests.unit.gateway.management.conftest import until_ready
from tests.unit.gateway.management.house import House, built

pytestmark = pytest.mark.anyio

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(house: House) -> Samples:
    """Every sample by name and labels."""
    answer = await house.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.body.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def of(samples: Samples, name: str, **labels: str) -> float:
    """One sample."""
    return samples[name, frozenset(labels.items())]


async def test_calls(house: House) -> None:
    before = await scrape(house)
    await house.post("/api/servers/tools", {"server_name": "raw", "tool": "raw_echo"})
    await house.post("/api/servers/tools", {"server_name": "raw", "tool": "raw_error"})
    after = await scrape(house)

    def grown(name: str, **labels: str) -> float:
        return of(after, name, **labels) - before.get((name, frozenset(labels.items())), 0.0)

    assert grown("mcp_hub_calls_total", server="raw") == 2
    assert grown("mcp_hub_call_errors_total", server="raw") == 1
    assert grown("mcp_hub_call_timeouts_total", server="raw") == 0
    assert grown("mcp_hub_call_duration_seconds_count", server="raw") == 2
    assert grown("mcp_hub_call_duration_seconds_bucket", server="raw", le="+Inf") == 2
    assert grown("mcp_hub_call_duration_seconds_sum", server="raw") > 0
    assert of(after, "mcp_hub_calls_in_flight", server="raw") == 0


async def test_states(house: House) -> None:
    house.deps.sessions.open("2025-11-25", Caller(), {})
    await house.deps.workspaces.beat()
    samples = await scrape(house)
    states = {labels: value for (name, labels), value in samples.items() if name == "mcp_hub_server_state"}
    for server, wanted in {"raw": "ready", "off": "stopped", "broken": "invalid"}.items():
        mine = {dict(labels)["state"]: value for labels, value in states.items() if dict(labels)["server"] == server}
        assert mine == {**dict.fromkeys(mine, 0.0), wanted: 1.0}
        assert len(mine) == 6
    assert of(samples, "mcp_hub_satellite_up", satellite="filter") == 1
    assert of(samples, "mcp_hub_satellite_up", satellite="categorizer") == 1
    assert of(samples, "mcp_hub_store_up", kind="embedded") == 1
    assert of(samples, "mcp_hub_sessions") == 1
    assert of(samples, "mcp_hub_tools") == of(samples, "mcp_hub_tools_exposed") == 29


def test_a_call_is_counted_in_the_first_bucket_that_holds_it() -> None:
    metrics = Metrics()
    for duration_s in (0.0, BOUNDS_S[0], BOUNDS_S[0] * 1.01, BOUNDS_S[-1] * 2):
        metrics.observe("one", duration_s, "ok")
    buckets = metrics.durations["one"].buckets
    assert (buckets[0], buckets[1], buckets[-1], sum(buckets)) == (2, 1, 1, 4)


async def test_filtering_is_told_as_in_the_statistics(house: House) -> None:
    await house.post("/api/filtering/mode", {"mode": "prompt-based"})
    found = (await house.get("/api/filtering/stats")).json()
    samples = await scrape(house)
    assert of(samples, "mcp_hub_tools") == found["totalTools"]
    plain = {
        "tools_exposed": "exposedTools",
        "tools_filtered": "filteredTools",
        "tools_filter_ratio": "filterRate",
        "tools_visible_at_start": "visibleAtStart",
        "filtering_enabled": "enabled",
        "filtering_automatic": "automatic",
        "filtering_stale": "stale",
        "category_cache_size": "categoryCacheSize",
        "category_hit_ratio": "cacheHitRate",
    }
    assert {name: of(samples, f"mcp_hub_{name}") for name in plain} == {name: found[key] for name, key in plain.items()}
    assert found["visibleAtStart"] == 0
    modes = {
        dict(labels)["mode"]: value for (name, labels), value in samples.items() if name == "mcp_hub_filtering_mode"
    }
    assert [mode for mode, value in modes.items() if value] == ["prompt-based"]
    for each in found["rules"]:
        labels = {"rule": each["rule"], "allows": str(each["allows"]).lower()}
        assert of(samples, "mcp_hub_tools_by_rule", **labels) == each["tools"]
    for name, (shown, hidden) in ((name, each.values()) for name, each in found["ruleFamilies"].items()):
        assert of(samples, "mcp_hub_tools_by_rule_family", family=name, allows="true") == shown
        assert of(samples, "mcp_hub_tools_by_rule_family", family=name, allows="false") == hidden
    for name, label in (("all", "all"), ("exposed", "exposed"), ("atStart", "start")):
        assert of(samples, "mcp_hub_list_tokens", list=label) == found["tokens"][name]
    assert of(samples, "mcp_hub_list_tokens_saved_ratio") == found["tokens"]["savedAtStart"]
    for category, tools in found["categories"].items():
        assert of(samples, "mcp_hub_tools_by_category", category=category) == tools
    for source, tools in found["categorySources"].items():
        assert of(samples, "mcp_hub_tools_by_category_source", source=source) == tools
    assert ("mcp_hub_llm_cache_hit_ratio", frozenset()) not in samples, "no lookup is no data"


async def test_each_view_is_told_by_itself(tmp_path: Path) -> None:
    raw = stdio_entry(RAW, "--era", "handshake", "--tools", "2")
    views = {
        "few": {"toolFiltering": {"tools": {"allow": ["raw__raw_echo"]}}},
        "asking": {"toolFiltering": {"mode": "prompt-based"}},
    }
    async with built({"mcpServers": {"raw": raw}, "views": views}, tmp_path) as house:
        policies = {name: view.tool_filtering for name, view in house.document.views.items()}
        house.deps.republish.apply_views(policies)
        await until_ready(house, "raw")
        found = (await house.get("/api/filtering/stats")).json()
        samples = await scrape(house)
    few, asking = found["views"]
    assert (few["name"], asking["name"], asking["mode"]) == ("few", "asking", "prompt-based")
    assert found["exposedTools"] == found["totalTools"] == few["totalTools"] == asking["exposedTools"]
    assert (few["exposedTools"], few["visibleAtStart"], asking["visibleAtStart"]) == (1, 1, 0)
    assert few["filterRate"] == round(1 - 1 / few["totalTools"], 4)
    assert sum(rule["tools"] for rule in few["rules"]) == few["totalTools"]
    assert 0 < few["tokens"]["atStart"] < few["tokens"]["all"] == found["tokens"]["all"]
    assert few.keys() - {"name"} < found.keys()
    for view in (few, asking):
        assert of(samples, "mcp_hub_view_tools_exposed", view=view["name"]) == view["exposedTools"]
        assert of(samples, "mcp_hub_view_tools_filtered", view=view["name"]) == view["filteredTools"]
        assert of(samples, "mcp_hub_view_tools_visible_at_start", view=view["name"]) == view["visibleAtStart"]
        assert of(samples, "mcp_hub_view_list_tokens", view=view["name"], list="start") == view["tokens"]["atStart"]
        for rule in view["rules"]:
            labels = {"view": view["name"], "rule": rule["rule"], "allows": str(rule["allows"]).lower()}
            assert of(samples, "mcp_hub_view_tools_by_rule", **labels) == rule["tools"]
