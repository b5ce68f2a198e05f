"""Which parameters a schema mirrors, and what their headers say."""

from __future__ import annotations

from typing import Any

import pytest

from hub_gateway.wire.param_headers import InvalidAnnotation, ParamHeader, find, mirrored, mismatch

MARK = {"type": "string", "x-mcp-header": "Region"}


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_marks_are_found_along_properties_only() -> None:
    deep = schema(region=MARK, where=schema(zone={"type": "integer", "x-mcp-header": "Zone"}), plain={"type": "string"})
    assert find(deep) == (
        ParamHeader(("region",), "mcp-param-region"),
        ParamHeader(("where", "zone"), "mcp-param-zone"),
    )


@pytest.mark.parametrize(
    "bad",
    (
        schema(a={"type": "string", "x-mcp-header": ""}),
        schema(a={"type": "string", "x-mcp-header": "two words"}),
        schema(a={"type": "string", "x-mcp-header": "a\r\nEvil"}),
        schema(a={"type": "string", "x-mcp-header": "a\n"}),
        schema(a={"type": "string", "x-mcp-header": 7}),
        schema(a={"type": "string", "x-mcp-header": "\u00e9"}),
        schema(a=MARK, b={"type": "string", "x-mcp-header": "REGION"}),
        schema(a={"type": "number", "x-mcp-header": "A"}),
        schema(a={"type": "array", "x-mcp-header": "A"}),
        schema(a={"type": ["string", "null"], "x-mcp-header": "A"}),
        schema(a={"x-mcp-header": "A"}),
        schema(a={"type": "array", "items": MARK}),
        schema(a={"type": "array", "items": schema(b=MARK)}),
        schema(a={"anyOf": [MARK]}),
        {"type": "object", "oneOf": [schema(a=MARK)]},
        {"type": "object", "then": schema(a=MARK)},
        {"type": "object", "$defs": {"a": MARK}},
        {"type": "object", "additionalProperties": MARK},
        {"type": "object", "x-mcp-header": "A"},
    ),
)
def test_marks_that_break_the_rules_make_the_tool_invalid(bad: object) -> None:
    with pytest.raises(InvalidAnnotation):
        find(bad)


def test_what_only_looks_like_a_mark_is_none() -> None:
    assert find(schema(a={"type": "string", "default": {"x-mcp-header": "A"}, "enum": [{"x-mcp-header": "B"}]})) == ()
    named = schema(**{"x-mcp-header": {"type": "string"}})
    assert find(named) == ()
    assert find(True) == ()


WANTED = (ParamHeader(("a",), "mcp-param-a"),)


@pytest.mark.parametrize(
    ("value", "header"),
    (
        ("us-west1", "us-west1"),
        ("", "=?base64??="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("Hello, \u4e16\u754c", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        (42, "42"),
        (42.0, "42"),
        (True, "true"),
        (False, "false"),
    ),
)
def test_values_are_encoded_and_understood_again(value: object, header: str) -> None:
    assert mirrored(WANTED, {"a": value}) == [("mcp-param-a", header)]
    assert mismatch(WANTED, {"a": value}, {"mcp-param-a": header}) is None


def test_a_number_of_thousands_of_digits_is_another_one() -> None:
    assert "does not match" in (mismatch(WANTED, {"a": 42}, {"mcp-param-a": "9" * 5_000}) or "")
    assert mismatch(WANTED, {"a": 10**4_000}, {"mcp-param-a": "1" + "0" * 4_000}) is None


@pytest.mark.parametrize("value", (None, [1], {"b": 1}))
def test_what_is_no_primitive_has_no_header(value: object) -> None:
    assert mirrored(WANTED, {"a": value}) == []
    assert mismatch(WANTED, {"a": value}, {}) is None
