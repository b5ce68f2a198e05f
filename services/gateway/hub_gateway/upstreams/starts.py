"""How many processes start at a time: where thirty `npx` and `uvx` begin at once, none of them answers in time; in
turns, the first are ready while the last still wait.

Owns the places. Does not know what starts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

LEAST_WIDTH = 4
"""Places on the smallest machine: one that has more processors has two for each."""

LONGEST_S = 10.0
"""After this a start holds its place no longer: what hangs holds up nobody."""


class Starts:
    """At most `width` at a time, in the order in which they ask."""

    def __init__(self, width: int | None = None, longest_s: float = LONGEST_S) -> None:
        self._places = asyncio.Semaphore(width or max(LEAST_WIDTH, 2 * (os.cpu_count() or 1)))
        self._longest_s = longest_s

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Wait for a place and hold it while the body runs, for `longest_s` seconds at most."""
        await self._places.acquire()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._places.release()

        timer = asyncio.get_running_loop().call_later(self._longest_s, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
