"""Enumerations on the path of every message, at the price of any other attribute.

Owns one decorator. Python 3.11 finds a member through a failing lookup and an exception, and hashes it in Python; later
versions have the first half of this themselves.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

E = TypeVar("E", bound=Enum)


def at_hand(kind: type[E]) -> type[E]:
    """Put the members into the class itself, and hash them by identity, which is how they compare."""
    for name, member in kind.__members__.items():
        type.__setattr__(kind, name, member)
    type.__setattr__(kind, "__hash__", object.__hash__)
    return kind
