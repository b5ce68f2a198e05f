"""What a call of a tool may do, as far as the tool says so itself.

Pure. Owns the reading of `annotations` with the protocol's defaults (2025-11-25 and 2026-07-28 schema,
`ToolAnnotations`). They are an upstream's own words: good for asking a person in time, no proof of anything.
"""

from __future__ import annotations

from enum import Enum

from hub_gateway.catalog.description import describe
from hub_gateway.catalog.entry import Entry


class Effect(Enum):
    """How far a call may go."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"


def effect(entry: Entry) -> Effect:
    """The effect of a tool's call; one that says nothing well-formed of itself may be destructive."""
    hints = describe(entry).hints
    if hints.read_only:
        return Effect.READ
    return Effect.WRITE if hints.destructive is False else Effect.DESTRUCTIVE
