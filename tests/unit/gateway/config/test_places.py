"""Every value of a config file is found where it is written."""

from __future__ import annotations

from pathlib import Path

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


def test_lines_by_path() -> None:
    found = json5_text.places(TEXT)
    assert found["toolFiltering"] == found["toolFiltering.mode"] == 6
    assert found["toolFiltering.categoryFilter.categories"] == 8
    assert [found[f"toolFiltering.categoryFilter.categories[{i}]"] for i in range(3)] == [9, 9, 10]
    assert found["toolFiltering.tools.deny[0]"] == 13
    assert found["views.a-b.toolFiltering.annotations.readOnly"] == 16
    assert "toolFiltering.categoryFilter.categories[3]" not in found


def test_a_later_file_s_key_is_found_in_that_file(tmp_path: Path) -> None:
    one, other = tmp_path / "a.json", tmp_path / "b.json"
    one.write_text('{"mcpServers": {},\n"toolFiltering": {"tools": {"deny": ["x"]}},\n"views": {"v": {}}}')
    other.write_text('{"mcpServers": {},\n\n"toolFiltering": {"enabled": true}}')
    places = load([one, other]).places
    assert places["toolFiltering.enabled"] == Place(str(other), 3)
    assert "toolFiltering.tools" not in places
    assert places["views.v"] == Place(str(one), 3)
