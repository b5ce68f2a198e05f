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

LIMIT_BYTES = 256 * 1024 * 1024

PATIENCE_S = 5.0
"""How long somebody may be slow while others wait for room. A client that works on a long answer reads nothing else for
a second or two."""

SHORT_PATIENCE_S = 1.0
"""The same once somebody was cut off, for `_WARY_S`: where one does not read there are mostly many."""

_WARY_S = 10.0

SLOW_BYTES_PER_S = 64 * 1024
"""Whoever moves less is slow."""

_LOOK_S = 0.25

_PASSING_ROUNDS = 8
"""Of the loop, until a message that came in whole is in its client's socket, or waits in a stream: the task of its call
and that of its stream are woken in between, one after the other."""

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


class Claim:
    """Room for a message, or for more of it; `granted_to` is called when it is granted later than at once."""

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
        """Sockets that were closed for their slowness."""
        self._closed_s = float("-inf")
        """When the last one was."""
        self._taken_bytes = 0
        self._passing_bytes = 0
        """Of messages that were let go, and are not yet what their clients have not read."""
        self._waiting: deque[Claim] = deque()
        self._readers: dict[Mover, _Pace] = {}
        self._intakes: dict[Mover, _Pace] = {}
        self._beyond = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Of the timer."""

    @property
    def held_bytes(self) -> int:
        """What is held now."""
        return self._taken_bytes + sum(reader.room_bytes for reader in self._readers)

    @property
    def waiting(self) -> int:
        """Messages that wait for room."""
        return len(self._waiting)

    def blocked(self, reader: Mover) -> None:
        """A client takes no more for now: its room is what it has not read."""
        self._readers[reader] = _Pace(asyncio.get_running_loop().time(), reader.moved_bytes)
        if self.held_bytes > self.limit_bytes:
            self._watch()

    def unblocked(self, reader: Mover) -> None:
        """It takes more again, or is gone."""
        if self._readers.pop(reader, None) is not None:
            self._serve_soon()

    def claim(self, room_bytes: int, granted_to: Callable[[], None], *, first: bool) -> Claim:
        """Ask for room. Where the claim is not granted at once, `granted_to` is called when it is; `first` is for more
        room for a message that has some."""
        claim = Claim(room_bytes, granted_to)
        if not self._waiting and self._fits(room_bytes):
            self._take(claim)
        else:
            (self._waiting.appendleft if first else self._waiting.append)(claim)
            self._watch()
        return claim

    def release(self, claim: Claim) -> None:
        """Give room back, or ask for it no more."""
        if claim.granted:
            self._taken_bytes -= claim.room_bytes
            self._beyond -= claim.beyond
        elif claim in self._waiting:
            self._waiting.remove(claim)
        self._serve_soon()

    def passing(self, message_bytes: int) -> None:
        """A message whose room is given back is on its way to its client, where it takes room again."""
        self._passing_bytes += message_bytes
        self._after_rounds(_PASSING_ROUNDS, message_bytes)

    def _after_rounds(self, rounds: int, message_bytes: int) -> None:
        if rounds:
            asyncio.get_running_loop().call_soon(self._after_rounds, rounds - 1, message_bytes)
            return
        self._passing_bytes -= message_bytes
        self._serve_soon()

    def moving(self, intake: Mover) -> None:
        """A message that has room comes in, and may be too slow."""
        self._intakes[intake] = _Pace(asyncio.get_running_loop().time(), intake.moved_bytes)

    def rests(self, intake: Mover) -> None:
        """It is whole, or waits for room itself."""
        if self._intakes.pop(intake, None) is not None:
            self._serve_soon()

    def _fits(self, room_bytes: int) -> bool:
        held_bytes = self.held_bytes + self._passing_bytes
        return not held_bytes or held_bytes + room_bytes <= self.limit_bytes

    def _take(self, claim: Claim) -> None:
        claim.granted = True
        self._taken_bytes += claim.room_bytes

    def _grant(self, claim: Claim) -> None:
        self._take(claim)
        claim.granted_to()

    def _serve_soon(self) -> None:
        # Not at once: whoever gives room back may have more to give.
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
        loop = asyncio.get_running_loop()
        if self._timer is None or loop is not self._loop:
            self._loop, self._timer = loop, loop.call_later(_LOOK_S, self._look)

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

    def _is_stuck(self, head: Claim) -> bool:
        """Whether there would be no room either once all clients have read what is theirs, and nothing is coming in
        that would give any back."""
        no_room = self.held_bytes <= self.limit_bytes < self._taken_bytes + head.room_bytes
        return no_room and not (self._beyond or self._intakes or self._passing_bytes)

    def _cut(self, mover: Mover) -> None:
        self.closed += 1
        self._closed_s = asyncio.get_running_loop().time()
        _log.warning(
            "a socket that moved less than %d bytes a second was closed: others wait for the %d bytes that it held",
            SLOW_BYTES_PER_S,
            mover.room_bytes,
        )
        mover.cut()


def _slow(paces: dict[Mover, _Pace], now_s: float, patience_s: float) -> list[Mover]:
    """Who has been slow for so long, those with most room first; for the others time counts anew."""
    slow: list[Mover] = []
    for mover, pace in paces.items():
        moved_bytes, passed_s = mover.moved_bytes, now_s - pace.at_s
        if moved_bytes - pace.moved_bytes >= SLOW_BYTES_PER_S * passed_s:
            pace.at_s, pace.moved_bytes = now_s, moved_bytes
        elif passed_s >= patience_s:
            slow.append(mover)
    return sorted(slow, key=lambda mover: mover.room_bytes, reverse=True)


backlog = Backlog()
"""Of this process: memory is the process's, whichever gateway of it holds it."""
