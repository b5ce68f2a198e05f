"""Room for long messages: the bound on all that the gateway holds at one time, for clients and upstreams together.

Owns who waits while the room is taken, and who is cut off for it. A message is bounded by itself and a stream too, but
not how many of them there are. Knows no protocol: whoever moves a long message says so here, and short ones do not.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger(__name__)

LONG_BYTES = 256 * 1024
"""Messages up to this length ask for no room. As much goes over a socket or a pipe in one piece."""

TURNS_BYTES = 2 * 1024 * 1024
"""Of messages beyond this length each piece waits for its turn."""

FLOOD_BYTES = 48 * 1024
"""So does a piece of this length where many messages come one behind the other: it holds hundreds of them."""

LIMIT_BYTES = 256 * 1024 * 1024

STEPS_BYTES = (4 * 1024 * 1024, 64 * 1024 * 1024)
"""What a message takes whose length nobody says: first the one, and all that a message may have once that is full.
More steps would leave more halves of messages that wait for each other."""

PATIENCE_S = 5.0
"""How long somebody may be slow while others wait for room. A client that works on a long answer reads nothing else for
a second or two."""

SHORT_PATIENCE_S = 1.0
"""The same once somebody was cut off, for `_WARY_S`: where one does not read there are mostly many."""

_WARY_S = 10.0

SLOW_BYTES_PER_S = 64 * 1024
"""Whoever moves less is slow."""

_LOOK_S = 0.25

_DEAR_S = 0.001
"""A piece of work that takes longer is mostly the last one of a message, which others follow from."""

_ROUNDS_AFTER = 3
"""Rounds of the loop in which what follows is done: the answer wakes its call, and that writes it."""


_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Gives memory that is free back to the system (glibc). Pieces of messages leave holes that only this returns."""


class Mover(Protocol):
    """A socket over which a long message goes, in either direction."""

    @property
    def room_bytes(self) -> int:
        """What is free once it is cut off."""
        ...

    @property
    def moved_bytes(self) -> int:
        """How much of the message has gone over it."""
        ...

    def cut(self) -> None:
        """Close it now: it is slow, and others wait for its room."""
        ...


class Reader(Mover, Protocol):
    """A client's socket that takes no more for now: its room is what it has not read."""


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


class _Claim:
    """Room for a message, or for more of it."""

    __slots__ = ("beyond", "granted", "granted_to", "room_bytes")

    def __init__(self, room_bytes: int, granted_to: Callable[[], None]) -> None:
        self.room_bytes = room_bytes
        self.granted_to = granted_to
        self.granted = False
        self.beyond = False
        """Granted though there was no room."""


class _Pace:
    """How far a mover was when it was last quick enough."""

    __slots__ = ("at_s", "moved_bytes")

    def __init__(self, at_s: float, moved_bytes: int) -> None:
        self.at_s = at_s
        self.moved_bytes = moved_bytes


class Backlog:
    """The room of one process.

    A long message takes room before it is read further, and gives it back when it has gone on; what a client does not
    read takes room as well. While there is none, sources of long messages are not read, in the order in which they
    asked, which is what their servers and clients notice. Whoever is slow for `PATIENCE_S` while others wait, or while
    more is held than the limit, is cut off: first clients, then upstreams, those with most room first. Where messages
    that are not whole have all the room, one at a time may go beyond the limit, so that they never wait for each other.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.closed = 0
        self._closed_s = float("-inf")
        """When the last one was."""
        """Sockets that were closed for their slowness."""
        self._taken_bytes = 0
        self._waiting: deque[_Claim] = deque()
        self._readers: dict[Reader, _Pace] = {}
        self._intakes: dict[Intake, _Pace] = {}
        self._beyond = 0
        self._timer: asyncio.TimerHandle | None = None
        self._line: deque[Callable[[], None]] = deque()
        """Pieces of long messages whose turn has not come."""
        self._turn_s: float | None = None
        """When the turn began that is not over."""

    @property
    def held_bytes(self) -> int:
        """What is held now."""
        return self._taken_bytes + sum(reader.room_bytes for reader in self._readers)

    @property
    def waiting(self) -> int:
        """Messages that wait for room."""
        return len(self._waiting)

    def blocked(self, reader: Reader) -> None:
        """A client takes no more for now."""
        self._readers[reader] = _Pace(asyncio.get_running_loop().time(), reader.moved_bytes)
        if self.held_bytes > self.limit_bytes:
            self._watch()

    def unblocked(self, reader: Reader) -> None:
        """It takes more again, or is gone."""
        if self._readers.pop(reader, None) is not None:
            self._serve_soon()

    def claim(self, room_bytes: int, granted_to: Callable[[], None], *, first: bool) -> _Claim:
        """Ask for room. Where the claim is not granted at once, `granted_to` is called when it is; `first` is for more
        room for a message that has some."""
        claim = _Claim(room_bytes, granted_to)
        if not self._waiting and self._fits(room_bytes):
            claim.granted = True
            self._taken_bytes += room_bytes
        else:
            (self._waiting.appendleft if first else self._waiting.append)(claim)
            self._watch()
        return claim

    def release(self, claim: _Claim) -> None:
        """Give room back, or ask for it no more."""
        if claim.granted:
            self._taken_bytes -= claim.room_bytes
            self._beyond -= claim.beyond
        elif claim in self._waiting:
            self._waiting.remove(claim)
        self._serve_soon()

    def moving(self, intake: Intake) -> None:
        """A message that has room comes in, and may be too slow."""
        self._intakes[intake] = _Pace(asyncio.get_running_loop().time(), intake.moved_bytes)

    def rests(self, intake: Intake) -> None:
        """It is whole, or waits for room itself."""
        if self._intakes.pop(intake, None) is not None:
            self._serve_soon()

    def turn(self, work: Callable[[], None]) -> bool:
        """Work on a piece of a long message: now, or, where another had its turn just now, later; False says so.

        Pieces take turns, one in a round of the loop, and after what was dear there is as long a break, so that short
        messages are never behind more than one of them.
        """
        if self._turn_s is not None:
            self._line.append(work)
            return False
        self._take_turn(work)
        return True

    def _take_turn(self, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._turn_s = loop.time()
        try:
            work()
        finally:
            rounds = 1 if loop.time() - self._turn_s < _DEAR_S else _ROUNDS_AFTER
            loop.call_soon(self._end_turn, rounds)

    def _end_turn(self, rounds: int) -> None:
        loop = asyncio.get_running_loop()
        if rounds > 1:
            loop.call_soon(self._end_turn, rounds - 1)
            return
        took_s = loop.time() - (self._turn_s or 0.0)
        if took_s > _DEAR_S:
            loop.call_later(took_s, self._next_turn)
        else:
            self._next_turn()

    def _next_turn(self) -> None:
        self._turn_s = None
        if self._line:
            self._take_turn(self._line.popleft())

    def _fits(self, room_bytes: int) -> bool:
        held_bytes = self.held_bytes
        return not held_bytes or held_bytes + room_bytes <= self.limit_bytes

    def _grant(self, claim: _Claim) -> None:
        claim.granted = True
        self._taken_bytes += claim.room_bytes
        claim.granted_to()

    def _serve_soon(self) -> None:
        # Not at once: what came in whole is only now on its way to its client, where it takes room again.
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        while self._waiting and self._fits(self._waiting[0].room_bytes):
            self._grant(self._waiting.popleft())
        if self._waiting and self._is_stuck(self._waiting[0]):
            claim = self._waiting.popleft()
            claim.beyond = True
            self._beyond += 1
            self._grant(claim)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        self._serve()
        missing_bytes = self.held_bytes + sum(claim.room_bytes for claim in self._waiting) - self.limit_bytes
        patience_s = SHORT_PATIENCE_S if now_s - self._closed_s < _WARY_S else PATIENCE_S
        slow = [*_slow(self._readers, now_s, patience_s), *_slow(self._intakes, now_s, patience_s)]
        for mover in slow:
            if missing_bytes <= 0:
                break
            missing_bytes -= mover.room_bytes
            self._cut(mover)
        if _trim is not None:
            _trim(0)
        if self._waiting or self.held_bytes > self.limit_bytes:
            self._watch()

    def _is_stuck(self, head: _Claim) -> bool:
        """Whether there would be no room either once all clients have read what is theirs, and nothing is coming in
        that would give any back."""
        no_room = self.held_bytes <= self.limit_bytes < self._taken_bytes + head.room_bytes
        return no_room and not self._beyond and not self._intakes

    def _cut(self, mover: Mover) -> None:
        self.closed += 1
        self._closed_s = asyncio.get_running_loop().time()
        _log.warning(
            "a socket that moved less than %d bytes a second was closed: others wait for the %d bytes that it held",
            SLOW_BYTES_PER_S,
            mover.room_bytes,
        )
        mover.cut()


def _slow(
    paces: dict[Mover, _Pace] | dict[Reader, _Pace] | dict[Intake, _Pace], now_s: float, patience_s: float
) -> list[Mover]:
    """Who has been slow for so long, those with most room first; for the others time counts anew."""
    slow: list[Mover] = []
    for mover, pace in paces.items():
        moved_bytes, passed_s = mover.moved_bytes, now_s - pace.at_s
        if moved_bytes - pace.moved_bytes >= SLOW_BYTES_PER_S * passed_s:
            pace.at_s, pace.moved_bytes = now_s, moved_bytes
        elif passed_s >= patience_s:
            slow.append(mover)
    return sorted(slow, key=lambda mover: mover.room_bytes, reverse=True)


class Intake:
    """Takes room for one message after another that come from one source, and does not read it while there is none.

    Args:
        source: is paused, read on and cut.
        shared: other messages come from it too, so it is never cut for one that is slow.
    """

    def __init__(self, backlog: Backlog, source: Source, *, shared: bool = False) -> None:
        self._backlog = backlog
        self._source = source
        self._shared = shared
        self._claims: list[_Claim] = []
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
        if len(self._pieces) == 1 and not self._backlog.turn(self._next_piece):
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
        self.room_bytes = self.moved_bytes = 0
        if claims:
            self._backlog.rests(self)
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
            self._backlog.turn(self._next_piece)
        self._heed()

    def _heed(self) -> None:
        """Have the source read, or not."""
        pause = self._waits or bool(self._pieces)
        if pause != self._paused:
            self._paused = pause
            (self._source.pause_reading if pause else self._source.resume_reading)()


backlog = Backlog()
"""Of this process: memory is the process's, whichever gateway of it holds it."""
