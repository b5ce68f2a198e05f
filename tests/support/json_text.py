"""Hypothesis strategies for JSON as text: in spellings no encoder would choose, so that a test can compare bytes.

Numbers of any size and form, needless escapes, whitespace between tokens, unknown members, deep nesting. Keys of one
object are told apart by their value, not by their spelling.
"""

from __future__ import annotations

import json

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", "/": "\\/"}
_LETTERS = st.characters(codec="utf-8")

spaces: SearchStrategy[str] = st.text(" \n\r\t", max_size=2)


def _number(sign: str, whole: str, fraction: str, exponent: str) -> str:
    return f"{sign}{whole}{fraction}{exponent}"


numbers: SearchStrategy[str] = st.builds(
    _number,
    st.sampled_from(("", "-")),
    st.one_of(st.just("0"), st.from_regex(r"[1-9][0-9]{0,24}", fullmatch=True)),
    st.one_of(st.just(""), st.from_regex(r"\.[0-9]{1,24}", fullmatch=True)),
    st.one_of(st.just(""), st.from_regex(r"[eE][+-]?[0-9]{1,2}", fullmatch=True)),
)
"""A number as JSON allows it: 64 bits and more, `1E5`, `-0.0`, exponents."""


def _spelled(letter: str, escaped: bool) -> str:
    if letter in _SHORT and (escaped or letter != "/"):
        return _SHORT[letter]
    if escaped or letter < " ":
        units = letter.encode("utf-16-be")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    return letter


strings: SearchStrategy[str] = st.lists(st.builds(_spelled, _LETTERS, st.booleans()), max_size=8).map(
    lambda letters: '"' + "".join(letters) + '"'
)
"""A string in which any letter may be escaped, also one that need not be."""

scalars: SearchStrategy[str] = st.one_of(numbers, strings, st.sampled_from(("true", "false", "null")))


@st.composite
def _joined(draw: st.DrawFn, opening: str, items: list[str], closing: str) -> str:
    spaced = [draw(spaces) + item + draw(spaces) for item in items]
    return opening + ",".join(spaced) + (closing if items else draw(spaces) + closing)


@st.composite
def _object(draw: st.DrawFn, values: SearchStrategy[str], keys: SearchStrategy[str] = strings) -> str:
    names = draw(st.lists(keys, max_size=4, unique_by=json.loads))
    members = [f"{name}{draw(spaces)}:{draw(spaces)}{draw(values)}" for name in names]
    return draw(_joined("{", members, "}"))


@st.composite
def _array(draw: st.DrawFn, values: SearchStrategy[str]) -> str:
    return draw(_joined("[", draw(st.lists(values, max_size=4)), "]"))


values: SearchStrategy[str] = st.recursive(
    scalars, lambda inner: st.one_of(_object(inner), _array(inner)), max_leaves=12
)
"""Any JSON value."""

objects: SearchStrategy[str] = _object(values)
"""A JSON object with members nobody knows."""

ids: SearchStrategy[str] = st.one_of(numbers, strings)
"""What may be the id of a message."""


@st.composite
def object_of(draw: st.DrawFn, **members: SearchStrategy[str]) -> str:
    """A JSON object with these members among others, in any order."""
    others = draw(
        st.lists(strings.filter(lambda name: json.loads(name) not in members), max_size=3, unique_by=json.loads)
    )
    told = [(f'"{name}"', draw(value)) for name, value in members.items()] + [(name, draw(values)) for name in others]
    parts = [f"{name}{draw(spaces)}:{draw(spaces)}{value}" for name, value in draw(st.permutations(told))]
    return draw(_joined("{", parts, "}"))


def nested(depth: int) -> str:
    """An array in an array, so many times."""
    return "[" * depth + "]" * depth
