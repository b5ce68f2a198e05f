"""Generated parts of `docs/` are what the code says today; the example config is one schema and hub accept."""

from __future__ import annotations

from pathlib import Path

import jsonschema

from hub_categorizer import taxonomy
from hub_cli.generated_docs import generated
from hub_gateway.config import json5_text
from hub_gateway.config.filter_model import CATEGORIES
from hub_gateway.config.load import load
from hub_gateway.config.schema import schema

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "mcp-servers.example.json"


def test_generated_files_are_up_to_date() -> None:
    stale = [str(p.relative_to(ROOT)) for p, text in generated(ROOT / "docs").items() if p.read_text("utf-8") != text]
    assert not stale, f"{stale} differ from the code: run .venv/bin/python -m hub_cli.generated_docs"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_documented_categories_are_the_categorizers() -> None:
    assert set(CATEGORIES) == set(taxonomy.CATEGORIES)


def test_the_example_is_accepted_without_a_word() -> None:
    jsonschema.validate(json5_text.decode(EXAMPLE.read_text("utf-8")).value, schema())
    document = load([EXAMPLE])
    assert not document.invalid
    assert not document.warnings
    assert [name for name, server in document.servers.items() if not server.disabled] == [
        "time",
        "git",
        "everything",
        "memory",
        "filesystem",
    ]
