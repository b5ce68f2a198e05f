"""A tool's own hints, with the protocol's defaults."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from hub_gateway.catalog.effect import Effect, effect
from hub_gateway.catalog.entry import Offering
from tests.support import json_text
from tests.unit.gateway.catalog.offerings import catalog


def _effect(definition: bytes) -> Effect:
    (entry,) = catalog({"a": Offering(tools=(definition,))}).entries
    return effect(entry)


@pytest.mark.parametrize(
    ("hints", "wanted"),
    (
        (None, Effect.DESTRUCTIVE),
        ({}, Effect.DESTRUCTIVE),
        ({"readOnlyHint": True}, Effect.READ),
        ({"readOnlyHint": True, "destructiveHint": True}, Effect.READ),
        ({"readOnlyHint": False}, Effect.DESTRUCTIVE),
        ({"destructiveHint": False}, Effect.WRITE),
        ({"destructiveHint": True}, Effect.DESTRUCTIVE),
        ({"readOnlyHint": "yes"}, Effect.DESTRUCTIVE),
        ([], Effect.DESTRUCTIVE),
    ),
)
def test_an_effect_is_what_the_hints_say(hints: object, wanted: Effect) -> None:
    definition = {"name": "x"} if hints is None else {"name": "x", "annotations": hints}
    assert _effect(msgspec.json.encode(definition)) is wanted


@given(json_text.values)
def test_hints_of_any_shape_are_read(hints: str) -> None:
    assert _effect(b'{"name":"x","annotations":' + hints.encode() + b"}") in Effect
