"""What is wrong with the arguments of a call, and the part of the tool's schema that tells how to put it right.

Pure. Sees only what is plain, at any depth (something required that is missing, a value of another JSON type, one that
is none of the choices or out of bounds, a name that nearly is one of the schema's): whether arguments are valid is the
upstream's to say.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, cast

import msgspec

from hub_gateway.catalog.entry import Entry
from hub_gateway.catalog.tokens import estimate

EXCERPT_TOKENS = 500
"""An excerpt gives up descriptions first, then the parameters that nobody got wrong, to stay below."""

MAX_TEXT = 160
_DEPTH = 4

MAX_FAULTS = 8
"""More are the same mistake again."""

_LEVELS = 12
"""How deep arguments are looked into."""

_STEPS = 2_000
"""How many values of them are compared with a schema; also how many schemas an excerpt is made of, which is too long by
then."""

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
    """One thing that is wrong, and why."""

    parameter: str
    """The parameter it is in."""
    why: str
    at: str
    """Where it is: the parameter, or a path in it (`labels[2].name`)."""


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
    """What is plainly wrong: what is missing first, then what is there in its order; `MAX_FAULTS` at most."""
    found = _Look(schema).into(schema, arguments, ())
    return [Fault(str(at[0]), why, _spelled(at)) for at, why in islice(found, MAX_FAULTS)]


def excerpt(schema: Schema, wrong: Sequence[str]) -> str:
    """The schema of the wrong parameters and of those that are required, and the names of the others, as JSON."""
    known = properties(schema)
    required = _names(schema.get("required"))
    chosen = [name for name in known if name in wrong] or [name for name in known if name in required]
    for names, texts in ((dict.fromkeys([*chosen, *required]), True), (chosen, True), (chosen, False)):
        told = _told(schema, [name for name in names if name in known], texts)
        if told is not None and estimate(told) <= EXCERPT_TOKENS:
            return told
    return msgspec.json.encode({"required": required, "parameters": list(known)[:50]}).decode()


def _told(schema: Schema, names: Sequence[str], texts: bool) -> str | None:
    """An excerpt as JSON; None where it has no end in sight."""
    known, shortened = properties(schema), _Shortened(schema, texts)
    told: dict[str, Any] = {"required": _names(schema.get("required"))}
    told["properties"] = {name: shortened.part(_object(known[name]), _DEPTH) for name in names}
    if others := [name for name in known if name not in names]:
        told["otherParameters"] = others
    return None if shortened.is_endless else msgspec.json.encode(told).decode()


class _Shortened:
    """Schemas without what a caller does not need; references are put in, `_STEPS` times at most: they may go round in
    circles, many times over."""

    def __init__(self, whole: Schema, texts: bool) -> None:
        self._whole = whole
        self._texts = texts
        self._left = _STEPS

    @property
    def is_endless(self) -> bool:
        """Whether something is missing for want of steps."""
        return self._left < 0

    def part(self, schema: Schema, depth: int) -> Schema:
        """One schema, and those in it down to this depth."""
        self._left -= 1
        if self._left < 0:
            return {}
        short: dict[str, Any] = {}
        for key, value in _resolved(schema, self._whole).items():
            if key == "description":
                if self._texts and isinstance(value, str):
                    short[key] = value if len(value) <= MAX_TEXT else value[:MAX_TEXT].rsplit(" ", 1)[0] + "…"
            elif key in ("title", "$schema", "$defs", "definitions", "examples"):
                continue
            elif depth and isinstance(value, dict):
                short[key] = self._inner(key, cast("dict[str, Any]", value), depth - 1)
            elif depth and isinstance(value, list) and key in ("anyOf", "oneOf", "allOf"):
                short[key] = [self.part(_object(each), depth - 1) for each in cast("list[object]", value)]
            elif not isinstance(value, dict):
                short[key] = value
        return short

    def _inner(self, key: str, value: dict[str, Any], depth: int) -> Schema:
        if key == "properties":
            return {name: self.part(_object(of), depth) for name, of in value.items()}
        return self.part(value, depth)


def _resolved(part: Schema, whole: Schema) -> Schema:
    """The schema a local reference stands for, or the schema itself."""
    reference = part.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return part
    found: object = whole
    for step in reference[2:].split("/"):
        found = _object(found).get(step)
    return {**_object(found), **{key: value for key, value in part.items() if key != "$ref"}}


_Path = tuple[str | int, ...]
"""The names and places that lead to a value; the first is a parameter's name, whatever letters that has."""

_Wrong = Iterator[tuple[_Path, str]]
"""Where something is wrong, and why."""


class _Look:
    """One look at arguments, which takes `_STEPS` at most: schemas may go round in circles, many times over."""

    def __init__(self, whole: Schema) -> None:
        self._whole = whole
        self._left = _STEPS

    def into(self, schema: Schema, value: Mapping[str, Any], at: _Path, levels: int = _LEVELS) -> _Wrong:
        """What is wrong with an object's members."""
        known = properties(schema)
        kind = "field" if at else "parameter"
        others = schema.get("additionalProperties")
        for name in _names(schema.get("required")):
            if name not in value:
                yield (*at, name), "required and missing"
        for name, each in value.items():
            if name in known:
                yield from self._at(_object(known[name]), each, (*at, name), levels)
            elif near := difflib.get_close_matches(name, list(known), n=1, cutoff=0.6):
                yield (*at, near[0]), f"is the name the tool knows, not {name!r}"
            elif others is False and "patternProperties" not in schema:
                yield (*at, name), f"the tool knows no such {kind}"
            elif inner := _object(others):
                yield from self._at(inner, each, (*at, name), levels)

    def _at(self, schema: Schema, value: Any, at: _Path, levels: int) -> _Wrong:
        """What is wrong with a value."""
        self._left -= 1
        schema = _resolved(schema, self._whole)
        if why := _mismatch(schema, value):
            yield at, why
            return
        if levels <= 0 or self._left <= 0:
            return
        for part in _parts(schema.get("allOf")):
            yield from self._at(part, value, at, levels - 1)
        for word in ("anyOf", "oneOf"):
            if alternatives := _parts(schema.get(word)):
                yield from self._none_of(alternatives, value, at, levels - 1)
        if isinstance(value, dict):
            yield from self.into(schema, cast("dict[str, Any]", value), at, levels - 1)
        elif isinstance(value, list):
            items, first = _object(schema.get("items")), _parts(schema.get("prefixItems"))
            for place, each in enumerate(cast("list[Any]", value)[: max(self._left, 0)]):
                part = first[place] if place < len(first) else items
                yield from self._at(part, each, (*at, place), levels - 1)

    def _none_of(self, alternatives: Sequence[Schema], value: Any, at: _Path, levels: int) -> _Wrong:
        """What is wrong where a value fits no alternative: with the one of its own type, if that is one, else with
        all."""
        wrong = [list(islice(self._at(each, value, at, levels), MAX_FAULTS)) for each in alternatives if self._left > 0]
        if self._left <= 0 or not all(wrong):
            return
        inside = [found for found in wrong if found[0][0] != at]
        if len(inside) == 1:
            yield from inside[0]
        else:
            yield at, "fits none of the alternatives: " + "; ".join(dict.fromkeys(found[0][1] for found in wrong))


def _mismatch(schema: Schema, value: Any) -> str:
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        return "none of the choices"
    if "const" in schema and value != schema["const"]:
        return f"must be {msgspec.json.encode(schema['const']).decode()[:MAX_TEXT]}"
    kinds = _names(schema.get("type")) if isinstance(schema.get("type"), list) else [schema.get("type")]
    known = [kind for kind in kinds if kind in _TYPES]
    if len(known) == len(kinds) and not any(_is(kind, value) for kind in known):
        return f"must be of type {' or '.join(known)}"
    if isinstance(value, bool) or not isinstance(value, (int, float, str, list)):
        return ""
    if isinstance(value, (int, float)):
        return _out_of(schema, value, "minimum", "maximum", "")
    if isinstance(value, str):
        return _out_of(schema, len(value), "minLength", "maxLength", " characters")
    return _out_of(schema, len(cast("list[Any]", value)), "minItems", "maxItems", " items")


def _out_of(schema: Schema, size: float, least: str, most: str, what: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if _is("number", low) and size < cast("float", low):
        return f"must be at least {low}{what}"
    if _is("number", high) and size > cast("float", high):
        return f"must be at most {high}{what}"
    return ""


def _spelled(at: _Path) -> str:
    return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in at)[1:]


def _parts(value: object) -> list[Schema]:
    return [_object(each) for each in cast("list[object]", value)] if isinstance(value, list) else []


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
