"""Every route is documented, and every documented route is there."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from hub_gateway.management.app import routes
from tests.unit.gateway.management.house import House, built

pytestmark = pytest.mark.anyio

DOCUMENT = Path(__file__).parents[2] / "docs" / "rest-api.md"
HEADING = re.compile(r"^### (.+)$", re.MULTILINE)
ROUTE = re.compile(r"(?:GET|POST|PUT|PATCH|DELETE) /[^\s,`]*")
ROW = re.compile(r"^\| \[(`(?:GET|POST).+?)\]\(#([^)]+)\)", re.MULTILINE)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[set[str]]:
    """`METHOD /path` of every route of the application."""
    async with built({"mcpServers": {}}, tmp_path) as house:
        yield _routes(house)


def _routes(house: House) -> set[str]:
    # HEAD comes with every GET and is said once for all.
    return {
        f"{method} {route.path}" for route in routes(house.deps) for method in (route.methods or ()) if method != "HEAD"
    }


def documented() -> list[str]:
    """`METHOD /path` of every heading of the document."""
    return [route for heading in HEADING.findall(DOCUMENT.read_text()) for route in ROUTE.findall(heading)]


async def test_every_route_has_a_heading(served: set[str]) -> None:
    assert sorted(served - set(documented())) == []


async def test_every_heading_has_a_route(served: set[str]) -> None:
    assert sorted(set(documented()) - served) == []
    assert len(documented()) == len(set(documented()))


async def test_the_table_leads_to_every_heading(served: set[str]) -> None:
    rows = ROW.findall(DOCUMENT.read_text())
    assert {route for label, _ in rows for route in ROUTE.findall(label)} == served
    anchors = {
        re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in HEADING.findall(DOCUMENT.read_text())
    }
    assert {anchor for _, anchor in rows} == anchors
