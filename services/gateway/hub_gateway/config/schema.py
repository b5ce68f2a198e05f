"""The config's JSON schema and its tables for people, both read off the model.

`python -m hub_gateway.config.schema` prints the schema (draft 2020-12), with `--markdown` the tables.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from hub_gateway.config.faults import REMARKS
from hub_gateway.config.filter_model import (
    AnnotationFilter,
    Auto,
    CategoryFilter,
    LlmCategorization,
    NameFilter,
    PromptBasedFiltering,
    ServerFilter,
    ToolFiltering,
)
from hub_gateway.config.model import ViewEntry
from hub_gateway.config.server_model import ADDRESSES, ConnectionPool, Dev, OAuth, ServerEntry

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TABLES: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("`mcpServers.<name>`", ServerEntry),
    ("`connectionPool`, also `mcpServers.<name>.connectionPool`", ConnectionPool),
    ("`mcpServers.<name>.oauth`", OAuth),
    ("`mcpServers.<name>.dev`", Dev),
    ("`toolFiltering`", ToolFiltering),
    ("`toolFiltering.serverFilter`", ServerFilter),
    ("`toolFiltering.categoryFilter`", CategoryFilter),
    ("`toolFiltering.tools`", NameFilter),
    ("`toolFiltering.annotations`", AnnotationFilter),
    ("`views.<name>`", ViewEntry),
    ("`toolFiltering.promptBasedFiltering`", PromptBasedFiltering),
    ("`toolFiltering.auto`", Auto),
    ("`toolFiltering.llmCategorization`", LlmCategorization),
)

_TEXT = {"type": ["string", "number", "boolean"]}
"""What is text to whom it is for, however it is written."""


def schema() -> dict[str, Any]:
    """The JSON schema of a config file. It accepts what the hub accepts: keys it does not know are no error."""
    _, parts = msgspec.json.schema_components((ServerEntry, ToolFiltering, ConnectionPool, ViewEntry))
    parts = {name: _tidy(part) for name, part in sorted(parts.items())}
    entry, null = parts["ServerEntry"], {"type": "null"}
    addresses = ("url", *ADDRESSES)
    remote = ["streamable-http", "http", "sse", None]
    entry["oneOf"] = [
        _entry_with(
            "command", ["stdio", None], {**dict.fromkeys(addresses, null), "connectionPool": False, "oauth": null}
        ),
        {"anyOf": [_entry_with(each, remote, {"command": null, "dev": null}) for each in addresses]},
    ]
    entry["properties"]["args"]["items"] = _TEXT
    entry["properties"]["env"]["additionalProperties"] = {"anyOf": [_TEXT, null]}
    entry["properties"]["headers"]["additionalProperties"] = _TEXT
    parts["ViewEntry"]["properties"]["credentials"]["anyOf"][0]["minItems"] = 1
    parts["CategoryFilter"]["properties"]["customMappings"]["propertyNames"] = {"minLength": 1}
    parts["LlmCategorization"] |= {
        "if": {"properties": {"enabled": {"const": True}}},
        "then": {"required": ["enabled", "provider"]},
    }
    servers = {"type": "object", "additionalProperties": {"$ref": "#/$defs/ServerEntry"}}
    return {
        "$schema": DIALECT,
        "title": "MCP Hub config",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "mcpServers": {"description": "The servers by name.", **servers},
            "servers": {"description": "The same, as VS Code calls it.", **servers},
            "toolFiltering": {"$ref": "#/$defs/ToolFiltering"},
            "views": {
                "description": "Views by name, each with a URL of its own.",
                "type": "object",
                "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"},
                "additionalProperties": {"$ref": "#/$defs/ViewEntry"},
            },
            "connectionPool": {
                "description": "What every remote server's `connectionPool` starts from.",
                "$ref": "#/$defs/ConnectionPool",
            },
        },
        "$defs": parts,
    }


def _entry_with(key: str, types: list[str | None], others: dict[str, Any]) -> dict[str, Any]:
    """A rule between the keys of a server entry, as `load` has it."""
    return {"required": [key], "properties": {"type": {"enum": types}, **others, key: {"type": "string"}}}


def schema_text() -> str:
    """The schema as the file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def markdown() -> str:
    """A table per object of the config."""
    _, parts = msgspec.json.schema_components([struct for _, struct in _TABLES], ref_template="{name}")
    tables = [_table(title, parts[struct.__name__]) for title, struct in _TABLES]
    return "\n".join(tables)


def _tidy(part: dict[str, Any]) -> dict[str, Any]:
    """Docstrings without their indentation; where keys are refused that nobody knows, remarks are not."""
    if "description" in part:
        part["description"] = inspect.cleandoc(part["description"])
    if part.get("additionalProperties") is False:
        part["patternProperties"] = {f"^({REMARKS})$": {}}
    return part


def _table(title: str, part: dict[str, Any]) -> str:
    lines = [f"### {title}", "", inspect.cleandoc(part["description"]), ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    required = part.get("required", ())
    for key, value in part["properties"].items():
        default = "required" if key in required else _default(value)
        lines.append(f"| `{key}` | {_type(value)} | {default} | {_cell(value.get('description', ''))} |")
    return "\n".join([*lines, ""])


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default is None or default in ("", [], {}):
        return ""
    if isinstance(default, float):
        return f"`{_number(default)}`"
    return f"`{json.dumps(default)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _type(value: dict[str, Any]) -> str:
    if "anyOf" in value:
        return " or ".join(_type(one) for one in value["anyOf"] if one.get("type") != "null")
    if "$ref" in value:
        return "object"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    kind = value["type"]
    if kind == "array":
        return "list of " + _type(value["items"])
    if kind == "object":
        return "object of " + _type(value["additionalProperties"])
    word = {"integer": "whole number", "boolean": "true or false", "string": "text", "number": "number"}[kind]
    return " ".join([word, *_limits(value)])


def _limits(value: dict[str, Any]) -> Iterator[str]:
    if "minimum" in value and "maximum" in value:
        yield f"{_number(value['minimum'])}–{_number(value['maximum'])}"
        return
    for key, sign in (("exclusiveMinimum", ">"), ("minimum", "≥"), ("maximum", "≤")):
        if key in value:
            yield f"{sign} {_number(value[key])}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def main(arguments: list[str]) -> int:
    """Print the schema or the tables."""
    sys.stdout.write(markdown() if "--markdown" in arguments else schema_text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
