"""Journey D: something changed; a new catalog, new verdicts, new views, and the clients that see a difference are told.

The only place where list_changed is decided. Changes that come together are answered together; every satellite may be
away, and what it did not say is then what it said last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from hub_common.tasks import Tasks
from hub_gateway.catalog.changes import changed
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.snapshot import Catalog, Parsed, merge, parse
from hub_gateway.config.model import ServerConfig, ToolFiltering
from hub_gateway.errors import SatelliteError
from hub_gateway.exposure.audience import Opened
from hub_gateway.exposure.current import Category, Current, Exposure
from hub_gateway.exposure.policy import Policy, effective
from hub_gateway.exposure.verdicts import EVERYTHING, Verdicts, decided, without_filter
from hub_gateway.exposure.view import View
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.discovery import Discovery
from hub_gateway.routing.subscriptions import Subscriptions
from hub_gateway.satellites.categorizer import Categorizer
from hub_gateway.satellites.filter import Filter
from hub_gateway.sessions.registry import Sessions
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.wire import codec
from hub_gateway.wire.revisions import Era

_log = logging.getLogger(__name__)

SETTLE_S = 0.02
"""Changes within this time are one change: twenty upstreams that connect at start make few lists, not twenty."""

RETRY_S = 2.0
"""How often a satellite that was away is asked again."""

UP = frozenset({"ready", "degraded"})
"""States in which an upstream's entries are listed."""

Told = Callable[[tuple[str, ...]], None]
"""Called with the capability words whose lists changed for somebody."""


class Republish:
    """Keeps the exposure current. `notice` says that something changed; `run` does the rest."""

    def __init__(
        self,
        current: Current,
        fleet: Fleet,
        audiences: tuple[Sessions, Subscriptions, Calls, Discovery],
        satellites: tuple[Filter, Categorizer],
        filtering: ToolFiltering,
    ) -> None:
        self._current = current
        self._fleet = fleet
        self._sessions, self._subscriptions, self._calls, self._discovery = audiences
        self._filter, self._categorizer = satellites
        self._filtering = filtering
        self._dirty = asyncio.Event()
        self._published = asyncio.Event()
        self._parsed: dict[str, Parsed] = {}
        self._categories: dict[tuple[str, str], Category] = {}
        self._said: set[tuple[str, str]] = set()
        self._unsettled: set[tuple[str, str]] = set()
        self._last: tuple[Policy, Verdicts] | None = None
        self._tasks = Tasks("republish")
        self.policy = effective(filtering, 0)
        self._put_policy(self.policy)

    def notice(self, upstream_name: str | None = None) -> None:
        """Something changed. Cheap; may be called often."""
        self._dirty.set()

    def list_changed(self, upstream_name: str, capability: str) -> None:
        """An upstream says that a list of its own changed, and the fresh list is taken already."""
        self._said.add((upstream_name, capability))
        self.notice(upstream_name)

    def apply(self, filtering: ToolFiltering) -> None:
        """Put another filtering policy in force with the next exposure, which is made at once."""
        if filtering != self._filtering:
            if filtering.category_filter != self._filtering.category_filter:
                self._categories.clear()
            self._filtering = filtering
        self.notice()

    async def settled(self) -> None:
        """Wait until everything noticed before this call is published."""
        self._published.clear()
        self._dirty.set()
        await self._published.wait()

    async def run(self) -> None:
        """Publish whenever something changed, and again a while after a satellite was away. Runs until cancelled."""
        try:
            while True:
                away = self._current.exposure.verdicts.stale or bool(self._unsettled)
                try:
                    async with asyncio.timeout(RETRY_S if away else None):
                        await self._dirty.wait()
                except TimeoutError:
                    pass
                await asyncio.sleep(SETTLE_S)
                self._dirty.clear()
                await self._publish()
                if not self._dirty.is_set():
                    self._published.set()
        finally:
            await self._tasks.close()

    async def _publish(self) -> None:
        catalog = self._merge()
        tools = sum(entry.kind is EntryKind.TOOL for entry in catalog.entries)
        policy = effective(self._filtering, tools)
        if policy.needs_categories:
            await self._categorize(catalog, policy)
        verdicts = await self._decide(catalog, policy)
        self._swap(Exposure(catalog, verdicts, dict(self._categories)), policy)
        if not policy.needs_categories and await self._categorize(catalog, policy):
            self._swap(Exposure(catalog, verdicts, dict(self._categories)), policy)

    def _merge(self) -> Catalog:
        for supervisor in self._fleet.supervisors.values():
            kept = self._parsed.get(supervisor.name)
            if supervisor.status.state not in UP:
                self._parsed.pop(supervisor.name, None)
            elif kept is None or kept.offering is not supervisor.offering:
                fresh = parse(supervisor.name, supervisor.offering)
                for fault in fresh.faults:
                    _log.warning("left out of the catalog: %s", fault)
                self._parsed[supervisor.name] = fresh
                if kept is None:
                    self._subscriptions.restore(supervisor.name)
        names = list(self._fleet.supervisors)
        parsed = [self._parsed[name] for name in names if name in self._parsed]
        self._parsed = {each.upstream_name: each for each in parsed}
        prefixes = {
            s.name: s.config.prefix for s in self._fleet.supervisors.values() if isinstance(s.config, ServerConfig)
        }
        return merge(parsed, prefixes, names)

    async def _categorize(self, catalog: Catalog, policy: Policy) -> bool:
        """Learn the categories of entries that have none yet; True where something was learnt."""
        unknown = [e for e in catalog.entries if _key(e) not in self._categories or _key(e) in self._unsettled]
        if not unknown:
            return False
        try:
            assigned = await self._categorizer.categorize(unknown, policy.filtering)
        except SatelliteError as fault:
            _log.warning("%s: %d entries keep the category they had", fault, len(unknown))
            self._unsettled = {_key(entry) for entry in unknown}
            return False
        self._unsettled = set()
        for entry, each in zip(unknown, assigned, strict=True):
            self._categories[_key(entry)] = each.category
        refinable = [entry for entry, each in zip(unknown, assigned, strict=True) if each.refinable]
        if refinable:
            self._tasks.spawn(self._refine(refinable, policy), "refine")
        return True

    async def _refine(self, entries: Sequence[Entry], policy: Policy) -> None:
        """Ask again for each entry the LLM has decided on; the lists follow without a restart."""
        by_digest: dict[str, list[Entry]] = {}
        for entry in entries:
            by_digest.setdefault(entry.digest, []).append(entry)
        async for digest in self._categorizer.refine(entries, policy.filtering):
            # Two upstreams may have the same definition and different categories: which is whose, only the answer to
            # `categorize` tells, and it costs no LLM call any more.
            self._unsettled |= {_key(entry) for entry in by_digest.get(digest, ())}
            self.notice()

    async def _decide(self, catalog: Catalog, policy: Policy) -> Verdicts:
        if policy.mode is None:
            return EVERYTHING
        categories = (
            [self._categories[_key(e)].name if _key(e) in self._categories else "" for e in catalog.entries]
            if policy.needs_categories
            else []
        )
        try:
            verdicts = decided(catalog, await self._filter.decide(catalog, policy.filtering, policy.mode, categories))
        except SatelliteError as fault:
            last = self._last[1] if self._last is not None and self._last[0] == policy else None
            choice = policy.filtering.on_filter_unavailable
            _log.warning("%s: verdicts are %r while it is away", fault, choice)
            return without_filter(choice, last)
        self._last = (policy, verdicts)
        return verdicts

    def _swap(self, exposure: Exposure, policy: Policy) -> None:
        """Make the exposure current and tell every audience whose lists differ now."""
        old_start = self._calls.at_start
        before: dict[Opened, View] = {}
        for opened in {old_start, *(s.opened for s in self._sessions if s.opened is not None)}:
            before[opened] = self._current.view(opened)
        if policy.mode != self.policy.mode:
            for session in self._sessions:
                session.opened = None
        self._put_policy(policy)
        self._current.swap(exposure)
        now = self._calls.at_start
        differences: dict[Opened, set[str]] = {}
        said, self._said = self._said, set()
        for opened, view in before.items():
            fresh = self._current.view(now if opened == old_start else opened)
            differences[opened] = set(changed(view.listed, fresh.listed))
            if view.with_meta_tools != fresh.with_meta_tools:
                differences[opened].add("tools")
            # What an upstream said is passed on to whoever sees a list of its, changed or not: so would it be directly.
            if said:
                shown = {(e.upstream_name, e.kind.capability) for e in fresh.visible}
                differences[opened] |= {capability for _, capability in said & shown}
        for session in self._sessions:
            for capability in sorted(differences.get(session.opened or old_start, ())):
                session.tell(codec.notification(f"notifications/{capability}/list_changed"))
        for capability in sorted(differences[old_start]):
            self._subscriptions.list_changed(capability)
        start = self._current.view(now)
        for kind in EntryKind:  # made now, so that the first list after a change is a pointer too
            for era in Era:
                start.page(kind, era, None)

    def _put_policy(self, policy: Policy) -> None:
        if policy.opened_at_start != self.policy.opened_at_start or policy.mode is None or not self._last:
            self._calls.at_start = policy.opened_at_start
        self.policy = policy
        self._discovery.policy = policy


def _key(entry: Entry) -> tuple[str, str]:
    return (entry.upstream_name, entry.digest)
