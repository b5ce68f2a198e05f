"""How fast requests may start, whoever makes them.

Owns the rate. Time comes from the `clock` it is given; does not know what starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Pace:
    """At most `starts_per_s` starts each second, evenly: nobody who has waited can bunch up with the next."""

    def __init__(self, starts_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        if starts_per_s <= 0:
            raise ValueError("starts_per_s must be positive")
        self._interval_s = 1.0 / starts_per_s
        self._clock = clock
        self._next_s = float("-inf")

    def reserve(self) -> float:
        """Take the next start; return the seconds until it."""
        now = self._clock()
        start_s = max(now, self._next_s)
        self._next_s = start_s + self._interval_s
        return start_s - now

    async def turn(self) -> None:
        """Wait for a start of one's own. One that is cancelled while it waits stays taken."""
        if (wait_s := self.reserve()) > 0:
            await asyncio.sleep(wait_s)
