"""Looking after one connection to an upstream, from its first lists to its end.

Owns when lists are asked for anew and when a connection counts as lost. Knows neither how it was made nor what follows
its end.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import NamedTuple, NoReturn

from hub_common.tasks import Tasks
from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.errors import UpstreamDown, UpstreamUnauthorized
from hub_gateway.upstreams import subscription
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.inbound import ACKNOWLEDGED
from hub_gateway.upstreams.life_sign import life_sign
from hub_gateway.upstreams.refresh import Refresh
from hub_gateway.wire.message import Message
from hub_gateway.wire.revisions import Era

_log = logging.getLogger(__name__)

_RECHECK_S = 2.0
_SOONEST = 0.9
"""The part of the time between two regular checks that passes at least."""
_LIST_S = 60.0
_RELIST_S = 5.0

_LIST_CHANGED = {f"notifications/{kind.capability}/list_changed": kind.capability for kind in EntryKind}

ABOUT_LISTS = frozenset((*_LIST_CHANGED, ACKNOWLEDGED))
"""Notifications that mean nothing before the first lists are taken, nor after the end."""


class Tells(NamedTuple):
    """Who is told what of the connection; none of these blocks or raises."""

    listed: Callable[[Watch], None]
    """Lists were taken."""
    well: Callable[[str | None], None]
    """It answers; with what is wrong with its lists."""
    unwell: Callable[[str], None]
    """It does not answer its check, and why, but is not given up."""
    unasked: Callable[[Message], None]
    """It sent a notification that belongs to no call; of a list change it is told after the list is taken."""


class Watch:
    """Looks after a connection.

    Args:
        previous: what the upstream offered before: a list that cannot be taken stays as it was.
        ping_interval_s: gives the seconds between two regular checks.
        timeout_s: of a request of the upstream.
        busy: whether calls run on the upstream.
        wake: has the connection looked at now, when it is set.
        tasks: what runs beside; whoever made it closes it with the connection.
    """

    def __init__(
        self,
        connection: Connection,
        previous: Offering,
        tells: Tells,
        *,
        ping_interval_s: Callable[[], float],
        timeout_s: float,
        busy: Callable[[], bool],
        wake: asyncio.Event,
        tasks: Tasks,
    ) -> None:
        self._connection = connection
        self._tells = tells
        self._ping_interval_s = ping_interval_s
        self._busy = busy
        self._wake = wake
        self._tasks = tasks
        self._refresh = Refresh(connection, previous, min(_LIST_S, timeout_s))
        self._listed = self._acknowledged = False

    @property
    def offering(self) -> Offering:
        """What was listed."""
        return self._refresh.offering

    @property
    def list_faults(self) -> str | None:
        """What is wrong with its lists."""
        return "; ".join(f"{kind.list_method}: {fault}" for kind, fault in self._refresh.faults.items()) or None

    async def begin(self) -> None:
        """Take the first lists.

        Raises:
            UpstreamDown: the connection is gone.
            UpstreamUnauthorized: it refuses to show any list.
        """
        if self._connection.era is Era.STATELESS:
            # Before the first list, so that no change falls in between.
            self._tasks.spawn(subscription.listen(self._connection), "listen")
        await self._refresh.run()
        self._listed = True

    async def relist(self, kinds: Iterable[EntryKind]) -> None:
        """List these kinds anew.

        Raises:
            UpstreamDown, UpstreamUnauthorized: as `begin`.
        """
        await self._refresh.run(kinds)
        self._tells.listed(self)

    async def keep(self) -> NoReturn:
        """Look after it until it is lost.

        Raises:
            UpstreamDown: it is gone, or does not answer.
            UpstreamUnauthorized: it refuses to show any list.
        """
        connection, refresh = self._connection, self._refresh
        failures = 0
        while True:
            await self._pause(failures > 0)
            if connection.gone is not None:
                raise UpstreamDown(connection.gone)
            fault = await life_sign(connection)
            if fault is None:
                failures = 0
                # Failed calls bring checks too, and those list nothing anew that the last one did.
                if due := {*refresh.faults, *refresh.stale(self._ping_interval_s() / 2)}:
                    await self.relist(due)
                self._tells.well(self.list_faults)
                continue
            failures += 1
            if failures == 1:
                _log.warning("%s: %s", connection.name, fault)
            # A server busy with calls may be too busy to answer; the calls have deadlines of their own.
            if connection.gone is not None or (failures > 1 and not self._busy()):
                raise UpstreamDown(connection.gone or str(fault))
            self._tells.unwell(str(fault))

    def hear(self, message: Message) -> None:
        """Take a notification that belongs to no call."""
        if (capability := _LIST_CHANGED.get(message.method)) is not None:
            kinds = [kind for kind in EntryKind if kind.capability == capability]
            self._tasks.spawn(self._relist_quietly(kinds, message.method), "refresh")
        elif message.method == ACKNOWLEDGED:
            again, self._acknowledged = self._listed or self._acknowledged, True
            if again:
                # While the stream was away, or not there yet, nobody told of changes.
                self._tasks.spawn(self._relist_quietly(EntryKind), "refresh")
        else:
            self._tells.unasked(message)

    async def _pause(self, in_doubt: bool) -> None:
        """Wait for the next check."""
        if in_doubt:
            pause_s = _RECHECK_S
        else:
            pause_s = min(_RELIST_S, self._ping_interval_s()) if self._refresh.faults else self._ping_interval_s()
            # Stale lists are asked for then, and who polls is not to do so in step (2026-07-28 utilities/caching).
            pause_s *= random.uniform(_SOONEST, 1)
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _relist_quietly(self, kinds: Iterable[EntryKind], said: str | None = None) -> None:
        try:
            await self.relist(kinds)
        except (UpstreamDown, UpstreamUnauthorized) as fault:
            _log.debug("%s: not refreshed: %s", self._connection.name, fault)
            self._wake.set()
            return
        if said is not None:
            # Also where the lists came out the same: the upstream said it, so its clients are to hear it.
            self._tells.unasked(Message(jsonrpc="2.0", method=said))
