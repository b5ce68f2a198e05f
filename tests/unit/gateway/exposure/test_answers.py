"""The lines of an answer: best first, within what they may cost."""

from __future__ import annotations

import msgspec
import pytest

from hub_gateway.catalog.entry import Entry, Offering
from hub_gateway.catalog.tokens import estimate
from hub_gateway.exposure.answers import FULL_LINES, LINES, TOKENS, lines
from tests.unit.gateway.catalog.offerings import catalog


def _entries(count: int, description: str, required: int = 1) -> tuple[Entry, ...]:
    properties = {f"parameter_{n}": {"type": "string"} for n in range(8)}
    schema = {"properties": properties, "required": list(properties)[:required]}
    definition = {"description": description, "inputSchema": schema, "annotations": {"readOnlyHint": True}}
    tools = tuple(msgspec.json.encode({"name": f"tool_{n:02}", **definition}) for n in range(count))
    return catalog({"a": Offering(tools=tools)}).entries


@pytest.mark.parametrize("required", (0, 3, 8))
@pytest.mark.parametrize("description", ("", "Finds things.", "A sentence without an end " * 20))
def test_an_answer_keeps_to_its_budget(description: str, required: int) -> None:
    entries = _entries(40, description, required)
    found = lines(entries)
    assert sum(estimate(line) for line in found) <= TOKENS
    assert [line.partition("(")[0] for line in found] == [entry.public_name for entry in entries[: len(found)]]
    assert len(found) <= LINES


def test_later_lines_are_shorter() -> None:
    found = lines(_entries(12, "Finds things. And more."))
    assert found[0] == (
        "a__tool_00(parameter_0: string, parameter_1?, parameter_2?, parameter_3?, parameter_4?, …+3): Finds things."
    )
    assert found[FULL_LINES] == f"a__tool_{FULL_LINES:02}(parameter_0: string)"


def test_a_number_that_was_asked_for_is_given() -> None:
    entries = _entries(40, "A sentence without an end " * 20, 8)
    assert len(lines(entries, limit=40)) == 40
    assert len(lines(entries, limit=2)) == 2


def test_there_is_a_line_where_there_is_an_entry() -> None:
    assert lines([]) == []
    properties = {f"a_very_long_name_of_a_parameter_{n}": {"type": "string"} for n in range(300)}
    huge = {"name": "huge", "inputSchema": {"properties": properties, "required": list(properties)}}
    assert len(lines(catalog({"a": Offering(tools=(msgspec.json.encode(huge),))}).entries)) == 1


def test_lines_name_the_variant_that_takes_the_tool() -> None:
    assert lines(_entries(1, "Finds."), marked=True)[0].startswith("[read] a__tool_00(")
