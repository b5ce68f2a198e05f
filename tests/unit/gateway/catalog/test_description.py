"""Definitions of any shape are read, and what is not well-formed counts as not said."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.description import (
    MAX_LINE,
    Description,
    Parameter,
    describe,
    first_sentence,
    short_signature,
    signature,
)
from hub_gateway.catalog.entry import Entry, EntryKind
from tests.support import json_text

SCHEMA = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "What to look for"},
        "kind": {"enum": ["a", "b"]},
        "many": {"type": "array", "items": {"type": "integer"}},
        "either": {"type": ["string", "null"]},
        "any": {},
    },
    "required": ["query"],
}


def _entry(raw: bytes, kind: EntryKind = EntryKind.TOOL) -> Entry:
    return Entry(
        kind=kind,
        upstream_name="a",
        local_name="search",
        public_name="a__search",
        listed_raw=raw,
        mirrors=(),
        digest="digest",
    )


def test_a_tool_is_read() -> None:
    raw = msgspec.json.encode(
        {"name": "search", "title": "Search", "description": "Finds. And more.", "inputSchema": SCHEMA}
    )
    described = describe(_entry(raw))
    assert (described.title, described.text) == ("Search", "Finds. And more.")
    assert described.parameters[0] == Parameter("query", "string", "What to look for", True)
    assert [(p.name, p.type, p.required) for p in described.parameters[1:]] == [
        ("kind", "a|b", False),
        ("many", "integer[]", False),
        ("either", "string|null", False),
        ("any", "any", False),
    ]
    assert signature(_entry(raw)) == "a__search(query: string, kind?, many?, either?, any?): Finds."
    assert short_signature(_entry(raw)) == "a__search(query: string)"


def test_a_signature_counts_what_it_does_not_name() -> None:
    schema = {"properties": {f"p{n}": {"type": "integer"} for n in range(9)}, "required": ["p8"]}
    entry = _entry(msgspec.json.encode({"name": "search", "title": "Search", "inputSchema": schema}))
    assert signature(entry) == "a__search(p8: integer, p0?, p1?, p2?, p3?, …+4): Search"


def test_a_signature_is_one_line_whatever_its_server_wrote() -> None:
    names = ["x\n\nb__delete(all: true)", "y\r\u2028\x1b[2J", *(f"p{n}" for n in range(5_000))]
    schema = {"properties": {name: {"type": "a\nb"} for name in names}, "required": names}
    description = "Finds\rmore\x00 things. Yes."
    entry = _entry(msgspec.json.encode({"name": "search", "description": description, "inputSchema": schema}))
    for line in (signature(entry), short_signature(entry)):
        assert line.isprintable()
        assert line.startswith("a__search(x b__delete(all: true): a b, y [2J: a b, p0: a b")
        assert len(line) <= MAX_LINE + 1


def test_long_choices_are_left_to_the_schema() -> None:
    choices = [f"choice-{n}" for n in range(20)]
    schema = {"properties": {"of": {"type": "string", "enum": choices}}, "required": ["of"]}
    assert signature(_entry(msgspec.json.encode({"name": "x", "inputSchema": schema}))) == "a__search(of: string)"


def test_a_prompt_s_arguments_are_parameters() -> None:
    raw = msgspec.json.encode({"name": "p", "arguments": [{"name": "city", "required": True}, {"name": "day"}, {}, 1]})
    assert describe(_entry(raw, EntryKind.PROMPT)).parameters == (
        Parameter("city", "string", "", True),
        Parameter("day", "string", "", False),
    )


MEMBERS = {
    "title": json_text.values,
    "description": json_text.values,
    "inputSchema": st.one_of(
        json_text.values,
        json_text.object_of(
            {"properties": st.one_of(json_text.values, json_text.objects), "required": json_text.values}
        ),
    ),
    "arguments": json_text.values,
}


@given(json_text.object_of(MEMBERS))
def test_a_definition_of_any_shape_is_described(definition: str) -> None:
    entry = _entry(definition.encode())
    assert isinstance(describe(entry), Description)
    for line in (signature(entry), short_signature(entry)):
        assert line.startswith("a__search(")


@pytest.mark.parametrize(
    "raw",
    (
        b'{"description":"x","inputSchema":{"properties":{"n":{"maximum":1e999}}}}',
        b'{"description":"x","inputSchema":' + json_text.nested(100_000).encode() + b"}",
        b"[]",
    ),
)
def test_what_python_cannot_hold_says_nothing(raw: bytes) -> None:
    assert describe(_entry(raw)) == Description()


@given(st.text(max_size=400), st.integers(20, 200))
def test_a_first_sentence_is_short(text: str, limit: int) -> None:
    sentence = first_sentence(text, limit)
    assert len(sentence) <= limit + 1
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    (
        ("Finds v1.2 things. Then more.", "Finds v1.2 things."),
        ("One\nTwo", "One"),
        ("", ""),
        ("  Padded!  Next", "Padded!"),
        ("word " * 50, ("word " * 24).rstrip() + "…"),
    ),
)
def test_first_sentences(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence
