"""Who a tool is for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hub_gateway.catalog.entry import Offering
from hub_gateway.catalog.snapshot import merge, parse
from hub_gateway.catalog.visibility import shown_to_models


@pytest.mark.parametrize(
    ("members", "for_models"),
    [
        ({}, True),
        ({"description": "visibility"}, True),
        ({"_meta": {"ui": {"resourceUri": "ui://a", "x": "visibility"}}}, True),
        ({"_meta": {"ui": {"visibility": ["model", "app"]}}}, True),
        ({"_meta": {"ui": {"visibility": ["model"]}}}, True),
        ({"_meta": {"ui": {"visibility": ["app"]}}}, False),
        ({"_meta": {"ui": {"visibility": []}}}, False),
        ({"_meta": {"ui": {"visibility": ["app", 1, {}]}}}, False),
        ({"_meta": {"ui": {"visibility": "app"}}}, True),
        ({"_meta": {"ui": {"visibility": None}}}, True),
        ({"_meta": {"ui": 5, "visibility": ["app"]}}, True),
        ({"_meta": ["visibility"]}, True),
        ({"visibility": ["app"]}, True),
    ],
)
def test_a_tool_is_for_models_unless_its_server_says_otherwise(members: dict[str, Any], for_models: bool) -> None:
    raw = msgspec.json.encode({"name": "t", **members})
    assert shown_to_models(raw) is for_models
    (entry,) = merge([parse("a", Offering(tools=(raw,)))], {}, ["a"]).entries
    assert entry.is_for_models is for_models
    assert msgspec.json.decode(entry.listed_raw) == {"name": "a__t", **members}


def test_only_tools_are_kept_from_models() -> None:
    raw = msgspec.json.encode({"name": "p", "_meta": {"ui": {"visibility": ["app"]}}})
    (entry,) = merge([parse("a", Offering(prompts=(raw,)))], {}, ["a"]).entries
    assert entry.is_for_models
