"""What the page for MCP Hub 4 calls gone is what the hub says is gone."""

from __future__ import annotations

import re
from pathlib import Path

from hub_cli.__main__ import GONE
from hub_gateway.management.gone import INSTEAD

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text("utf-8").partition("## What is gone")[2]
THERE = " ".join(re.findall(r"^\| (.+?) \|", PAGE, re.MULTILINE))


def test_routes() -> None:
    assert set(re.findall(r"/api/[\w/-]+", THERE)) == set(INSTEAD)


def test_options() -> None:
    assert set(re.findall(r"--[\w-]+", THERE)) == set(GONE)
