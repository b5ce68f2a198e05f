"""The hub's own tools: well-formed, constant, honest, and told to each era as it can use them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hub_gateway.exposure.meta_tools import (
    ANALYZE_PROMPT,
    CALL_TOOL,
    CALL_VARIANTS,
    CALLS,
    DESCRIBE_TOOL,
    NAMES,
    SEARCH_TOOLS,
    definitions,
)
from hub_gateway.wire.revisions import Era


def _listed(era: Era, call_variants: bool = False) -> dict[str, dict[str, Any]]:
    tools = [json.loads(raw) for raw in definitions(era, call_variants)]
    return {tool["name"]: tool for tool in tools}


def test_each_era_is_told_what_it_can_use() -> None:
    assert list(_listed(Era.HANDSHAKE)) == [ANALYZE_PROMPT, DESCRIBE_TOOL, CALL_TOOL]
    assert list(_listed(Era.STATELESS)) == [SEARCH_TOOLS, DESCRIBE_TOOL, ANALYZE_PROMPT, CALL_TOOL]
    brief = [json.loads(raw)["name"] for raw in definitions(Era.STATELESS, brief=True)]
    assert brief == [SEARCH_TOOLS, DESCRIBE_TOOL, CALL_TOOL], "analyzing is searching there"
    for era in Era:
        assert _listed(era).keys() - _listed(era, True).keys() == {CALL_TOOL}
        assert _listed(era, True).keys() - _listed(era).keys() == set(CALL_VARIANTS.values())
        assert _listed(era).keys() | _listed(era, True).keys() <= NAMES


@pytest.mark.parametrize("call_variants", (False, True))
def test_definitions_are_well_formed(call_variants: bool) -> None:
    for era in Era:
        for name, tool in _listed(era, call_variants).items():
            assert tool["inputSchema"]["type"] == "object"
            assert set(tool["inputSchema"]["required"]) <= set(tool["inputSchema"]["properties"])
            assert tool["description"]
            hints = tool["annotations"]
            assert hints["openWorldHint"] == (name in CALLS), "only a call reaches beyond the hub"
            reads = name not in CALLS or name == "hub__call_tool_read"
            assert hints["readOnlyHint"] == reads
            assert reads or hints["destructiveHint"] == (name != "hub__call_tool_write")


def test_the_bytes_are_the_same_each_time() -> None:
    for era in Era:
        for variants in (False, True):
            assert definitions(era, variants) is definitions(era, variants)
