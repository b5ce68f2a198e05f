"""How many calls run on one upstream at a time.

Owns the in-flight limit and its queue. Does not know what is called.
"""

from __future__ import annotations

import asyncio
from collections import deque

from hub_gateway.errors import UpstreamBusy


class Gate:
    """Lets `limit` calls in. `queue` more may wait, each at most `wait_s`; who comes after them is refused."""

    def __init__(self, limit: int, wait_s: float, queue: int) -> None:
        self.limit = limit
        self._queue_limit = queue
        self.inside = 0
        self._wait_s = wait_s
        self._queue: deque[asyncio.Future[None]] = deque()

    def enter(self) -> bool:
        """Go in if there is room and nobody waits; who got in must `leave`."""
        if self.inside < self.limit and not self._queue:
            self.inside += 1
            return True
        return False

    async def wait(self) -> None:
        """Go in as soon as it is this caller's turn.

        Raises:
            UpstreamBusy: the queue is full, or the turn did not come in time.
        """
        if len(self._queue) >= self._queue_limit:
            raise UpstreamBusy(f"{self.inside} calls are running and {len(self._queue)} are waiting")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as fault:
            if turn.done() and not turn.cancelled():
                self.leave()  # the turn came in the same moment and goes to the next in line
            elif turn in self._queue:
                self._queue.remove(turn)
            if isinstance(fault, TimeoutError):
                raise UpstreamBusy(
                    f"{self.limit} calls are running, and none ended within {self._wait_s:g} seconds"
                ) from fault
            raise

    def leave(self) -> None:
        """Go out; the next in line goes in."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.inside -= 1
