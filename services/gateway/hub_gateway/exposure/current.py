"""The present exposure: catalog, verdicts and categories as one value, and the views made from it.

Owns which snapshot is current; it is swapped whole. Views are made on demand and kept per opened set.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import msgspec

from hub_gateway.catalog.entry import Entry
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.exposure.allowed import Allowed
from hub_gateway.exposure.audience import DIRECT, Opened
from hub_gateway.exposure.verdicts import EVERYTHING, Verdicts
from hub_gateway.exposure.view import Look, View

MAX_VIEWS = 256
"""Views kept; the one unused longest goes, and is made again when its audience asks."""


class Category(msgspec.Struct, frozen=True):
    """A category and where it comes from: `source` is pattern, mapping, llm or override. `keywords` are phrases of
    people who need the entry, by the LLM."""

    name: str
    confidence: float = 0.0
    source: str = "pattern"
    model: str = ""
    keywords: tuple[str, ...] = ()


UNCATEGORIZED = Category("other")


class Exposure(msgspec.Struct, frozen=True):
    """Everything that decides what can be seen. `categories` is keyed by an entry's digest and upstream."""

    catalog: Catalog
    verdicts: Verdicts = EVERYTHING
    categories: Mapping[tuple[str, str], Category] = {}
    most_used: tuple[str, ...] = ()
    """Public names of tools, the most called first, as they were when the catalog became this one."""

    def category(self, entry: Entry) -> Category:
        """The entry's category, `other` where none is known."""
        return self.categories.get((entry.upstream_name, entry.digest), UNCATEGORIZED)


class Current:
    """Holds the current exposure and hands out views of it."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.exposure = Exposure(Catalog((), {}))
        self.at_start = DIRECT
        """What an audience sees before it asked for anything; swapped with the policy."""
        self._views: OrderedDict[Opened, View] = OrderedDict()
        self._allowed: Allowed | None = None
        self._last: tuple[Opened, View] | None = None

    def swap(self, exposure: Exposure) -> None:
        """Make another exposure current; views of the old one stay valid for whoever still holds them."""
        self.exposure = exposure
        self._views = OrderedDict()
        self._allowed = None
        self._last = None

    def view(self, opened: Opened) -> View:
        """The view of an audience that has opened this much."""
        last = self._last
        if last is not None and last[0] is opened:  # one audience makes most calls, and hashing it costs more than this
            return last[1]
        found = self._views.get(opened)
        if found is not None:
            self._views.move_to_end(opened)
            self._last = (opened, found)
            return found
        exposure = self.exposure
        if self._allowed is None:
            allows, category = exposure.verdicts.allows, exposure.category
            self._allowed = Allowed((e, category(e).name) for e in exposure.catalog.entries if allows(e))
        visible = self._allowed.opened(opened)
        view = self._views[opened] = View(exposure.catalog, visible, opened.meta_tools, self.look, opened.call_variants)
        if len(self._views) > MAX_VIEWS:
            self._views.popitem(last=False)
        return view
