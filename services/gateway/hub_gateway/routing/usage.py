"""How often tools are called, and which of them were called most.

Owns the counts and the choice of the most used tools. A call costs a number in memory; every replica writes its own
numbers to the store now and then, and they are forgotten a month after it stopped. The choice is made once for a
catalog, from what the store knows, and kept there under the catalog's digest until a month after it was last in use:
replicas agree on it, a restart finds it again, and neither a call nor time ever moves it; only a person does, who asks
for another. While the store is away there is the choice made last, or none.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import msgspec

from hub_common.store import Store, StoreUnavailable
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.satellites.peers import Peers

COUNTS, CHOICES = "tool-calls", "most-used-tools"
"""Spaces of the store: by replica, the calls per public name; by catalog digest, the names chosen and their shares."""

FLUSH_S = 60.0
KEPT_S = 30 * 86_400.0
CHOSEN_ANEW = "most used chosen anew"
CHOSEN = 100
"""Names of a choice: as many as a config can ask for."""

_log = logging.getLogger(__name__)
_counts = msgspec.json.Decoder(dict[str, int])
_shares = msgspec.json.Decoder(dict[str, float])


def _nobody() -> None:
    """There are no other replicas to tell."""


class Usage:
    """The calls of tools through this gateway, and through others that share its store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._replica = secrets.token_hex(8)
        self._own: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._others: Counter[str] = Counter()
        self._chosen: tuple[str, Mapping[str, float]] = ("", {})
        self._tell: Callable[[], None] = _nobody

    def serve(self, peers: Peers, moved: Callable[[], None]) -> None:
        """Tell the other replicas of each choice that is made anew, and have `moved` called for each of theirs."""
        self._tell = lambda: peers.tell(CHOSEN_ANEW, b"")
        peers.when_told(CHOSEN_ANEW, lambda _sender, _body: moved())

    def count(self, entry: Entry) -> None:
        """A tool is called."""
        own = self._own
        own[entry.public_name] = own.get(entry.public_name, 0) + 1

    def of(self, entries: Iterable[Entry]) -> list[tuple[Entry, int]]:
        """Those of the entries that were called, and how often as far as this replica knows."""
        counted = ((entry, self._own.get(entry.public_name, 0) + self._others[entry.public_name]) for entry in entries)
        return [(entry, calls) for entry, calls in counted if calls]

    async def most_used(self, catalog: Catalog) -> Mapping[str, float]:
        """The tools that were called most when this catalog was first seen, with their share of all calls."""
        try:
            kept = await self._store.get(CHOICES, catalog.digest)
            if kept is None:  # of replicas that see a catalog in the same moment one chooses for all
                own = msgspec.json.encode(await self._choose(catalog))
                kept = await self._store.claim(CHOICES, catalog.digest, own, KEPT_S)
            chosen = _shares.decode(kept)
        except (StoreUnavailable, msgspec.MsgspecError) as fault:
            _log.debug("the most used tools are those of before: %s", fault)
            return self._chosen[1]
        self._chosen = (catalog.digest, chosen)
        return chosen

    async def choose(self, catalog: Catalog) -> Mapping[str, float]:
        """Choose anew for a catalog, by all calls until now, and tell the other replicas.

        Raises:
            StoreUnavailable: the choice stays as it was.
        """
        await self.flush()
        chosen = await self._choose(catalog)
        await self._store.put(CHOICES, catalog.digest, msgspec.json.encode(chosen), KEPT_S)
        self._tell()
        return chosen

    async def foreseen(self, catalog: Catalog) -> Mapping[str, float]:
        """What `most_used` would say, without choosing for anybody."""
        try:
            kept = await self._store.get(CHOICES, catalog.digest)
            return await self._choose(catalog) if kept is None else _shares.decode(kept)
        except (StoreUnavailable, msgspec.MsgspecError) as fault:
            _log.debug("not heard which tools are most used: %s", fault)
            return self._chosen[1]

    async def run(self, moved: Callable[[], None]) -> None:
        """Write now and then, until cancelled. `moved` is told where another replica chose otherwise and this one did
        not hear it."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()
            digest, chosen = self._chosen
            if not digest:
                continue
            try:
                kept = await self._store.get(CHOICES, digest)
                if kept is not None and _shares.decode(kept) != chosen:
                    moved()
                else:  # it is in use, and the store may have lost it
                    await self._store.put(CHOICES, digest, msgspec.json.encode(chosen), KEPT_S)
            except (StoreUnavailable, msgspec.MsgspecError) as fault:
                _log.debug("not heard which tools are most used: %s", fault)

    async def flush(self) -> None:
        """Write this replica's numbers, and learn those of the others."""
        try:
            if self._own != self._written:
                written = dict(self._own)
                await self._store.put(COUNTS, self._replica, msgspec.json.encode(written), KEPT_S)
                self._written = written
            self._others = await self._read(but=self._replica)
        except StoreUnavailable as fault:
            _log.debug("the calls of tools are not written yet: %s", fault)

    async def _choose(self, catalog: Catalog) -> Mapping[str, float]:
        """From what is written, not from what this replica knows besides: others must come to the same."""
        calls = await self._read()
        tools = [e.public_name for e in catalog.entries if e.kind is EntryKind.TOOL and calls[e.public_name]]
        total = sum(calls.values())
        best = sorted(tools, key=lambda name: (-calls[name], name))[:CHOSEN]
        return {name: round(calls[name] / total, 4) for name in best}

    async def _read(self, but: str = "") -> Counter[str]:
        total: Counter[str] = Counter()
        for replica, kept in (await self._store.items(COUNTS)).items():
            if replica == but:
                continue
            try:
                total.update(_counts.decode(kept))
            except msgspec.MsgspecError:
                _log.warning("%s: the calls counted by %s cannot be read", COUNTS, cast(object, replica))
        return total
