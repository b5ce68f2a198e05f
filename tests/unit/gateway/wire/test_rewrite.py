"""Edits of an object touch the members they name; every other one keeps its bytes and its place."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from hub_gateway.wire import rewrite
from tests.support import json_text

KEYS = st.text(st.characters(codec="utf-8"), max_size=6)


def _cut(object_raw: bytes) -> list[tuple[str, bytes]]:
    return [(key, bytes(value)) for key, value in rewrite.members(object_raw).items()]


@given(json_text.objects)
def test_members_keep_their_bytes_and_order(text: str) -> None:
    assert [key for key, _ in _cut(text.encode())] == list(json.loads(text))
    for key, raw in _cut(text.encode()):
        assert raw.decode() in text
        assert json.loads(raw) == json.loads(text)[key]


@given(json_text.objects)
def test_join_is_the_inverse_of_members(text: str) -> None:
    joined = rewrite.join(rewrite.members(text.encode()))
    assert _cut(joined) == _cut(text.encode())
    assert json.loads(joined) == json.loads(text)


@given(json_text.objects, KEYS, json_text.values)
def test_replaced_leaves_all_others_as_they_were(text: str, key: str, value: str) -> None:
    before, after = _cut(text.encode()), _cut(rewrite.replaced(text.encode(), key, value.encode()))
    assert [pair for pair in after if pair[0] != key] == [pair for pair in before if pair[0] != key]
    assert (key, value.encode()) in after
    places = [name for name, _ in before]
    assert [name for name, _ in after] == (places if key in places else [*places, key])


@given(json_text.objects, json_text.spaces)
def test_prepended_keeps_every_byte_behind_the_head(text: str, before: str) -> None:
    whole = rewrite.prepended((before + text).encode(), b'"head":1,"second":2')
    assert whole.startswith(b'{"head":1,"second":2')
    assert whole.decode().endswith(text[1:].lstrip())
    head: list[tuple[str, bytes]] = [("head", b"1"), ("second", b"2")]
    rest = dict(_cut(text.encode()))
    if not rest.keys() & {"head", "second"}:
        assert _cut(whole) == [*head, *rest.items()]


@given(st.lists(json_text.values, max_size=5))
def test_items_keep_their_bytes(values: list[str]) -> None:
    assert [bytes(raw) for raw in rewrite.items(f"[{','.join(values)}]".encode())] == [v.encode() for v in values]


@given(json_text.values)
def test_text_is_a_string_or_nothing(value: str) -> None:
    decoded = json.loads(value)
    assert rewrite.text(Raw(value.encode())) == (decoded if isinstance(decoded, str) else None)


@given(KEYS)
def test_encoded_text_is_read_back(text: str) -> None:
    assert rewrite.text(rewrite.encode_text(text)) == text


def test_nothing_is_no_text_and_no_members() -> None:
    assert rewrite.text(None) is None
    assert rewrite.text(Raw(b"")) is None
    assert rewrite.members(Raw(b"")) == {}


@pytest.mark.parametrize("raw", (b"[]", b"1", b"null", b'"x"', b"{", b'{"a":%b%b}' % (b"[" * 2_000, b"]" * 2_000)))
def test_what_is_no_object_has_no_members(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        rewrite.members(raw)
