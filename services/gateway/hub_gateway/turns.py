"""Whose turn it is to be worked on: pieces of long messages, and of floods of short ones.

Owns how much of the loop's time they take together. Knows neither messages nor sockets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

TURNS_BYTES = 2 * 1024 * 1024
"""Of messages beyond this length each piece waits for its turn."""

FLOOD_BYTES = 48 * 1024
"""So does a piece of this length where many messages come one behind the other: it holds hundreds of them."""

_DEAR_S = 0.001
"""A piece of work that takes longer is mostly the last one of a message, which others follow from."""

_ROUNDS_AFTER = 3
"""Rounds of the loop in which what follows is done: the answer wakes its call, and that writes it."""


class Turns:
    """The line of one process."""

    def __init__(self) -> None:
        self._line: deque[Callable[[], None]] = deque()
        """Pieces whose turn has not come."""
        self._began_s: float | None = None
        """When the turn began that is not over."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def take(self, work: Callable[[], None]) -> bool:
        """Work on a piece of a long message: now, or, where another had its turn just now, later; False says so.

        Pieces take turns, one in a round of the loop, and after what was dear there is as long a break, so that short
        messages are never behind more than one of them.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what waits in one that has ended never has its turn
            self._loop, self._began_s = loop, None
            self._line.clear()
        if self._began_s is not None:
            self._line.append(work)
            return False
        self._take_turn(work)
        return True

    def _take_turn(self, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._began_s = loop.time()
        try:
            work()
        finally:
            rounds = 1 if loop.time() - self._began_s < _DEAR_S else _ROUNDS_AFTER
            loop.call_soon(self._end_turn, rounds)

    def _end_turn(self, rounds: int) -> None:
        loop = asyncio.get_running_loop()
        if rounds > 1:
            loop.call_soon(self._end_turn, rounds - 1)
            return
        took_s = loop.time() - (self._began_s or 0.0)
        if took_s > _DEAR_S:
            loop.call_later(took_s, self._next_turn)
        else:
            self._next_turn()

    def _next_turn(self) -> None:
        self._began_s = None
        if self._line:
            self._take_turn(self._line.popleft())


turns = Turns()
"""Of this process, as its loop is."""
