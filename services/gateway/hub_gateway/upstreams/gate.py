"""How many calls run on one upstream at a time, and whose turn it is.

Owns the in-flight limit and its queue. Does not know what is called.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable

from hub_gateway.errors import UpstreamBusy

Turn = asyncio.Future[None]


class Gate:
    """Lets `limit` calls in. `queue` more may wait, each at most `wait_s`.

    Clients take turns: each has a line of its own, and whoever had a turn goes behind the other clients. When the queue
    is full, who comes takes the place of the last in a line that is longer than his own; else he is refused.
    """

    def __init__(self, limit: int, wait_s: float, queue: int) -> None:
        self._limit = limit
        self.inside = 0
        self.waiting = 0
        self._queue_limit = queue
        self._wait_s = wait_s
        self._lines: dict[Hashable, deque[Turn]] = {}
        """Who waits, by client; the client whose turn is next stands first. No line is empty."""

    @property
    def limit(self) -> int:
        """Calls that may be inside at one time."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        while self.inside < limit and self._let_in():
            self.inside += 1

    def enter(self) -> bool:
        """Go in if there is room and nobody waits; who got in must `leave`."""
        if self.inside < self._limit and not self._lines:
            self.inside += 1
            return True
        return False

    async def wait(self, client: Hashable) -> None:
        """Go in as soon as it is this client's turn.

        Raises:
            UpstreamBusy: the queue is full, or the turn did not come in time.
        """
        if self.waiting >= self._queue_limit:
            self._make_room(client)
        turn: Turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(client, deque()).append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as fault:
            if turn in self._lines.get(client, ()):
                self._forget(client, turn)
            elif not turn.cancelled() and turn.exception() is None:
                self.leave()  # the turn came in the same moment and goes to the next in line
            if isinstance(fault, TimeoutError):
                raise UpstreamBusy(
                    f"{self._limit} calls are running, and none ended within {self._wait_s:g} seconds"
                ) from fault
            raise

    def leave(self) -> None:
        """Go out; the next in turn goes in, unless fewer may be inside now."""
        if not self._lines or self.inside > self._limit or not self._let_in():
            self.inside -= 1

    def _let_in(self) -> bool:
        """Give the next in turn the place of another; False where nobody waits."""
        while self._lines:
            client = next(iter(self._lines))
            line = self._lines.pop(client)
            turn = line.popleft()
            self.waiting -= 1
            if line:
                self._lines[client] = line
            if not turn.done():
                turn.set_result(None)
                return True
        return False

    def _make_room(self, client: Hashable) -> None:
        longest = max(self._lines, key=lambda each: len(self._lines[each]))
        busy = UpstreamBusy(f"{self.inside} calls are running and {self.waiting} are waiting")
        if len(self._lines[longest]) <= len(self._lines.get(client, ())) + 1:
            raise busy
        last = self._lines[longest][-1]
        self._forget(longest, last)
        if not last.done():
            last.set_exception(busy)

    def _forget(self, client: Hashable, turn: Turn) -> None:
        line = self._lines[client]
        line.remove(turn)
        self.waiting -= 1
        if not line:
            del self._lines[client]
