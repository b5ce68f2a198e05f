"""What stands before an upstream's connection: the limit of calls that run at one time, and a breaker.

Owns who is let in, and what the end of a call says of the upstream. Does not know what is called.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

from hub_common.breaker import Breaker
from hub_gateway.errors import UpstreamBusy, UpstreamError, UpstreamTimeout, UpstreamUnauthorized
from hub_gateway.upstreams.gate import Gate
from hub_gateway.upstreams.hop import HeadersRefused
from hub_gateway.upstreams.status import Observe, Outcome, Stats

QUEUE = 1024
"""Calls that may wait for their turn on one upstream."""
_QUEUE_S = 30.0
_BREAKER_THRESHOLD, _BREAKER_OPEN_S = 5, 30.0


class Admission:
    """To one link. Whoever is let in must `leave`.

    Args:
        name: of the upstream.
        limit: calls that run at one time.
        observe: hears how each call ended.
        beside: the admission to another link to the same upstream: the limit and the counters are for both.
    """

    def __init__(self, name: str, limit: int, observe: Observe | None, beside: Admission | None) -> None:
        self.stats = Stats() if beside is None else beside.stats
        self._name = name
        self._observe = observe
        self._gate = Gate(limit, _QUEUE_S, QUEUE) if beside is None else beside._gate
        self._breaker = Breaker(_BREAKER_THRESHOLD, _BREAKER_OPEN_S, time.monotonic)

    @property
    def inside(self) -> int:
        """Calls that run now."""
        return self._gate.inside

    @property
    def breaker(self) -> str:
        """State of the breaker: closed, open or half-open."""
        return self._breaker.state

    def limit(self, limit: int) -> None:
        """Let so many calls run from now on."""
        self._gate.limit = limit

    def enter(self) -> bool:
        """Whether a call is in at once; else it has to `wait`.

        Raises:
            UpstreamBusy: the breaker is open.
        """
        breaker = self._breaker
        if not breaker.allow():
            wait_s = max(1, round(breaker.retry_after_s))
            raise UpstreamBusy(f"{self._name}: it failed {breaker.failures} times in a row; next try in {wait_s} s")
        return self._gate.enter()

    async def wait(self, client: Hashable) -> None:
        """Have a call of this client let in when it is its turn.

        Raises:
            UpstreamBusy: too many are running and waiting.
        """
        try:
            await self._gate.wait(client)
        except UpstreamBusy as fault:
            raise UpstreamBusy(f"{self._name}: {fault}", fault.data) from fault

    def give_up(self) -> None:
        """A call that was let in is not made."""
        self._gate.leave()

    def leave(self, outcome: Outcome, took_s: float) -> None:
        """A call that was let in has ended."""
        self._gate.leave()
        self.stats.count(outcome)
        if self._observe is not None:
            self._observe(self._name, took_s, outcome)

    def answered(self) -> None:
        """The upstream answers, whatever it says."""
        self._breaker.success()

    def failed(self, fault: UpstreamError) -> Outcome:
        """How a call ended that got this instead of an answer; it counts against the upstream where it did not
        answer."""
        if isinstance(fault, UpstreamBusy):
            return "failed"
        if isinstance(fault, HeadersRefused):
            self._breaker.success()
            return "error"
        if isinstance(fault, UpstreamUnauthorized):
            self._breaker.success()
            return "failed"
        self._breaker.failure()
        return "timeout" if isinstance(fault, UpstreamTimeout) else "failed"
