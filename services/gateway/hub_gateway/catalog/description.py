"""What a definition says of itself, for ranking and for models: texts and parameters, read leniently.

Pure. A definition may be of any shape; what is not well-formed counts as not said.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, cast

import msgspec

from hub_gateway.catalog.entry import Entry
from hub_gateway.wire import rewrite

OPTIONAL_SHOWN = 4
"""Optional parameters a signature names; a schema tells of the others."""

MAX_TYPE = 60
"""Characters of a type in a signature: what is longer is an enumeration better read in the schema."""

MAX_LINE = 1_000
"""Characters of a signature."""

_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_FOR_MODELS = ("name", "description", "inputSchema")
_decoder = msgspec.json.Decoder()


class Parameter(NamedTuple):
    """One parameter of a tool, or argument of a prompt."""

    name: str
    type: str
    description: str
    required: bool


class Hints(NamedTuple):
    """`annotations` of a tool (2025-11-25 and 2026-07-28 schema, `ToolAnnotations`); None where it does not say."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None


class Description(NamedTuple):
    """What an entry says of itself; "" and () where it says nothing."""

    title: str = ""
    text: str = ""
    parameters: tuple[Parameter, ...] = ()
    hints: Hints = Hints()


def describe(entry: Entry) -> Description:
    """Read an entry's title, description and parameters. One that Python cannot hold (a number out of range, nesting
    too deep) says nothing."""
    try:
        definition = _object(_decoder.decode(entry.listed_raw))
    except (msgspec.MsgspecError, RecursionError):
        return Description()
    schema = _object(definition.get("inputSchema"))
    required = _list(schema.get("required"))
    parameters = [
        Parameter(name, _type_of(_object(of)), _text(_object(of).get("description")), name in required)
        for name, of in _object(schema.get("properties")).items()
    ]
    for argument in map(_object, _list(definition.get("arguments"))):
        if name := _text(argument.get("name")):
            needed = argument.get("required") is True
            parameters.append(Parameter(name, "string", _text(argument.get("description")), needed))
    said = _object(definition.get("annotations"))
    hints = Hints(*(_flag(said.get(f"{word}Hint")) for word in ("readOnly", "destructive", "idempotent", "openWorld")))
    return Description(_text(definition.get("title")), _text(definition.get("description")), tuple(parameters), hints)


def signature(entry: Entry) -> str:
    """A tool as one line for a model: `name(needed: type, other?, …+3): First sentence.`

    Required parameters have their types; optional ones stand by name alone, and past a few are only counted.
    """
    described = describe(entry)
    optional = [f"{p.name}?" for p in described.parameters if not p.required]
    shown = optional[:OPTIONAL_SHOWN]
    rest = [f"…+{len(optional) - len(shown)}"] if len(optional) > len(shown) else []
    sentence = first_sentence(described.text or described.title)
    return _one_line(_call(entry, described, shown + rest) + (f": {sentence}" if sentence else ""))


def short_signature(entry: Entry) -> str:
    """The same with the required parameters only."""
    return _one_line(_call(entry, describe(entry), []))


def _call(entry: Entry, described: Description, optional: list[str]) -> str:
    needed = [f"{p.name}: {p.type}" for p in described.parameters if p.required]
    return f"{entry.public_name}({', '.join(needed + optional)})"


def _one_line(text: str) -> str:
    """What an upstream wrote, in such a way that no part of it passes for a line of the hub's."""
    line = _BREAKS.sub(" ", text)
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + "…"


def for_models(definition_raw: bytes) -> str:
    """What clients give a model of a tool's definition, as JSON: name, description and input schema."""
    try:
        members = rewrite.members(definition_raw)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return rewrite.join({key: raw for key, raw in members.items() if key in _FOR_MODELS}).decode(errors="replace")


def first_sentence(text: str, limit: int = 120) -> str:
    """The first sentence, cut at a word where it is longer than `limit` characters."""
    sentence = re.split(r"(?<=[.!?])\s|(?<=[。！？])|\n", text.strip(), maxsplit=1)[0]
    return sentence if len(sentence) <= limit else sentence[:limit].rsplit(" ", 1)[0] + "…"


def _type_of(schema: dict[str, Any]) -> str:
    choices = "|".join(map(str, _list(schema.get("enum"))))
    if choices and len(choices) <= MAX_TYPE:
        return choices
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return "|".join(map(str, _list(cast(object, kind))))
    item = _text(_object(schema.get("items")).get("type"))
    return f"{item}[]" if kind == "array" and item else str(kind)


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
