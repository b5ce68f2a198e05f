"""Whether the two satellites can be reached and are whole, for health and metrics.

Owns the questions and how long their answers count. The clients of the satellites know how their last call went; a
satellite nobody had to call since it went away is found out here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_common.rpc_server import probe
from hub_common.store import StoreUnavailable
from hub_gateway.errors import SatelliteError
from hub_gateway.management.deps import Deps

TIMEOUT_S = 1.0
KEPT_S = 2.0
"""Answers younger than this are told again: probes and scrapes from many sides are one question."""


_LESS = frozenset({pb.KEY_STATE_REFUSED, pb.KEY_STATE_NO_PACKAGE})
"""States of the LLM's key that stay until somebody does something."""


class Seen(NamedTuple):
    """One satellite: reachable or not, and the reason if something is wrong with it. One that is reachable and has a
    reason does less than it was set up for."""

    ok: bool
    reason: str | None


class Reach:
    """Asks the satellites' own health (grpc.health.v1), both at once and at most every `KEPT_S` seconds."""

    def __init__(self, deps: Deps, clock: Callable[[], float] = time.monotonic) -> None:
        self._deps = deps
        self._clock = clock
        self._asking = asyncio.Lock()
        self._reached: dict[str, bool] = {}
        self._asked_s = float("-inf")
        self.described: pb.DescribeResponse | None = None
        """What the categorizer said of itself at the last look; None while it is away."""

    async def look(self) -> dict[str, Seen]:
        """How `filter` and `categorizer` are. Takes at most `TIMEOUT_S` and never raises for one that is away."""
        async with self._asking:
            if self._clock() - self._asked_s >= KEPT_S:
                settings = self._deps.settings
                targets = {"filter": settings.filter_target, "categorizer": settings.categorizer_target}
                asking = asyncio.gather(*(probe(target, TIMEOUT_S) for target in targets.values()))
                found, _, self.described = await asyncio.gather(asking, self._touch(), self._describe())
                self._reached = dict(zip(targets, found, strict=True))
                self._asked_s = self._clock()
        stale = self._deps.current.exposure.verdicts.stale
        return {
            "filter": _seen(self._reached["filter"] and not stale, self._deps.filter.reason),
            "categorizer": self._categorizer(),
        }

    def _categorizer(self) -> Seen:
        seen = _seen(self._reached["categorizer"], self._deps.categorizer.reason)
        if seen.ok and self.described is not None and self.described.provider_status.key in _LESS:
            return Seen(True, f"categories come from patterns alone: {self.described.provider_status.reason}")
        return seen

    async def _describe(self) -> pb.DescribeResponse | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._deps.categorizer.describe()
        except (SatelliteError, TimeoutError):
            return None

    async def _touch(self) -> None:
        """Ask the store anything: its status is how the last question went."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._deps.store.get("health", "touch")
        except (StoreUnavailable, TimeoutError):
            return


def _seen(ok: bool, last_fault: str | None) -> Seen:
    return Seen(ok, None if ok else last_fault or "it does not answer")
