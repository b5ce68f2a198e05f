"""Header values: any text survives the way through a header."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub_gateway.wire.headers import decode_value, encode_value

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(TEXTS)
@example("")
@example(" padded ")
@example("=?base64?literal?=")
@example("tab\tinside")
@example("Hello, 世界")
def test_a_value_is_read_back(value: str) -> None:
    encoded = encode_value(value)
    assert encoded.isascii()
    assert encoded == encoded.strip()
    assert all(letter == "\t" or " " <= letter <= "~" for letter in encoded)
    assert decode_value(encoded) == value


@given(TEXTS)
def test_decoding_never_fails(value: str) -> None:
    decoded = decode_value(value)
    assert decoded is None or isinstance(decoded, str)


@pytest.mark.parametrize(
    ("value", "encoded"),
    (
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ),
)
def test_the_examples_of_the_specification(value: str, encoded: str) -> None:
    assert encode_value(value) == encoded


@pytest.mark.parametrize("value", ("=?base64?!!!?=", "=?base64?/w==?=", "na\u00efve", "a\x00b"))
def test_what_no_client_may_send_is_refused(value: str) -> None:
    assert decode_value(value) is None
