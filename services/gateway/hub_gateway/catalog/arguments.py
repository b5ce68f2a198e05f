"""What is wrong with the arguments of a call, and the part of the tool's schema that tells how to put it right.

Pure. Sees only what is plain (a required parameter that is missing, a value of another JSON type, one that is none of
the choices, a name that nearly is one of the schema's): whether arguments are valid is the upstream's to say.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from hub_gateway.catalog.entry import Entry
from hub_gateway.catalog.tokens import estimate

EXCERPT_TOKENS = 500
"""An excerpt gives up descriptions first, then the parameters that nobody got wrong, to stay below."""

MAX_TEXT = 160
_DEPTH = 4
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}

Schema = Mapping[str, Any]


class Fault(NamedTuple):
    """One parameter that is wrong, and why."""

    parameter: str
    why: str


def schema_of(entry: Entry) -> Schema:
    """A tool's input schema; an empty one where it cannot be read."""
    try:
        definition = _object(msgspec.json.decode(entry.listed_raw))
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return _object(definition.get("inputSchema"))


def properties(schema: Schema) -> dict[str, Any]:
    """The parameters by name."""
    return _object(schema.get("properties"))


def faults(schema: Schema, arguments: Mapping[str, Any]) -> list[Fault]:
    """What is plainly wrong, in the schema's order."""
    known = properties(schema)
    found = [Fault(name, "required and missing") for name in _names(schema.get("required")) if name not in arguments]
    for name, value in arguments.items():
        if name in known:
            why = _mismatch(_resolved(_object(known[name]), schema), value)
            found += [Fault(name, why)] if why else []
        elif near := difflib.get_close_matches(name, list(known), n=1, cutoff=0.6):
            found.append(Fault(near[0], f"is the name the tool knows, not {name!r}"))
        elif schema.get("additionalProperties") is False:
            found.append(Fault(name, "the tool knows no such parameter"))
    return found


def excerpt(schema: Schema, wrong: Sequence[str]) -> str:
    """The schema of the wrong parameters and of those that are required, and the names of the others, as JSON."""
    known = properties(schema)
    required = _names(schema.get("required"))
    chosen = [name for name in known if name in wrong] or [name for name in known if name in required]
    for names, texts in ((dict.fromkeys([*chosen, *required]), True), (chosen, True), (chosen, False)):
        told = _told(schema, [name for name in names if name in known], texts)
        if estimate(told) <= EXCERPT_TOKENS:
            return told
    return msgspec.json.encode({"required": required, "parameters": list(known)[:50]}).decode()


def _told(schema: Schema, names: Sequence[str], texts: bool) -> str:
    known = properties(schema)
    told: dict[str, Any] = {"required": _names(schema.get("required"))}
    told["properties"] = {name: _short(_object(known[name]), schema, texts, _DEPTH) for name in names}
    if others := [name for name in known if name not in names]:
        told["otherParameters"] = others
    return msgspec.json.encode(told).decode()


def _short(part: Schema, whole: Schema, texts: bool, depth: int) -> Schema:
    """A schema without what a caller does not need; references are put in."""
    part = _resolved(part, whole)
    short: dict[str, Any] = {}
    for key, value in part.items():
        if key == "description":
            if texts and isinstance(value, str):
                short[key] = value if len(value) <= MAX_TEXT else value[:MAX_TEXT].rsplit(" ", 1)[0] + "…"
        elif key in ("title", "$schema", "$defs", "definitions", "examples"):
            continue
        elif depth and isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            deeper = {name: _short(_object(of), whole, texts, depth - 1) for name, of in inner.items()}
            short[key] = deeper if key == "properties" else _short(inner, whole, texts, depth - 1)
        elif depth and isinstance(value, list) and key in ("anyOf", "oneOf", "allOf"):
            short[key] = [_short(_object(each), whole, texts, depth - 1) for each in cast("list[object]", value)]
        elif not isinstance(value, dict):
            short[key] = value
    return short


def _resolved(part: Schema, whole: Schema) -> Schema:
    """The schema a local reference stands for, or the schema itself."""
    reference = part.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return part
    found: object = whole
    for step in reference[2:].split("/"):
        found = _object(found).get(step)
    return {**_object(found), **{key: value for key, value in part.items() if key != "$ref"}}


def _mismatch(schema: Schema, value: Any) -> str:
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        return "none of the choices"
    kinds = _names(schema.get("type")) if isinstance(schema.get("type"), list) else [schema.get("type")]
    known = [kind for kind in kinds if kind in _TYPES]
    if len(known) != len(kinds) or any(_is(kind, value) for kind in known):
        return ""
    return f"must be of type {' or '.join(known)}"


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _names(value: object) -> list[str]:
    return [each for each in cast("list[object]", value) if isinstance(each, str)] if isinstance(value, list) else []
