"""The hub's own tools: well-formed, constant, and told to each era as it can use them."""

from __future__ import annotations

import json

from hub_gateway.exposure.meta_tools import ANALYZE_PROMPT, CALL_TOOL, NAMES, definitions
from hub_gateway.wire.revisions import Era


def test_each_era_is_told_what_it_can_use() -> None:
    handshake, stateless = ([json.loads(raw) for raw in definitions(era)] for era in (Era.HANDSHAKE, Era.STATELESS))
    assert [tool["name"] for tool in handshake] == [ANALYZE_PROMPT]
    assert [tool["name"] for tool in stateless] == [ANALYZE_PROMPT, CALL_TOOL]
    assert {tool["name"] for tool in stateless} == NAMES
    for tool in (*handshake, *stateless):
        assert tool["inputSchema"]["type"] == "object"
        assert set(tool["inputSchema"]["required"]) <= set(tool["inputSchema"]["properties"])
        assert tool["description"]


def test_the_bytes_are_the_same_each_time() -> None:
    for era in Era:
        assert all(one is other for one, other in zip(definitions(era), definitions(era), strict=True))
