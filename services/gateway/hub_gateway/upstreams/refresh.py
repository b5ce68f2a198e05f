"""Bringing home what an upstream offers: all of every list.

Owns how long what was listed is fresh, and that only one refresh runs at a time on a connection. Does not know who
wants to know.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.errors import UpstreamDown, UpstreamError, UpstreamUnauthorized
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.handshake import ON_BEHALF
from hub_gateway.upstreams.offered import FIELDS
from hub_gateway.upstreams.pages import pages
from hub_gateway.upstreams.pending import Reply
from hub_gateway.upstreams.subscription import tells_of
from hub_gateway.wire import rewrite
from hub_gateway.wire.message import own
from hub_gateway.wire.revisions import Era

_log = logging.getLogger(__name__)


class _Listed(NamedTuple):
    """One list as it was brought home."""

    definitions: tuple[bytes, ...]
    at_s: float = 0.0
    fresh_until_s: float = float("inf")
    """When the first page of it that has a hint is fresh no more."""


class Refresh:
    """The lists of one connection. A list that fails keeps what it held before, or where that was nothing has what
    came of it, and `faults` says so."""

    def __init__(self, connection: Connection, previous: Offering, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._wanted: set[EntryKind] = set()
        self._running: asyncio.Future[None] | None = None
        self._refused: dict[EntryKind, UpstreamUnauthorized] = {}
        self._listed: dict[EntryKind, _Listed] = {}
        self.offering = previous
        self.faults: dict[EntryKind, str] = {}

    async def run(self, kinds: Iterable[EntryKind] = tuple(EntryKind)) -> None:
        """List these kinds anew. While a refresh runs, another one joins it and the kinds are listed once more after;
        where the first one is cancelled, the other goes on with what is left.

        Raises:
            UpstreamDown: the connection is gone. What was listed until then stands.
            UpstreamUnauthorized: it refuses to show any list.
        """
        own = set(kinds)
        self._wanted |= own
        while self._running is not None:
            await asyncio.shield(self._running)
            if not own & self._wanted:
                return
        self._running = asyncio.get_running_loop().create_future()
        try:
            await self._list_wanted()
        finally:
            self._running.set_result(None)
            self._running = None

    def stale(self, least_s: float) -> list[EntryKind]:
        """The kinds whose hint of freshness has run out, where the upstream does not tell of changes (2026-07-28
        server/utilities/caching); none that was listed less than `least_s` ago, however often one looks."""
        now_s = time.monotonic()
        return [
            kind
            for kind, listed in self._listed.items()
            if now_s >= max(listed.fresh_until_s, listed.at_s + least_s)
            and not tells_of(self._connection.capabilities, kind.capability)
        ]

    async def _list_wanted(self) -> None:
        while self._wanted:
            kind = next(kind for kind in EntryKind if kind in self._wanted)
            self._wanted.discard(kind)
            try:
                await self._list(kind)
            except asyncio.CancelledError:
                self._wanted.add(kind)
                raise
            except UpstreamError:
                self._wanted.clear()
                raise
        if self._refused and all(kind in self._refused for kind in self._announced()):
            fault = next(iter(self._refused.values()))
            raise UpstreamUnauthorized(str(fault), fault.data)

    def _announced(self) -> list[EntryKind]:
        return [kind for kind in EntryKind if kind.capability in self._connection.capabilities]

    async def _list(self, kind: EntryKind) -> None:
        came: list[bytes] = []
        if kind.capability not in self._connection.capabilities:
            listed = _Listed(())
        else:
            try:
                listed = await self._all(kind, came)
            except UpstreamError as fault:
                if self._connection.gone is not None:
                    raise UpstreamDown(self._connection.gone) from fault
                self.faults[kind] = str(fault)
                if isinstance(fault, UpstreamUnauthorized):
                    self._refused[kind] = fault
                _log.warning("%s: %s failed: %s", self._connection.name, kind.list_method, fault)
                if not self.offering.of(kind):
                    self._offer(kind, tuple(came))
                return
        self.faults.pop(kind, None)
        self._refused.pop(kind, None)
        self._listed[kind] = listed
        self._offer(kind, listed.definitions)

    def _offer(self, kind: EntryKind, definitions: tuple[bytes, ...]) -> None:
        if definitions != self.offering.of(kind):
            self.offering = msgspec.structs.replace(self.offering, **{FIELDS[kind]: definitions})

    async def _all(self, kind: EntryKind, came: list[bytes]) -> _Listed:
        """The whole list; what each page has stands in `came` too as soon as it is there."""

        def ask(params: rewrite.Members) -> Awaitable[Reply]:
            return self._connection.request(kind.list_method, params, caller=ON_BEHALF, timeout_s=self._timeout_s)

        fresh_until_s = float("inf")
        async with aclosing(pages(ask, kind.value)) as listed:
            async for page in listed:
                came += map(own, page.items)
                if self._connection.era is Era.STATELESS:  # before that nobody said how long
                    fresh_until_s = min(fresh_until_s, time.monotonic() + page.fresh_s)
        return _Listed(tuple(came), time.monotonic(), fresh_until_s)
