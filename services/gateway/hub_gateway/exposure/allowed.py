"""The allowed entries of one exposure, ready to be picked from by what an audience has opened.

Owns the meaning of an opened set. Prompt-based mode holds back tools only. With a thousand sessions that each opened a
few of thousands of tools, a pick must cost what was opened and not what there is.
"""

from __future__ import annotations

from collections.abc import Iterable

from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.exposure.audience import Batch, Opened


class Allowed:
    """Allowed entries with their categories, in the catalog's order: tools first."""

    def __init__(self, entries: Iterable[tuple[Entry, str]]) -> None:
        self._tools: list[Entry] = []
        self._others: list[Entry] = []
        self._by_name: dict[str, int] = {}
        self._by_upstream: dict[str, list[int]] = {}
        self._by_category: dict[str, list[int]] = {}
        for entry, category in entries:
            if entry.kind is not EntryKind.TOOL:
                self._others.append(entry)
                continue
            place = len(self._tools)
            self._tools.append(entry)
            self._by_name[entry.public_name] = place
            self._by_upstream.setdefault(entry.upstream_name, []).append(place)
            self._by_category.setdefault(category, []).append(place)

    def opened(self, opened: Opened) -> list[Entry]:
        """The entries an audience sees that has opened this much: what is there at the start in the catalog's order,
        and behind it what each opening added, in the same."""
        if opened.everything:
            return self._tools + self._others
        places = self._places(Batch(opened.categories, opened.public_names))
        for upstream_name in opened.upstreams:
            places.update(self._by_upstream.get(upstream_name, ()))
        tools = sorted(places)
        for batch in opened.later:
            added = self._places(batch) - places
            tools += sorted(added)
            places |= added
        return [self._tools[place] for place in tools] + self._others

    def _places(self, batch: Batch) -> set[int]:
        places = {self._by_name[name] for name in batch.public_names if name in self._by_name}
        for category in batch.categories:
            places.update(self._by_category.get(category, ()))
        return places
