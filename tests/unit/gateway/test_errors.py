"""The error tree: every error can be told to a client and over REST, and tells no more than it was given."""

from __future__ import annotations

import json

import pytest

from hub_gateway import errors
from hub_gateway.errors import ConfigError, HubError


def _tree(root: type[HubError]) -> list[type[HubError]]:
    return [root, *(each for child in root.__subclasses__() for each in _tree(child))]


TREE = [each for each in _tree(HubError) if each.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", TREE)
def test_an_error_has_a_code_a_status_and_a_word(kind: type[HubError]) -> None:
    fault = ConfigError(["x is wrong"]) if kind is ConfigError else kind("x is wrong")
    assert 400 <= kind.http_status < 600
    assert kind.rest_code == kind.rest_code.upper()
    told = json.loads(fault.error_raw)
    assert (told["code"], told["message"]) == (kind.code, "x is wrong")
    assert ("data" in told) == (kind is ConfigError)


def test_a_config_error_names_every_fault() -> None:
    fault = ConfigError(["a: one", "b: two"])
    assert str(fault) == "a: one; b: two"
    assert json.loads(fault.error_raw)["data"] == {"faults": ["a: one", "b: two"]}


def test_whose_fault_it_is_shows_in_the_status() -> None:
    for kind in TREE:
        if issubclass(kind, errors.CallerError | ConfigError):
            assert kind.http_status < 500
        elif kind is not HubError:
            assert kind.http_status >= 500
