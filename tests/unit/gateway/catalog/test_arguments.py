"""What is plainly wrong with arguments, and the excerpt that puts it right."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from hub_gateway.catalog import arguments
from hub_gateway.catalog.arguments import EXCERPT_TOKENS, MAX_FAULTS, excerpt, faults, schema_of
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
    assert [f"{fault.at}: {fault.why}" for fault in faults(SCHEMA, given_)] == wrong


POINT = {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x", "y"]}
DEEP: dict[str, Any] = {
    "properties": {
        "labels": {"type": "array", "items": {"$ref": "#/$defs/Label"}, "maxItems": 2},
        "where": {"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "string", "minLength": 2}, {"type": "null"}]},
        "pair": {"prefixItems": [{"type": "string"}, {"type": "integer"}]},
        "by_name": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 5}},
        "always": {"const": "yes"},
        "both": {"allOf": [{"required": ["a"]}, {"properties": {"b": {"enum": [1]}}}]},
    },
    "$defs": {
        "Point": POINT,
        "Label": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "at": {"$ref": "#/$defs/Point"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize(
    ("given_", "wrong"),
    (
        ({"labels": [{"name": "a", "at": {"x": 1, "y": 2.5}}], "where": {"x": 1, "y": 2}, "pair": ["a", 1]}, []),
        ({"where": None, "by_name": {"a": 5}, "always": "yes", "both": {"a": 0, "b": 1}}, []),
        ({"labels": [{"name": "a"}, {"nam": "b"}]}, ["labels[1].name: required and missing"]),
        ({"labels": [{"name": 1}]}, ["labels[0].name: must be of type string"]),
        ({"labels": [{"name": "a", "colour": "red"}]}, ["labels[0].colour: the tool knows no such field"]),
        ({"labels": [{"name": "a", "at": {"x": "1"}}]}, ["labels[0].at.y: required and missing"]),
        ({"labels": "a"}, ["labels: must be of type array"]),
        ({"labels": [{"name": "a"}] * 3}, ["labels: must be at most 2 items"]),
        ({"where": {"x": 1}}, ["where.y: required and missing"]),
        ({"where": 5}, ["where: fits none of the alternatives: must be of type object; must be of type string"]),
        ({"where": "a"}, ["where: fits none of the alternatives: must be of type object; must be at least 2 char"]),
        ({"pair": ["a", "b"]}, ["pair[1]: must be of type integer"]),
        ({"by_name": {"a": 0}}, ["by_name.a: must be at least 1"]),
        ({"by_name": {"a": 6}}, ["by_name.a: must be at most 5"]),
        ({"always": "no"}, ['always: must be "yes"']),
        ({"both": {"b": 2}}, ["both.a: required and missing"]),
    ),
)
def test_what_is_wrong_deep_inside_is_told_by_its_place(given_: dict[str, Any], wrong: list[str]) -> None:
    found = faults(DEEP, given_)
    assert [f"{fault.at}: {fault.why}"[: len(told)] for fault, told in zip(found, wrong, strict=False)] == wrong
    assert bool(found) is bool(wrong)
    assert all(fault.parameter in given_ for fault in found), "the excerpt shows the whole parameter"


@pytest.mark.parametrize("name", ("filter[state]", "user.name", "[0]"))
def test_a_parameter_is_shown_whatever_letters_its_name_has(name: str) -> None:
    schema = {"properties": {name: {"type": "object", "properties": {"a": {"type": "integer"}}}, "other": {}}}
    (fault,) = faults(schema, {name: {"a": "x"}})
    assert (fault.parameter, fault.at) == (name, f"{name}.a")
    assert list(json.loads(excerpt(schema, [fault.parameter]))["properties"]) == [name]


def test_the_same_mistake_many_times_is_told_a_few_times() -> None:
    assert len(faults(SCHEMA, {"owner": "x", "labels": [5] * 1_000})) == MAX_FAULTS


def test_a_circle_of_values_and_references_ends() -> None:
    node: dict[str, Any] = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    value: dict[str, Any] = {}
    for _ in range(200):
        value = {"next": value}
    assert faults({"properties": {"node": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}, {"node": value}) == []
    itself = {"properties": {"x": {"$ref": "#/$defs/X"}}, "$defs": {"X": {"anyOf": [{"$ref": "#/$defs/X"}] * 100}}}
    assert faults(itself, {"x": 1}) == []


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
    wide = {"properties": {f"p{n}": {"$ref": "#/$defs/Wide"} for n in range(200)}}
    told = excerpt({"properties": {"node": {"$ref": "#/$defs/Wide"}}, "$defs": {"Wide": wide}}, ["node"])
    assert json.loads(told) == {"required": [], "parameters": ["node"]}


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
