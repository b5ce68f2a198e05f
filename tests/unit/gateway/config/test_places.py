"""Every value of a config file is found where it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub_gateway.config import json5_text
from hub_gateway.config.load import load
from hub_gateway.config.model import Place

TEXT = """// a remark with { and "
{
  mcpServers: {},
  /* more
     remarks */
  "toolFiltering": { mode: 'category', // "tools": 1
    categoryFilter: {
      categories: [
        "web", 'se\\'arch',
        "other",
      ],
    },
    tools: { "deny": ["*__x"] },
  },
  views: { "a-b": { toolFiltering: {
    annotations: { readOnly: true } } } },
}
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_by_path(line_end: str) -> None:
    text = TEXT.replace("\n", line_end)
    assert json5_text.decode(text) == json5_text.decode(TEXT)
    found = json5_text.places(text)
    assert found["toolFiltering"] == found["toolFiltering.mode"] == 6
    assert found["toolFiltering.categoryFilter.categories"] == 8
    assert [found[f"toolFiltering.categoryFilter.categories[{i}]"] for i in range(3)] == [9, 9, 10]
    assert found["toolFiltering.tools.deny[0]"] == 13
    assert found["views.a-b.toolFiltering.annotations.readOnly"] == 16
    assert "toolFiltering.categoryFilter.categories[3]" not in found


@pytest.mark.parametrize("separator", ["\u2028", "\u2029"])
def test_a_remark_ends_where_the_parser_ends_it(separator: str) -> None:
    text = f"{{ // a remark{separator} toolFiltering: {{\nenabled: true }} }}"
    assert json5_text.decode(text).value == {"toolFiltering": {"enabled": True}}
    assert json5_text.places(text) == {"": 1, "toolFiltering": 1, "toolFiltering.enabled": 2}


def test_of_a_key_that_stands_twice_only_the_last_is_found() -> None:
    text = '{"a": {"b": [1]}, "a.c": 2,\n"a": {"c": 1}}'
    assert json5_text.places(text) == {"": 1, '["a.c"]': 1, "a": 2, "a.c": 2}


def test_a_later_file_s_key_is_found_in_that_file(tmp_path: Path) -> None:
    one, other = tmp_path / "a.json", tmp_path / "b.json"
    one.write_text('{"mcpServers": {},\n"toolFiltering": {"tools": {"deny": ["x"]}},\n"views": {"v": {}}}')
    other.write_text('{"mcpServers": {},\n\n"toolFiltering": {"enabled": true}}')
    places = load([one, other]).places
    assert places["toolFiltering.enabled"] == Place(str(other), 3)
    assert "toolFiltering.tools" not in places
    assert places["views.v"] == Place(str(one), 3)
