"""What differs between two values of the same list: decides whether clients are told.

Pure. Compares what clients see, so a change of a description counts and a change of order upstream does not.
"""

from __future__ import annotations

from collections.abc import Iterable

from hub_gateway.catalog.entry import Entry, EntryKind


def listed(entries: Iterable[Entry]) -> dict[str, frozenset[bytes]]:
    """What is listed, per capability word: templates count as resources, as `list_changed` does."""
    seen: dict[str, set[bytes]] = {kind.capability: set() for kind in EntryKind}
    for entry in entries:
        seen[entry.kind.capability].add(entry.listed_raw)
    return {capability: frozenset(raws) for capability, raws in seen.items()}


def changed(old: dict[str, frozenset[bytes]], new: dict[str, frozenset[bytes]]) -> tuple[str, ...]:
    """The capability words whose lists differ, in a fixed order."""
    return tuple(capability for capability in new if new[capability] != old.get(capability))
