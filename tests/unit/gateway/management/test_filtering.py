"""Statistics are current, switches are in force when they answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub_gateway.catalog.description import for_models
from hub_gateway.catalog.entry import EntryKind
from hub_gateway.catalog.tokens import estimate
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.exposure import meta_tools
from hub_gateway.management.dry_run import MAX_NAMES
from hub_gateway.wire.revisions import Era
from tests.support.processes import RAW, stdio_entry
from tests.unit.gateway.management.conftest import until_ready
from tests.unit.gateway.management.house import House, built

pytestmark = pytest.mark.anyio

TOTAL = 12 + 2 + 12 + 1


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncGenerator[House]:
    """Two servers with tools of the same names, and a list that denies one of the two."""
    servers = {
        "one": stdio_entry(RAW, "--era", "handshake", "--tools", "2"),
        "two": stdio_entry(RAW, "--era", "handshake", "--tools", "1"),
    }
    filtering = {"serverFilter": {"mode": "denylist", "servers": ["two"]}}
    async with built({"mcpServers": servers, "toolFiltering": filtering}, tmp_path) as house:
        await until_ready(house, "one", "two")
        yield house


async def stats(house: House) -> dict[str, Any]:
    """The statistics."""
    answer = await house.get("/api/filtering/stats")
    assert answer.status == 200
    return answer.json()


async def test_off(pair: House) -> None:
    found = await stats(pair)
    assert (found["enabled"], found["mode"], found["filterRate"]) == (False, None, 0.0)
    assert (found["totalTools"], found["filteredTools"], found["exposedTools"]) == (TOTAL, 0, TOTAL)
    assert (found["serverFilterMode"], found["allowedServers"]) == ("denylist", ["two"])
    assert found["allowedCategories"] == []
    assert found["llm"]["enabled"] is False
    assert found["llm"]["successRate"] is None
    assert found["llmCache"]["size"] == found["llmCacheSize"] == 0
    assert found["queue"] == {"depth": None, "processed": None}
    assert found["circuitBreaker"] == {"state": None, "consecutiveFailures": None}
    assert found["timestamp"].endswith("Z")


async def test_switch_is_in_force_at_once(pair: House) -> None:
    answer = await pair.post("/api/filtering/mode", {"mode": "server-allowlist"})
    assert answer.status == 200
    body = answer.json()
    assert body["toolFiltering"] == {"enabled": True, "mode": "server-allowlist", "warnings": []}
    assert (body["status"], body["persisted"]) == ("ok", False)
    found = await stats(pair)
    assert (found["enabled"], found["mode"], found["totalTools"], found["exposedTools"]) == (
        True,
        "server-allowlist",
        TOTAL,
        14,
    )
    assert found["totalExposed"] == found["visibleAtStart"] == 14
    assert found["filterRate"] == round(13 / TOTAL, 4)
    shown = {rule["rule"]: (rule["allows"], rule["tools"]) for rule in found["rules"]}
    assert shown == {"server-denylist:listed": (False, 13), "server-denylist:not-listed": (True, 14)}
    assert all(rule["entries"] >= rule["tools"] for rule in found["rules"])
    assert found["ruleFamilies"] == {"server-denylist": {"shown": 14, "hidden": 13}}
    tokens = found["tokens"]
    listed = [entry for entry in pair.deps.current.exposure.catalog.entries if entry.kind is EntryKind.TOOL]
    costs = [(entry.upstream_name, estimate(for_models(entry.listed_raw))) for entry in listed]
    assert tokens["all"] == sum(cost for _, cost in costs), "what models are given"
    assert tokens["exposed"] == sum(cost for name, cost in costs if name == "one")
    assert 0 < tokens["exposed"] == tokens["atStart"] < tokens["all"]
    assert tokens["savedAtStart"] == round(1 - tokens["atStart"] / tokens["all"], 4)
    tools = (await pair.get("/api/tools")).json()["tools"]
    assert {(t["server"], t["allowed"], t["rule"], t["visible"]) for t in tools} == {
        ("one", True, "server-denylist:not-listed", True),
        ("two", False, "server-denylist:listed", False),
    }

    answer = await pair.post("/api/filtering/status", {"enabled": False})
    assert answer.json()["toolFiltering"] == {"enabled": False, "mode": "server-allowlist", "warnings": []}
    assert (await stats(pair))["exposedTools"] == TOTAL

    answer = await pair.post("/api/filtering/mode", {"mode": "hybrid"})
    assert answer.json()["toolFiltering"]["enabled"] is False
    answer = await pair.post("/api/filtering/status", {"enabled": True})
    assert answer.json()["toolFiltering"] == {"enabled": True, "mode": "hybrid", "warnings": []}
    assert (await stats(pair))["exposedTools"] == 14


async def test_no_tools_are_no_data(tmp_path: Path) -> None:
    async with built({"mcpServers": {}}, tmp_path) as house:
        found = await stats(house)
    assert (found["totalTools"], found["filterRate"], found["cacheHitRate"]) == (0, None, None)
    assert found["rules"] == []
    assert found["views"] == []
    assert found["tokens"] == {"all": 0, "exposed": 0, "atStart": 0, "savedAtStart": None}
    assert found["categories"] == found["categorySources"] == {}


async def test_every_tool_has_its_category_counted_once(pair: House) -> None:
    await pair.deps.republish.settled()
    found = await stats(pair)
    assert sum(found["categories"].values()) == sum(found["categorySources"].values()) == TOTAL
    assert set(found["categorySources"]) == {"pattern"}


async def test_statistics_do_not_add_up(pair: House) -> None:
    for _ in range(3):
        await pair.post("/api/filtering/mode", {"mode": "server-allowlist"})
    assert (await stats(pair))["totalTools"] == TOTAL


async def test_on_without_a_mode(pair: House) -> None:
    answer = await pair.post("/api/filtering/status", {"enabled": True})
    assert (answer.status, answer.json()["code"]) == (409, "CONFLICT")
    assert (await stats(pair))["enabled"] is False


async def test_rules_for_single_entries_are_filtering_too(tmp_path: Path) -> None:
    """Also without a mode; what switches them off and on again is the same."""
    denied = {"tools": {"deny": ["raw__raw_echo"]}}
    server = stdio_entry(RAW, "--era", "handshake", "--tools", "2")
    async with built({"mcpServers": {"raw": server}, "toolFiltering": denied}, tmp_path) as house:
        await until_ready(house, "raw")
        for enabled in (None, False, True):
            if enabled is not None:
                answer = await house.post("/api/filtering/status", {"enabled": enabled})
                assert answer.json()["toolFiltering"] == {"enabled": enabled, "mode": None, "warnings": []}
            found = await stats(house)
            assert (found["enabled"], found["filteredTools"]) == (enabled is not False, int(enabled is not False))


async def test_what_a_switch_decides_is_not_said_to_stand_in_the_config(tmp_path: Path) -> None:
    servers = {"one": stdio_entry(RAW, "--era", "handshake", "--tools", "1")}
    rule = {"mode": "denylist", "servers": ["one"]}
    filtering = {"enabled": True, "mode": "server-allowlist", "serverFilter": rule}
    views: dict[str, Any] = {"v": {"toolFiltering": {"enabled": False}}}
    async with built({"mcpServers": servers, "toolFiltering": filtering, "views": views}, tmp_path) as house:
        house.deps.republish.apply_views({name: each.tool_filtering for name, each in house.document.views.items()})
        await until_ready(house, "one")

        async def why(view: str = "") -> tuple[str, str | None, bool, bool]:
            said = (await house.get(f"/api/filtering/explain?tool=one__raw_echo&view={view}")).json()
            return said["rule"], said["path"], said["place"] is not None, said["switched"]

        listed = ("server-denylist:listed", "toolFiltering.serverFilter.servers[0]", True, False)
        assert await why() == listed
        assert (await house.post("/api/filtering/mode", {"mode": "prompt-based"})).status == 200
        assert await why() == ("mode:prompt-based", "toolFiltering.mode", False, True)
        assert (await house.post("/api/filtering/status", {"enabled": False})).status == 200
        assert await why() == ("mode:off", "toolFiltering.enabled", False, True)
        assert await why("v") == ("mode:off", "views.v.toolFiltering.enabled", True, False)
        assert (await house.post("/api/filtering/status", {"enabled": True})).status == 200
        assert (await house.post("/api/filtering/mode", {"mode": "hybrid"})).status == 200
        assert await why() == ("hybrid:neither", "toolFiltering.mode", False, True)
        assert (await house.post("/api/filtering/mode", {"mode": "server-allowlist"})).status == 200
        assert await why() == listed
        unknown = (await house.get("/api/filtering/explain?tool=one__raw_echo&view=V")).json()
        assert unknown["error"] == "There is no view 'V'; did you mean 'v'?"


async def test_what_is_in_force_by_itself_is_told_with_its_threshold(tmp_path: Path) -> None:
    servers = {"one": stdio_entry(RAW, "--era", "handshake", "--tools", "3")}
    async with built({"mcpServers": servers, "toolFiltering": {"autoEnableThreshold": 2}}, tmp_path) as house:
        await until_ready(house, "one")
        said = (await house.get("/api/filtering/explain?tool=one__raw_echo")).json()
        assert (said["allowed"], said["path"]) == (False, "toolFiltering.autoEnableThreshold")
        assert said["place"] is not None


@pytest.mark.parametrize("has_meta_tools", [True, False])
async def test_who_cannot_ask_for_a_tool_is_not_told_to(tmp_path: Path, has_meta_tools: bool) -> None:
    servers = {"one": stdio_entry(RAW, "--era", "handshake", "--tools", "1")}
    prompt = {"enableMetaTools": has_meta_tools}
    filtering = {"enabled": True, "mode": "prompt-based", "promptBasedFiltering": prompt}
    async with built({"mcpServers": servers, "toolFiltering": filtering}, tmp_path) as house:
        await until_ready(house, "one")
        said = (await house.get("/api/filtering/explain?tool=one__raw_echo")).json()
        assert (said["visible"], said["change"].startswith("ask for it")) == (False, has_meta_tools)


async def test_mode_without_a_rule_is_said(pair: House) -> None:
    answer = await pair.post("/api/filtering/mode", {"mode": "category"})
    assert "no rule configured" in answer.json()["toolFiltering"]["warnings"][0]
    assert (await stats(pair))["categoryCacheSize"] > 0


async def test_prompt_based_shows_nothing_at_start(pair: House) -> None:
    await pair.post("/api/filtering/mode", {"mode": "prompt-based"})
    found = await stats(pair)
    assert (found["exposedTools"], found["visibleAtStart"]) == (TOTAL, 0)
    own = [estimate(for_models(each)) for each in meta_tools.definitions(Era.HANDSHAKE)]
    assert found["tokens"]["atStart"] == sum(own), "the hub's own tools cost too"
    assert found["tokens"]["exposed"] == found["tokens"]["all"]
    tools = (await pair.get("/api/tools")).json()["tools"]
    assert {(t["allowed"], t["rule"], t["visible"]) for t in tools} == {(True, "mode:prompt-based", False)}


async def test_the_most_used_tools_are_chosen_anew_when_asked_for(pair: House) -> None:
    auto = {"mode": "auto", "auto": {"tokenBudget": 200}}
    pair.deps.republish.apply(msgspec.convert(auto, ToolFiltering))
    await pair.deps.republish.settled()
    called = next(e for e in pair.deps.current.exposure.catalog.entries if e.public_name == "two__raw_echo")
    for _ in range(3):
        pair.deps.calls.usage.count(called)
    await pair.deps.republish.settled()
    assert (await stats(pair))["visibleAtStart"] == 0, "calls move nothing"
    answer = await pair.post("/api/filtering/most-used")
    assert answer.json()["mostUsed"] == [{"name": "two__raw_echo", "share": 1.0}]
    assert (await stats(pair))["visibleAtStart"] == 1


@pytest.mark.parametrize("mode", ["static", "", "CATEGORY"])
async def test_unknown_mode(pair: House, mode: str) -> None:
    answer = await pair.post("/api/filtering/mode", {"mode": mode})
    body = answer.json()
    assert (answer.status, body["code"], body["data"]["field"]) == (400, "VALIDATION_ERROR", "mode")
    assert body["data"]["validModes"] == ["server-allowlist", "category", "hybrid", "prompt-based", "auto"]
    assert ("did you mean 'category'?" in body["error"]) is (mode == "CATEGORY")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("status", {}, "enabled"),
        ("status", {"enabled": "yes"}, "enabled"),
        ("mode", {}, "mode"),
        ("mode", {"mode": 1}, "mode"),
    ],
)
async def test_bad_body(pair: House, path: str, body: object, field: str) -> None:
    answer = await pair.post(f"/api/filtering/{path}", body)
    assert (answer.status, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert field in answer.json()["error"]


async def test_satellites_away(pair: House) -> None:
    await pair.filter_server.stop(0)
    await pair.categorizer_server.stop(0)
    answer = await pair.post("/api/filtering/mode", {"mode": "server-allowlist"})
    assert answer.status == 200
    assert "the filter is away" in answer.json()["toolFiltering"]["warnings"][0]
    found = await stats(pair)
    assert (found["stale"], found["exposedTools"]) == (True, 0)
    assert found["categorizer"] == "away"
    assert found["llm"]["enabled"] is found["llmCacheSize"] is found["cacheHitRate"] is None
    tools = (await pair.get("/api/tools")).json()["tools"]
    assert {t["rule"] for t in tools} == {"filter-unavailable:closed"}


async def dry_run(house: House, filtering: object) -> dict[str, Any]:
    """What would be of the default view by this policy."""
    answer = await house.post("/api/filtering/dry-run", {"toolFiltering": filtering})
    assert answer.status == 200, answer.body
    return answer.json()


async def test_a_dry_run_says_what_the_switch_then_does(pair: House) -> None:
    exposure = pair.deps.current.exposure
    for policy in (
        {"mode": "server-allowlist", "enabled": True, "serverFilter": {"mode": "denylist", "servers": ["two"]}},
        {"mode": "category", "enabled": True, "categoryFilter": {"categories": ["search"]}},
        {"mode": "prompt-based", "enabled": True},
        {"mode": "auto", "auto": {"tokenBudget": 10}},
    ):
        before = await stats(pair)
        said = await dry_run(pair, policy)
        assert {**await stats(pair), "timestamp": ""} == {**before, "timestamp": ""}
        assert pair.deps.current.exposure is exposure, "nothing was put in force"
        pair.deps.republish.apply(msgspec.convert(policy, ToolFiltering))
        await pair.deps.republish.settled()
        exposure, found = pair.deps.current.exposure, await stats(pair)
        assert (said["mode"], said["allowed"]["then"]["tools"]) == (found["mode"], found["exposedTools"])
        assert said["visibleAtStart"]["then"]["tools"] == found["visibleAtStart"]
        assert said["tokens"]["then"] == {key: found["tokens"][key] for key in ("all", "exposed", "atStart")}
        assert [{key: rule[key] for key in ("rule", "allows", "tools", "entries")} for rule in said["rules"]] == found[
            "rules"
        ]


async def test_a_dry_run_with_other_mappings_asks_for_other_categories(pair: House) -> None:
    mapped = {"categories": ["mine"], "customMappings": {"one__*": "mine"}}
    said = await dry_run(pair, {"enabled": True, "mode": "category", "categoryFilter": mapped})
    assert said["allowed"]["then"]["tools"] == 14
    assert (await stats(pair))["categories"].get("mine") is None


async def test_a_dry_run_without_a_satellite_it_needs(pair: House) -> None:
    mapped = {"categories": ["mine"], "customMappings": {"one__*": "mine"}}
    await pair.categorizer_server.stop(0)
    of_names = {"toolFiltering": {"tools": {"deny": ["one__*"]}}}
    assert (await pair.post("/api/filtering/dry-run", of_names)).status == 200, "categories are known"
    answer = await pair.post(
        "/api/filtering/dry-run", {"toolFiltering": {"mode": "category", "categoryFilter": mapped}}
    )
    assert (answer.status, answer.json()["code"]) == (503, "SATELLITE_ERROR")
    on_others = {"view": "new", "toolFiltering": {}, "documentToolFiltering": {"categoryFilter": mapped}}
    assert (await pair.post("/api/filtering/dry-run", on_others)).status == 503
    unknown = await pair.post("/api/filtering/dry-run", {"view": "new", "toolFiltering": {}})
    assert (unknown.status, unknown.json()["data"]) == (404, {"views": []})


async def test_a_dry_run_names_so_many_and_counts_all(tmp_path: Path) -> None:
    server = stdio_entry(RAW, "--era", "handshake", "--tools", str(MAX_NAMES + 20))
    async with built({"mcpServers": {"raw": server}}, tmp_path) as house:
        await until_ready(house, "raw")
        said = await dry_run(house, {"tools": {"deny": ["raw__*"]}})
        total = (await stats(house))["totalTools"]
        listed = house.deps.current.default.allowed.visible
    for state in ("allowed", "visibleAtStart"):
        gone = said[state]["disappear"]
        assert gone["total"] == len(listed) >= total > MAX_NAMES
        assert [each["name"] for each in gone["entries"]] == [entry.public_name for entry in listed[:MAX_NAMES]]


async def test_a_dry_run_warns_of_names_that_match_nothing(pair: House) -> None:
    name = next(entry.public_name for entry in pair.deps.current.exposure.catalog.entries)
    slip = f"{name}x"
    said = await dry_run(pair, {"tools": {"deny": [name, slip]}})
    (warning,) = said["warnings"]
    assert warning.startswith(f"toolFiltering.tools.deny[1]: {slip!r} matches nothing")
    assert warning.endswith(f"did you mean {name!r}?")
    tried = {"toolFiltering": {"tools": {"allow": [slip]}}, "view": "new", "documentToolFiltering": {}}
    (warning,) = (await pair.post("/api/filtering/dry-run", tried)).json()["warnings"]
    assert warning.startswith("views.new.toolFiltering.tools.allow[0]: ")


async def test_the_log_warns_once_of_names_that_match_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    servers = {"raw": stdio_entry(RAW, "--era", "handshake", "--tools", "2")}
    document = {"mcpServers": servers, "toolFiltering": {"tools": {"deny": ["raw__no_such_tool"]}}}
    async with built(document, tmp_path) as house:
        await until_ready(house, "raw")
        for _ in range(3):
            await house.deps.republish.settled()
    told = [record.getMessage() for record in caplog.records if "no_such_tool" in record.getMessage()]
    assert told == ["toolFiltering.tools.deny[0]: 'raw__no_such_tool' matches nothing of what 'raw__' lists now"]


async def test_a_dry_run_that_has_no_answer(pair: House) -> None:
    answer = await pair.post("/api/filtering/dry-run", {"toolFiltering": {"mode": "categry"}})
    assert (answer.status, answer.json()["code"]) == (400, "CONFIG_ERROR")
    (fault,) = answer.json()["data"]["faults"]
    assert fault.startswith("toolFiltering.mode: ")
    assert "'category'" in fault
    assert (await pair.post("/api/filtering/dry-run", {})).status == 400
    await pair.filter_server.stop(0)
    answer = await pair.post("/api/filtering/dry-run", {"toolFiltering": {"tools": {"deny": ["one__*"]}}})
    assert (answer.status, answer.json()["code"]) == (503, "SATELLITE_ERROR")
