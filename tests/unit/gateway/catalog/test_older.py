"""What an older client cannot have in a definition is left out of it, and all else keeps its bytes."""

from __future__ import annotations

import pytest

from hub_gateway.catalog import older


@pytest.mark.parametrize(
    "schema",
    ('{"type":"array","items":{}}', '{"type":["object","null"]}', "{}", '{"anyOf":[{"type":"object"}]}'),
)
def test_an_output_schema_of_anything_but_an_object_is_left_out(schema: str) -> None:
    raw = f'{{"name":"a","outputSchema":{schema},"x": 1E5}}'.encode()
    assert older.tool(raw) == b'{"name":"a","x":1E5}'


@pytest.mark.parametrize(
    "raw",
    (
        b'{"name":"a", "outputSchema":{"properties":{},"type":"object"}, "x": 1E5}',
        b'{"name":"outputSchema", "description":"\\"outputSchema\\""}',
        b'{"name":"a", "_meta":{"outputSchema":[]}}',
        b'{"name":"a", "outputSchema":5}',
    ),
)
def test_every_other_definition_is_as_it_came(raw: bytes) -> None:
    assert older.tool(raw) == raw
