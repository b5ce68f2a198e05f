"""Hypothesis strategies for JSON as text: in spellings no encoder would choose, so that a test can compare bytes.

Numbers of any size and form, needless escapes, whitespace between tokens, unknown members, deep nesting. Keys of one
object are told apart by their value, not by their spelling.
"""

from __future__ import annotations

import json

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_NUMBERS = ("0", "-0", "-0.0", "1E5", "1e+05", "1.0", "12345678901234567890", "0.1e-7", "-9007199254740993", "1.50")
_FRAGMENTS = (
    '\\"',
    "\\\\",
    "\\/",
    "/",
    "\\n",
    "\\u00e9",
    "é",
    "\\ud83d\\ude00",
    "😀",
    "\\u2028",
    "\u2028",
    "\\u0000",
    "a",
)

spaces: SearchStrategy[str] = st.sampled_from(("", "", " ", "\r\n", "\t \n"))
"""What may stand between two tokens."""

numbers: SearchStrategy[str] = st.one_of(st.sampled_from(_NUMBERS), st.integers().map(str))
"""A number as JSON allows it: 64 bits and more, `1E5`, `-0.0`, exponents."""

strings: SearchStrategy[str] = st.one_of(
    st.lists(st.sampled_from(_FRAGMENTS), max_size=4).map(lambda parts: '"' + "".join(parts) + '"'),
    st.text(st.characters(codec="utf-8"), max_size=6).map(json.dumps),
    st.text(st.characters(codec="utf-8"), max_size=6).map(lambda text: json.dumps(text, ensure_ascii=False)),
)
"""A string in which any letter may be escaped, also one that need not be."""

scalars: SearchStrategy[str] = st.one_of(numbers, strings, st.sampled_from(("true", "false", "null")))


def _object_text(members: dict[str, tuple[str, str]], space: str) -> str:
    parts = [f"{space}{spelled}{space}:{value}{space}" for spelled, value in members.values()]
    return "{" + ",".join(parts) + space + "}"


def _told_apart(members: list[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {json.loads(name): (name, value) for name, value in members}


def _array_text(items: list[str], space: str) -> str:
    return "[" + ",".join(f"{space}{item}{space}" for item in items) + "]"


def _object(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    members = st.lists(st.tuples(strings, inner), max_size=3).map(_told_apart)
    return st.builds(_object_text, members, spaces)


def _array(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    return st.builds(_array_text, st.lists(inner, max_size=3), spaces)


values: SearchStrategy[str] = st.recursive(
    scalars, lambda inner: st.one_of(_object(inner), _array(inner)), max_leaves=8
)
"""Any JSON value."""

objects: SearchStrategy[str] = _object(values)
"""A JSON object with members nobody knows."""

ids: SearchStrategy[str] = st.one_of(numbers, strings)
"""What may be the id of a message."""


def object_of(members: dict[str, SearchStrategy[str]]) -> SearchStrategy[str]:
    """A JSON object with these members among others, in any order."""

    def told(known: dict[str, str], others: list[tuple[str, str]], turn: int, space: str) -> str:
        named = {name: (json.dumps(name), value) for name, value in known.items()}
        pairs = list({**_told_apart(others), **named}.items())
        turn %= max(len(pairs), 1)
        return _object_text(dict(pairs[turn:] + pairs[:turn]), space)

    others = st.lists(st.tuples(strings, values), max_size=3)
    return st.builds(told, st.fixed_dictionaries(members), others, st.integers(0, 8), spaces)


def nested(depth: int) -> str:
    """An array in an array, so many times."""
    return "[" * depth + "]" * depth
