"""Long messages that come in pieces from one source: a client's socket, an upstream's, or a pipe.

Owns that a source is not read while there is no room for its message, or while it is the turn of others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from hub_gateway.backlog import Backlog, Claim, backlog
from hub_gateway.turns import Turns, turns

STEPS_BYTES = (4 * 1024 * 1024, 64 * 1024 * 1024)
"""What a message takes whose length nobody says: first the one, and all that a message may have once that is full.
More steps would leave more halves of messages that wait for each other."""


class Source(Protocol):
    """Where messages come from piece by piece."""

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`."""
        ...

    def resume_reading(self) -> None:
        """Read on."""
        ...

    def cut(self) -> None:
        """Close it now."""
        ...


def set_reading(transport: asyncio.ReadTransport | None, *, on: bool) -> None:
    """Read on from a transport, or read it no more for now; nothing where there is none, or it is closing."""
    if transport is not None and not transport.is_closing():
        (transport.resume_reading if on else transport.pause_reading)()


class Intake:
    """Takes room for one message after another that come from one source, and does not read it while there is none.

    Args:
        source: is paused, read on and cut.
        shared: other messages come from it too, so it is never cut for one that is slow.
        room, line: of this process, except in tests.
    """

    def __init__(self, source: Source, *, shared: bool = False, room: Backlog = backlog, line: Turns = turns) -> None:
        self._backlog = room
        self._turns = line
        self._source = source
        self._shared = shared
        self._claims: list[Claim] = []
        self._pieces: deque[Callable[[], None]] = deque()
        self._waits = False
        self._paused = False
        self.room_bytes = 0
        self.moved_bytes = 0

    @property
    def is_behind(self) -> bool:
        """Whether pieces wait, which come before any other."""
        return bool(self._pieces)

    def piece(self, work: Callable[[], None]) -> None:
        """Have a piece of a long message, or of a flood of short ones, worked on when its turn comes; nothing more is
        read before."""
        self._pieces.append(work)
        if len(self._pieces) == 1 and not self._turns.take(self._next_piece):
            self._heed()

    def flush(self) -> None:
        """Have all of them worked on: nothing more comes."""
        while self._pieces:
            self._pieces.popleft()()

    def came(self, size_bytes: int, whole_bytes: int = 0) -> None:
        """So much of the open message is here, of so much where that is known."""
        self.moved_bytes = size_bytes
        if self._waits or size_bytes <= self.room_bytes:
            return
        whole_bytes = whole_bytes or next((step for step in STEPS_BYTES if step >= size_bytes), size_bytes)
        more_bytes = whole_bytes - self.room_bytes
        claim = self._backlog.claim(more_bytes, self._granted, first=self.room_bytes > 0)
        self._claims.append(claim)
        self.room_bytes += more_bytes
        if not claim.granted:
            self._waits = True
            self._backlog.rests(self)
            self._heed()
        elif len(self._claims) == 1 and not self._shared:
            self._backlog.moving(self)

    def is_whole(self) -> None:
        """The open message is here as a whole, and keeps its room."""
        self._backlog.rests(self)

    def gone_on(self) -> None:
        """The open message is no longer held here, or never will be whole. Idempotent."""
        claims, self._claims = self._claims, []
        moved_bytes, self.room_bytes, self.moved_bytes = self.moved_bytes, 0, 0
        if claims:
            self._backlog.rests(self)
            self._backlog.passing(moved_bytes)
            for claim in claims:
                self._backlog.release(claim)
        self._waits = False
        self._heed()

    def cut(self) -> None:
        """Close the source."""
        self._source.cut()

    def _granted(self) -> None:
        self._waits = False
        if not self._shared:
            self._backlog.moving(self)
        self._heed()

    def _next_piece(self) -> None:
        if self._pieces:
            self._pieces.popleft()()
        if self._pieces:
            self._turns.take(self._next_piece)
        self._heed()

    def _heed(self) -> None:
        """Have the source read, or not."""
        pause = self._waits or bool(self._pieces)
        if pause != self._paused:
            self._paused = pause
            (self._source.pause_reading if pause else self._source.resume_reading)()
