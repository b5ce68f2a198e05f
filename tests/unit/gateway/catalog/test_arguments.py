"""What is plainly wrong with arguments, and the excerpt that puts it right."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from hub_gateway.catalog import arguments
from hub_gateway.catalog.arguments import EXCERPT_TOKENS, excerpt, faults, schema_of
from hub_gateway.catalog.entry import Offering
from hub_gateway.catalog.tokens import estimate
from tests.support import json_text
from tests.unit.gateway.catalog.offerings import catalog

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "owner": {"type": "string", "description": "Account owner"},
        "number": {"type": "integer"},
        "state": {"type": "string", "enum": ["open", "closed"]},
        "labels": {"type": "array", "items": {"$ref": "#/$defs/Label"}},
        "maybe": {"type": ["string", "null"]},
        "any": {},
    },
    "required": ["owner"],
    "additionalProperties": False,
    "$defs": {"Label": {"type": "object", "title": "Label", "properties": {"name": {"type": "string"}}}},
}


@pytest.mark.parametrize(
    ("given_", "wrong"),
    (
        ({"owner": "x"}, []),
        ({"owner": "x", "number": 1.0, "maybe": None, "any": [], "state": "open"}, []),
        ({}, ["owner: required and missing"]),
        ({"owner": 5}, ["owner: must be of type string"]),
        ({"owner": "x", "number": "5"}, ["number: must be of type integer"]),
        ({"owner": "x", "number": 1.5}, ["number: must be of type integer"]),
        ({"owner": "x", "number": True}, ["number: must be of type integer"]),
        ({"owner": "x", "state": "shut"}, ["state: none of the choices"]),
        ({"owner": "x", "maybe": 1}, ["maybe: must be of type string or null"]),
        ({"owner": "x", "Labels": []}, ["labels: is the name the tool knows, not 'Labels'"]),
        ({"owner": "x", "zzz": 1}, ["zzz: the tool knows no such parameter"]),
    ),
)
def test_what_is_plainly_wrong(given_: dict[str, Any], wrong: list[str]) -> None:
    assert [f"{fault.parameter}: {fault.why}" for fault in faults(SCHEMA, given_)] == wrong


def test_an_excerpt_shows_what_was_wrong_and_what_is_required() -> None:
    assert json.loads(excerpt(SCHEMA, ["labels"])) == {
        "required": ["owner"],
        "properties": {
            "labels": {
                "type": "array",
                "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
            "owner": {"type": "string", "description": "Account owner"},
        },
        "otherParameters": ["number", "state", "maybe", "any"],
    }


def test_an_excerpt_stays_small() -> None:
    many = {f"parameter_{n}": {"type": "string", "description": "What it is for. " * 50} for n in range(200)}
    told = excerpt({"properties": many, "required": list(many)}, list(many))
    assert estimate(told) <= EXCERPT_TOKENS + 1_500, "the names of what is required are never left out"
    assert "description" not in told
    few = {name: many[name] for name in list(many)[:8]}
    assert estimate(excerpt({"properties": few, "required": []}, list(few))) <= EXCERPT_TOKENS


def test_a_circle_of_references_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    assert "next" in excerpt({"properties": {"node": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}, ["node"])


@given(json_text.values, json_text.objects)
def test_a_schema_of_any_shape_is_read(schema: str, given_: str) -> None:
    (entry,) = catalog({"a": Offering(tools=(b'{"name":"x","inputSchema":' + schema.encode() + b"}",))}).entries
    found = schema_of(entry)
    try:
        values = msgspec.json.decode(given_.encode(), type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        values = {}
    wrong = faults(found, values)
    assert json.loads(excerpt(found, [fault.parameter for fault in wrong])) is not None
    assert isinstance(arguments.properties(found), dict)
