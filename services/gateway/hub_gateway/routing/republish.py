"""Journey D: something changed; a new catalog, new verdicts, new views, and the clients that see a difference are told.

The only place where list_changed is decided. Changes that come together are answered together; every satellite may be
away, and what it did not say is then what it said last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence

import msgspec

from hub_common.tasks import Tasks
from hub_gateway.catalog.changes import changed
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.snapshot import Catalog, Parsed, merge, parse
from hub_gateway.config.faults import member
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.config.server_model import ServerConfig
from hub_gateway.errors import SatelliteError
from hub_gateway.exposure.current import Category, Current, Exposure
from hub_gateway.exposure.policy import Policy, effective
from hub_gateway.exposure.start import at_start
from hub_gateway.exposure.unmatched import unmatched
from hub_gateway.exposure.verdicts import EVERYTHING, Verdicts, decided, without_filter
from hub_gateway.exposure.view import View
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.subscriptions import Subscriptions
from hub_gateway.satellites.categorizer import Categorizer
from hub_gateway.satellites.filter import Filter
from hub_gateway.sessions.registry import Sessions
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.wire import codec
from hub_gateway.wire.revisions import Era

_log = logging.getLogger(__name__)

SETTLE_S = 0.02
"""Changes within this time are one change: twenty upstreams that connect at start make few lists, not twenty."""

RETRY_S = 2.0
"""How often a satellite that was away is asked again."""

_LIST_CHANGED = {
    kind.capability: codec.notification(f"notifications/{kind.capability}/list_changed") for kind in EntryKind
}

CATCH_UP_S = 1.0

UP = frozenset({"ready", "degraded"})
"""States in which an upstream's entries are listed."""

REFINE_AGAIN_S = 30.0
"""When entries are refined again after the categorizer, or its LLM, went away in between; later, after
as long as nothing was refined by then."""

MAX_REFINE_AGAIN_S = 900.0
"""The longest such pause."""

MAX_CATEGORIES = 50_000
"""Categories remembered; past that, those of entries that are not offered now are forgotten."""


class Republish:
    """Keeps the exposure current. `notice` says that something changed; `run` does the rest."""

    def __init__(
        self,
        current: Current,
        fleet: Fleet,
        audiences: tuple[Sessions, Subscriptions, Calls],
        satellites: tuple[Filter, Categorizer],
        filtering: ToolFiltering,
    ) -> None:
        self._current = current
        self._fleet = fleet
        self._sessions, self._subscriptions, self._calls = audiences
        self._filter, self._categorizer = satellites
        self._filtering = filtering
        self._views: dict[str, ToolFiltering] = {}
        self._dirty = asyncio.Event()
        self._published = asyncio.Event()
        self._parsed: dict[str, Parsed] = {}
        self._links: dict[str, Connection] = {}
        self._categories: dict[tuple[str, str], Category] = {}
        self._said: set[tuple[str, str]] = set()
        self._unsettled: set[tuple[str, str]] = set()
        self._last: dict[str, tuple[Policy, Verdicts]] = {}
        self._warned: set[str] = set()
        self._unrefined_since_s: float | None = None
        self._tasks = Tasks("republish")
        current.swap(_exposed(Exposure(current.exposure.catalog, policy=effective(filtering, 0), settling=True)))

    @property
    def policy(self) -> Policy:
        """What is in force for who asks for no view."""
        return self._current.default.policy

    def notice(self, upstream_name: str | None = None) -> None:
        """Something changed. Cheap; may be called often."""
        self._dirty.set()
        self._published.clear()

    def list_changed(self, upstream_name: str, capability: str) -> None:
        """An upstream says that a list of its own changed, and the fresh list is taken already."""
        self._said.add((upstream_name, capability))
        self.notice(upstream_name)

    def apply(self, filtering: ToolFiltering) -> None:
        """Put another filtering policy in force with the next exposure, which is made at once."""
        if filtering != self._filtering:
            if filtering.category_filter != self._filtering.category_filter:
                self.recategorize()
            self._filtering = filtering
        self.notice()

    def recategorize(self) -> None:
        """Ask for every category again: the categorizer judges otherwise now. Each stands until the answer comes."""
        self._unsettled |= self._categories.keys()
        self.notice()

    def apply_views(self, views: Mapping[str, ToolFiltering], shut: Collection[str] = ()) -> None:
        """Let there be these views with the next exposure. Of one that is gone, and of those that are `shut`, every
        session and every listener ends now."""
        ended = {*shut, *(self._current.named.keys() - views.keys())}
        self._views = dict(views)
        self._current.define(views)
        for session in [each for each in self._sessions if each.view_name in ended]:
            self._sessions.close(session.id, "The session has ended: its view is gone, or wants another token")
        self._subscriptions.end(ended)
        self._last = {name: last for name, last in self._last.items() if name not in ended}
        self.notice()

    async def settled(self) -> None:
        """Wait until everything noticed before this call is published."""
        self.notice()
        await self._published.wait()

    async def caught_up(self) -> None:
        """Wait until clients see what is known, or for a moment: a server that is told to be ready has its entries in
        the lists."""
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await self._published.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Publish whenever something changed, and again a while after a satellite was away. Runs until cancelled."""
        try:
            while True:
                away = self._current.stale or bool(self._unsettled)
                try:
                    async with asyncio.timeout(RETRY_S if away else None):
                        await self._dirty.wait()
                except TimeoutError:
                    pass
                await asyncio.sleep(SETTLE_S)
                self._dirty.clear()
                try:
                    await self._publish()
                except Exception:
                    _log.exception("publishing failed: the lists stay as they were until the next change")
                if not self._dirty.is_set():
                    self._published.set()
        finally:
            await self._tasks.close()

    async def _publish(self) -> None:
        catalog = self._merge()
        tools = sum(entry.kind is EntryKind.TOOL for entry in catalog.entries)
        policies = {name: effective(each, tools) for name, each in {"": self._filtering, **self._views}.items()}
        self._warn(catalog, policies)
        needed = any(policy.needs_categories for policy in policies.values())
        if needed:
            await self._categorize(catalog, policies[""])
        answers = await asyncio.gather(*(self._decide(name, catalog, policy) for name, policy in policies.items()))
        counted = any(policy.mode == "auto" for policy in policies.values())
        most_used: Mapping[str, float] = {}
        if counted:
            most_used = await self._calls.usage.most_used(catalog)
        settling = any(each.status.is_first_attempt for each in self._fleet.supervisors.values())
        exposures = {
            name: Exposure(catalog, verdicts, most_used=most_used, policy=policies[name], settling=settling)
            for name, verdicts in zip(policies, answers, strict=True)
        }
        self._swap(exposures)
        if not needed and await self._categorize(catalog, policies[""]):
            self._swap(exposures)

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
        self._restore()
        names = list(self._fleet.supervisors)
        parsed = [self._parsed[name] for name in names if name in self._parsed]
        self._parsed = {each.upstream_name: each for each in parsed}
        prefixes = {
            s.name: s.config.prefix for s in self._fleet.supervisors.values() if isinstance(s.config, ServerConfig)
        }
        return merge(parsed, prefixes, names)

    def _warn(self, catalog: Catalog, policies: Mapping[str, Policy]) -> None:
        """Say, once for as long as it is so, which rules hold for nothing, and which policy is in force by itself."""
        found: list[str] = []
        for name, policy in policies.items():
            path = f"{member('views', name)}.toolFiltering" if name else "toolFiltering"
            found += unmatched(self._views.get(name, self._filtering), catalog, path, self._filtering if name else None)
            if policy.automatic:
                limit = policy.filtering.auto_enable_threshold
                found.append(f"{path}: filtering is on, by {policy.mode}: there are more than {limit} tools")
        for sentence in found:
            if sentence not in self._warned:
                _log.warning("%s", sentence)
        self._warned = set(found)

    def _restore(self) -> None:
        """Subscribe again where the link is another one, also where it was away too briefly for a list to show it."""
        links = {s.name: s.connection for s in self._fleet.supervisors.values() if s.connection is not None}
        for name, connection in links.items():
            if self._links.get(name) is not connection:
                self._subscriptions.restore(name)
        self._links = links

    async def _categorize(self, catalog: Catalog, policy: Policy) -> bool:
        """Learn the categories of entries that have none yet; True where something was learnt."""
        known = self._categories.keys() - self._unsettled
        unknown = [entry for entry in catalog.entries if entry.category_key not in known]
        was_unsettled, self._unsettled = bool(self._unsettled), set()  # what is added while the answer comes stays
        if not unknown:
            return False
        try:
            assigned = await self._categorizer.categorize(unknown, policy.filtering)
        except SatelliteError as fault:
            level = logging.DEBUG if was_unsettled else logging.WARNING
            _log.log(level, "%s: %d entries keep the category they had", fault, len(unknown))
            self._unsettled |= {entry.category_key for entry in unknown}
            return False
        if policy.filtering.category_filter != self._filtering.category_filter:
            self._unsettled |= {entry.category_key for entry in unknown}  # by mappings that hold no more
            return False
        for entry, each in zip(unknown, assigned, strict=True):
            self._categories[entry.category_key] = each.category
        if len(self._categories) > MAX_CATEGORIES:
            offered = {entry.category_key for entry in catalog.entries}
            self._categories = {key: each for key, each in self._categories.items() if key in offered}
        refinable = [entry for entry, each in zip(unknown, assigned, strict=True) if each.refinable]
        if refinable:
            self._tasks.spawn(self._refine(refinable, policy), "refine")
        return True

    async def _refine(self, entries: Sequence[Entry], policy: Policy) -> None:
        """Ask again for each entry the LLM has decided on; the lists follow without a restart."""
        left: dict[str, set[tuple[str, str]]] = {}
        for entry in entries:
            left.setdefault(entry.digest, set()).add(entry.category_key)
        try:
            async for digest in self._categorizer.refine(entries, policy.filtering):
                # Two upstreams may have the same definition and different categories: which is whose, only the answer
                # to `categorize` tells, and it costs no LLM call any more.
                self._unsettled |= left.pop(digest, set())
                self._unrefined_since_s = None
                self.notice()
        except SatelliteError as fault:
            _log.warning("%s: %d definitions are not refined yet", fault, len(left))
            now_s = asyncio.get_running_loop().time()
            self._unrefined_since_s = self._unrefined_since_s or now_s
            await asyncio.sleep(min(max(REFINE_AGAIN_S, now_s - self._unrefined_since_s), MAX_REFINE_AGAIN_S))
            self._unsettled |= {key for keys in left.values() for key in keys}
            self.notice()

    async def _decide(self, name: str, catalog: Catalog, policy: Policy) -> Verdicts:
        if not policy.in_force:
            return EVERYTHING
        categories = (
            [each.name if (each := self._categories.get(e.category_key)) else "" for e in catalog.entries]
            if policy.needs_categories
            else []
        )
        try:
            verdicts = decided(catalog, await self._filter.decide(catalog, policy.filtering, policy.mode, categories))
        except SatelliteError as fault:
            before, known = self._last.get(name, (None, None))
            last = known if before == policy else None
            choice = policy.filtering.on_filter_unavailable
            level = logging.DEBUG if self._current.of(name).exposure.verdicts.stale else logging.WARNING
            _log.log(level, "%s: verdicts are %r while it is away", fault, choice)
            return without_filter(choice, last, policy.mode if policy.hides_nothing else None)
        self._last[name] = (policy, verdicts)
        return verdicts

    def _swap(self, exposures: Mapping[str, Exposure]) -> None:
        """Make these current, with the categories as they are now, and tell every audience whose lists differ."""
        sessions = [(session, self._calls.session_view(session)) for session in self._sessions]
        before = {name: self._calls.stateless_view(name) for name in ("", *self._current.named)}
        categories = dict(self._categories)
        now = {name: _exposed(msgspec.structs.replace(each, categories=categories)) for name, each in exposures.items()}
        self._current.swap(now[""], now)
        self._subscriptions.swapped()
        said, self._said = self._said, set()
        differences: dict[tuple[View, View], tuple[bytes, ...]] = {}
        for session, old in sessions:
            pair = (old, self._calls.session_view(session))
            if pair not in differences:
                differences[pair] = tuple(map(_LIST_CHANGED.__getitem__, _different(*pair, said)))
            for message in differences[pair]:
                session.tell(message)
        for name, old in before.items():
            for capability in _different(old, self._calls.stateless_view(name), said):
                self._subscriptions.list_changed(capability, name)
        default = self._calls.stateless_view()
        for kind in EntryKind:  # made now, so that the first list after a change is a pointer too
            for era in Era:
                default.page(kind, era, None)


def _exposed(exposure: Exposure) -> Exposure:
    """The exposure with what is seen of it at the start."""
    return msgspec.structs.replace(exposure, at_start=at_start(exposure.policy, exposure))


def _different(old: View, new: View, said: set[tuple[str, str]]) -> list[str]:
    """The capability words to tell somebody of who saw one view and sees the other now.

    What an upstream said is passed on to whoever sees a list of its, changed or not: so would it be directly.
    """
    words = set(changed(old.listed, new.listed))
    if old.own_tools != new.own_tools:
        words.add("tools")
    if said:
        shown = {(entry.upstream_name, entry.kind.capability) for entry in new.visible}
        words |= {capability for _, capability in said & shown}
    return sorted(words)
