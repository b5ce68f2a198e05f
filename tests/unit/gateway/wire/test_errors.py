"""Error objects: spelled in one way, read leniently."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from hub_gateway.wire.errors import INTERNAL_ERROR, error_object, read_error
from tests.support import json_text


def test_an_error_object_is_read_back() -> None:
    raw = error_object(-32602, "no such tool", {"name": "x"})
    assert json.loads(raw) == {"code": -32602, "message": "no such tool", "data": {"name": "x"}}
    read = read_error(raw)
    assert (read.code, read.message, bytes(read.data)) == (-32602, "no such tool", b'{"name":"x"}')


def test_data_that_is_none_is_left_out() -> None:
    assert json.loads(error_object(-32000, "down")) == {"code": -32000, "message": "down"}


@given(json_text.values)
def test_any_value_is_read(value: str) -> None:
    assert isinstance(read_error(value.encode()).code, int)


@pytest.mark.parametrize("raw", (b"", b"[]", b'{"code":"x"}', b"{"))
def test_a_malformed_error_is_an_internal_one(raw: bytes) -> None:
    assert read_error(raw).code == INTERNAL_ERROR
