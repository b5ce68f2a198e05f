"""Tool parameters that are mirrored into HTTP headers.

Owns `x-mcp-header` (2026-07-28 transports/streamable-http §Custom Headers from Tool Parameters): which parameters a
schema names, what their headers say for given arguments, and whether a request's headers say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from hub_gateway.wire.headers import PARAM_PREFIX, decode_value, encode_value

ANNOTATION = "x-mcp-header"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL = re.compile(r"-?[0-9]{1,400}(\.0+)?")
"""Longer ones are the same only to the letter: Python reads no number of thousands of digits."""
_TYPES = ("string", "integer", "boolean")
_DATA = frozenset({"default", "examples", "const", "enum"})
"""Keywords whose values are data and hold no schema."""


class ParamHeader(NamedTuple):
    """One mirrored parameter: the chain of property names to it, and the header's lower-case name."""

    path: tuple[str, ...]
    header: str


class InvalidAnnotation(ValueError):
    """A schema whose annotations break the rules; the tool is not to be offered."""


def find(schema: object) -> tuple[ParamHeader, ...]:
    """The mirrored parameters of an input schema.

    Raises:
        InvalidAnnotation: with the reason (§Schema Extension).
    """
    found: list[ParamHeader] = []
    for path, node in _nodes((), schema):
        if ANNOTATION not in node:
            continue
        value = node[ANNOTATION]
        if not path:
            raise InvalidAnnotation(f"{ANNOTATION} stands where no chain of properties leads")
        where = ".".join(path)
        if not isinstance(value, str) or not _TOKEN.fullmatch(value):
            raise InvalidAnnotation(f"{where}: {ANNOTATION} must be an HTTP token")
        if node.get("type") not in _TYPES:
            raise InvalidAnnotation(f"{where}: {ANNOTATION} needs the type string, integer or boolean")
        header = PARAM_PREFIX + value.lower()
        if any(other.header == header for other in found):
            raise InvalidAnnotation(f"{where}: {ANNOTATION} {value!r} stands twice")
        found.append(ParamHeader(path, header))
    return tuple(found)


def _nodes(path: tuple[str, ...] | None, node: object) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Every schema in a schema, with the chain of properties to it; None once another keyword lies between."""
    if isinstance(node, list):
        for each in cast("list[Any]", node):
            yield from _nodes(None, each)
    if not isinstance(node, dict):
        return
    schema = cast("dict[str, Any]", node)
    yield path, schema
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            for name, each in cast("dict[str, Any]", value).items():
                yield from _nodes(None if path is None else (*path, name), each)
        elif key in ("patternProperties", "$defs", "definitions", "dependentSchemas") and isinstance(value, dict):
            for each in cast("dict[str, Any]", value).values():
                yield from _nodes(None, each)
        elif key not in _DATA:
            yield from _nodes(None, value)


def mirrored(wanted: Sequence[ParamHeader], arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers for a call: those whose argument is there (§Client Behavior)."""
    headers: list[tuple[str, str]] = []
    for each in wanted:
        text = _text(_at(arguments, each.path))
        if text is not None:
            headers.append((each.header, encode_value(text)))
    return headers


def sent(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The `Mcp-Param-*` headers among those of a request."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers.items()
        if name.startswith(PARAM_PREFIX.encode())
    }


def mismatch(wanted: Sequence[ParamHeader], arguments: Mapping[str, Any], sent: Mapping[str, str]) -> str | None:
    """Why a request's headers do not say what its arguments say; None where they do (§Server Behavior for Custom
    Headers)."""
    for each in wanted:
        value = _at(arguments, each.path)
        text, header = _text(value), sent.get(each.header)
        if text is None and header is not None:
            return f"{each.header} is sent, but the argument {'.'.join(each.path)} is not"
        if text is None:
            continue
        if header is None:
            return f"{each.header} is missing for the argument {'.'.join(each.path)}"
        said = decode_value(header)
        if said is None or not _same(value, text, said):
            return f"{each.header} does not match the argument {'.'.join(each.path)}"
    return None


def _same(value: object, text: str, said: str) -> bool:
    if isinstance(value, int) and not isinstance(value, bool) and _DECIMAL.fullmatch(said):
        return int(said.partition(".")[0]) == value
    return said == text


def _at(arguments: Mapping[str, Any], path: Sequence[str]) -> object:
    value: object = arguments
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = cast("Mapping[str, object]", value).get(name)
    return value


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int) else None
