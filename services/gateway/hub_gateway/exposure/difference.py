"""What another policy would change for an audience: how much is shown now and then, and which entries come and go.

Pure. Compares two views of one catalog; decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.exposure.view import View


class Difference(msgspec.Struct, frozen=True):
    """`now` and `then` have every kind, with 0 where there are none."""

    now: Mapping[EntryKind, int]
    then: Mapping[EntryKind, int]
    appear: Sequence[Entry]
    disappear: Sequence[Entry]


def difference(now: View, then: View) -> Difference:
    """What is visible in one view and not in the other, in the catalog's order."""
    return Difference(
        now=count(now),
        then=count(then),
        appear=[entry for entry in then.visible if not now.shows(entry)],
        disappear=[entry for entry in now.visible if not then.shows(entry)],
    )


def count(view: View) -> dict[EntryKind, int]:
    """How much of each kind is visible."""
    found = dict.fromkeys(EntryKind, 0)
    for entry in view.visible:
        found[entry.kind] += 1
    return found
