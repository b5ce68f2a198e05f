"""The replay: mode auto is never much dearer than the better of the fixed modes, on tools and prompts of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.eval_ranking import installed_embedding, query, read_lines
from bench.replay import SIZES, TURNS, Conversation, Row, packed, replay

DATA = Path(__file__).parents[3] / "bench" / "data"


def _tools() -> list[dict[str, Any]]:
    """The labelled tools; of their parameters only the names are kept there."""
    return [
        {
            **{key: line[key] for key in ("server", "name", "description")},
            "inputSchema": {"type": "object", "properties": {name: {"type": "string"} for name in line["parameters"]}},
        }
        for line in read_lines(DATA / "categories.jsonl")
    ]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    queries = [query(line) for line in read_lines(DATA / "replay.queries.jsonl")]
    return replay(_tools(), queries, installed_embedding())


def test_every_cell_is_computed(rows: list[Row]) -> None:
    cells = {(row.size, row.turns, row.cache) for row in rows}
    assert cells == {(size, turns, cache) for size in SIZES for turns in TURNS for cache in (False, True)}
    assert {row.prompts for row in rows} == {24}


def test_auto_never_loses(rows: list[Row]) -> None:
    dear = [row for row in rows if row.auto_ratio > 1.05]
    assert not dear


def test_the_fixed_modes_each_lose_somewhere(rows: list[Row]) -> None:
    for mode in ("direct", "search"):
        assert any(row.costs[mode] > 1.01 * row.costs["auto"] for row in rows), mode


def test_a_catalog_is_as_large_as_said_and_holds_what_its_prompts_need() -> None:
    queries = [query(line) for line in read_lines(DATA / "replay.queries.jsonl")]
    answered = 0
    for held, chosen in packed(_tools(), queries, 5_000):
        names = {(tool["server"], tool["name"]) for tool in held}
        assert len(names) == len(held)
        assert all(not need.isdisjoint(names) for each in chosen for need in each.needs)
        answered += len(chosen)
    assert answered == len(queries)


def test_what_was_sent_before_is_cheaper_with_a_cache() -> None:
    plain, cached = Conversation(1_000, cache=False), Conversation(1_000, cache=True)
    for conversation in (plain, cached):
        conversation.say(10)
        conversation.hear(100)
        conversation.say(10)
    assert plain.cost == 1_500 + 1_500 + 110 + 2 * 50
    assert cached.cost == pytest.approx(1.25 * 1_500 + 0.1 * 1_500 + 1.25 * 110 + 2 * 50)
