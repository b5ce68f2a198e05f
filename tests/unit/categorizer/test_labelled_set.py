"""The labelled set, and that measuring on it gives the same twice."""

from __future__ import annotations

import msgspec
import pytest

from bench.eval_categories import DATA, PARTS, by_patterns, by_recording, macro, read_tools, report, scores
from hub_categorizer.taxonomy import CATEGORIES

TOOLS = read_tools()
PERMISSIVE = {"MIT", "Apache-2.0", "ISC"}


def test_the_set_is_large_and_wide_and_says_where_it_is_from() -> None:
    lines = (DATA / "categories.sources.jsonl").read_bytes().splitlines()
    sources = {source["server"]: source for source in map(msgspec.json.decode, lines)}
    assert len(TOOLS) >= 500
    assert len({(tool.server, tool.name) for tool in TOOLS}) == len(TOOLS)
    assert {tool.server for tool in TOOLS} == sources.keys()
    assert len(sources) >= 30
    assert {source["licence"] for source in sources.values()} <= PERMISSIVE


@pytest.mark.parametrize("part", PARTS)
def test_each_part_has_every_category_and_no_server_is_in_both(part: str) -> None:
    mine = [tool for tool in TOOLS if tool.part == part]
    assert {tool.category for tool in mine} == set(CATEGORIES)
    assert not {tool.server for tool in mine} & {tool.server for tool in TOOLS if tool.part != part}


def test_the_patterns_stay_as_good_as_they_are_on_servers_they_were_not_made_for() -> None:
    held_out = [tool for tool in TOOLS if tool.part == "held-out"]
    scored = scores([tool.category for tool in held_out], by_patterns(held_out))
    assert (macro(scored).f1 or 0.0) >= 0.85


def test_what_the_recording_gets_wrong_stays_with_the_patterns() -> None:
    asked = {"weather": 8, "calculator": 1, "time": 2, "github": 18, "slack": 8}
    tools = [tool for tool in TOOLS if tool.server in asked]
    found, took = by_recording(tools, "openai")
    assert len(tools) == sum(asked.values())
    patterns = by_patterns(tools)
    for tool, said, pattern in zip(tools, found, patterns, strict=True):
        wrong = tool.server in ("weather", "calculator", "time") or tool.name in ("search_users", "slack_get_users")
        assert said == (pattern if wrong else tool.second)
    assert "5 questions, 24 tools decided by it, 13 by the patterns" in took


def test_two_runs_agree() -> None:
    assert report(["gemini"]) == report(["gemini"])
