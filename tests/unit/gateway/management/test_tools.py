"""The list of all tools."""

from __future__ import annotations

import pytest

from tests.unit.gateway.management.house import House

pytestmark = pytest.mark.anyio


async def test_every_tool_with_its_three_names_and_its_rule(house: House) -> None:
    tools = (await house.get("/api/tools")).json()["tools"]
    assert len(tools) == 12 + 3 + 12 + 2
    assert [tool["publicName"] for tool in tools] == sorted(tool["publicName"] for tool in tools)
    found = next(tool for tool in tools if tool["publicName"] == "raw__raw_echo")
    assert found == {
        "server": "raw",
        "serverDisplayName": "Raw one",
        "name": "raw_echo",
        "publicName": "raw__raw_echo",
        "description": "Raw tool raw_echo",
        "enabled": True,
        "categories": [found["category"]],
        "category": found["category"],
        "categorySource": "pattern",
        "allowed": True,
        "rule": "mode:off",
        "visible": True,
    }
    assert isinstance(found["category"], str)


async def test_tools_of_a_server_that_is_down_are_not_listed(house: House) -> None:
    tools = (await house.get("/api/tools")).json()["tools"]
    assert {tool["server"] for tool in tools} == {"raw", "far"}
