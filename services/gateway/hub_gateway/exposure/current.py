"""The present exposure of every audience: catalog, verdicts, categories and policy as one value, and its views.

Owns which snapshot is current; all of them are swapped whole and together. An audience is who asks as far as the config
tells them apart: by the view they ask for, or have a credential for. What one sees is made on demand and kept per
opened set.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from hub_gateway.catalog.entry import Entry
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.exposure.allowed import Allowed
from hub_gateway.exposure.audience import ALL, DIRECT, Opened
from hub_gateway.exposure.policy import Policy
from hub_gateway.exposure.verdicts import EVERYTHING, Verdicts
from hub_gateway.exposure.view import Look, View

SETTLING_MS = 1_000
"""How long a list is fresh that upstreams are still to come to: whoever keeps it would miss them."""

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
    """Everything that decides what can be seen. `categories` has an entry's `category_key` for key."""

    catalog: Catalog
    verdicts: Verdicts = EVERYTHING
    categories: Mapping[tuple[str, str], Category] = {}
    most_used: Mapping[str, float] = {}
    """Public names of tools with their share of all calls, as it was when the catalog became this one."""
    policy: Policy = Policy(ToolFiltering())
    at_start: Opened = DIRECT
    """What is seen before anything was asked for."""
    settling: bool = False
    """Upstreams are starting, and have yet to be listed."""

    def category(self, entry: Entry) -> Category:
        """The entry's category, `other` where none is known."""
        return self.categories.get(entry.category_key, UNCATEGORIZED)


NOTHING_YET = Exposure(Catalog((), {}), settling=True)


class Audience:
    """Who asks for one view, or (named "") for none: their exposure, and what they see of it."""

    def __init__(self, name: str, look: Look) -> None:
        self.name = name
        self.look = look
        self.opened_by_all: Opened | None = None
        """What any session opened, where sessions are not isolated. Never seen by stateless clients, whose lists must
        not vary as a side effect (2026-07-28 changelog, major change 1)."""
        self.swap(NOTHING_YET)

    def swap(self, exposure: Exposure) -> None:
        """Make another exposure current; views of the old one stay valid for whoever still holds them."""
        self.exposure = exposure
        self._views: OrderedDict[Opened, View] = OrderedDict()
        self._allowed: Allowed | None = None
        self._last: tuple[Opened, View] | None = None
        # Before the first exposure of a view is made nobody has taken back what its sessions opened before a restart.
        if exposure is not NOTHING_YET and exposure.policy.filtering.prompt_based_filtering.session_isolation:
            self.opened_by_all = None

    @property
    def policy(self) -> Policy:
        """What is in force for them."""
        return self.exposure.policy

    @property
    def at_start(self) -> Opened:
        """What is seen before anything was asked for."""
        return self.exposure.at_start

    @property
    def allowed(self) -> View:
        """Everything the policy allows them, opened or not."""
        return self.view(ALL)

    def view(self, opened: Opened) -> View:
        """What is seen by who has opened this much."""
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
        look = self.look
        if exposure.settling:
            look = msgspec.structs.replace(look, ttl_ms=min(look.ttl_ms, SETTLING_MS))
        own = (opened.meta_tools, look, opened.call_variants, self.name, opened.brief)
        view = self._views[opened] = View(exposure.catalog, visible, *own)
        if len(self._views) > MAX_VIEWS:
            self._views.popitem(last=False)
        return view


class Current:
    """The audiences by name, with the exposure of each."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.default = Audience("", look)
        """Who asks for no view by name."""
        self.named: dict[str, Audience] = {}

    @property
    def exposure(self) -> Exposure:
        """The default audience's."""
        return self.default.exposure

    @property
    def at_start(self) -> Opened:
        """The default audience's."""
        return self.default.exposure.at_start

    def view(self, opened: Opened) -> View:
        """What the default audience sees that has opened this much."""
        return self.default.view(opened)

    def of(self, name: str) -> Audience:
        """The audience of a view. One whose view is gone sees nothing."""
        if not name:
            return self.default
        return self.named.get(name) or Audience(name, self.look)

    @property
    def stale(self) -> bool:
        """Whether the filter has yet to decide for an audience."""
        return any(each.exposure.verdicts.stale for each in (self.default, *self.named.values()))

    def define(self, names: Iterable[str]) -> None:
        """Let there be these views besides the default; a new one is empty until the next swap."""
        self.named = {name: self.named.get(name) or Audience(name, self.look) for name in names}

    def swap(self, exposure: Exposure, named: Mapping[str, Exposure] = {}) -> None:
        """Make other exposures current, of the default audience and of each view."""
        self.default.swap(exposure)
        for name, audience in self.named.items():
            audience.swap(named.get(name, NOTHING_YET))
