"""What an upstream offers now, over the one link or the two that lead to it.

Owns how the two are made one. Does not list: see `refresh`.
"""

from __future__ import annotations

import msgspec

from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.wire import rewrite

FIELDS = {
    EntryKind.TOOL: "tools",
    EntryKind.PROMPT: "prompts",
    EntryKind.RESOURCE: "resources",
    EntryKind.TEMPLATE: "templates",
}
"""The member of an offering that holds a kind."""


class Offered:
    """The offering of one supervisor. `known` is what its own link offered last, also while there is none."""

    def __init__(self, known: Offering) -> None:
        self.now = Offering()
        """What is offered: nothing while there is no link."""
        self.known = known
        self._also = Offering()
        """What is offered on a second link."""
        self._parts: tuple[Offering, Offering] | None = None
        """What `now` is made of."""

    def take(self, own: Offering) -> bool:
        """Offer this over the own link; whether it makes another offering."""
        self.known = own
        return self._unite()

    def also(self, other: Offering) -> bool:
        """Offer, after its own, what is offered on a second link; whether that makes another offering."""
        self._also, before = other, self.now
        return self._parts is not None and self._unite() and self.now != before

    def clear(self) -> None:
        """There is no link any more."""
        self.now, self._parts = Offering(), None

    def _unite(self) -> bool:
        parts = self.known, self._also
        if self._parts is not None and all(one is other for one, other in zip(parts, self._parts, strict=True)):
            return False
        self.now, self._parts = united(*parts), parts
        return True


def united(first: Offering, second: Offering) -> Offering:
    """What two links to one upstream offer: all of the first, and after it what only the second one names."""
    also: dict[str, tuple[bytes, ...]] = {}
    for kind in EntryKind:
        ours, theirs = first.of(kind), second.of(kind)
        if theirs != ours:
            known = {_key(kind, raw) for raw in ours}
            if more := tuple(raw for raw in theirs if _key(kind, raw) not in known):
                also[FIELDS[kind]] = (*ours, *more)
    return msgspec.structs.replace(first, **also) if also else first


def _key(kind: EntryKind, definition_raw: bytes) -> str | None:
    """What an entry is called; None where it cannot be read, which the catalog says of the first of its kind."""
    try:
        return rewrite.text(rewrite.members(definition_raw).get(kind.key))
    except msgspec.MsgspecError:
        return None
