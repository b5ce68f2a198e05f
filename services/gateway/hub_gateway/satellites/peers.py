"""The other replicas of this gateway, as far as they can be reached: told things, and asked things that take a while.

Owns this replica's id, who else is there, and the order of what is told. Does not know what is said. Alone, or with the
bus away, everything here is a quick "nobody": what is this process's own goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

import msgspec

from hub_common.bus import Bus, BusUnavailable
from hub_common.store import Store
from hub_common.tasks import Tasks
from hub_gateway.satellites import letters
from hub_gateway.satellites.letters import EVERYBODY, Letter, Letters, PeerGone
from hub_gateway.satellites.lines import Answerer, Lines

ID_LENGTH = 8
"""Characters of a replica's id: hexadecimal, so that it can stand in any id."""

GREET_S = 5.0
_GREET_AGAIN_S = 0.2
FORGET_S = 3 * GREET_S
"""A replica that was not heard of for this long is taken for gone."""

LIVES_S = 1.5
"""How soon a replica that lives says so when it is asked."""

MAX_WAITING = 4096
"""Things to be told that have not left yet; when full the next is dropped, as when the bus is away."""

_LIVE = "live"
_log = logging.getLogger(__name__)

Told = Callable[[str, bytes], None]
"""Takes the id of the replica that tells and what it tells."""


class _Waiting(NamedTuple):
    channel: str
    deed: str
    body: bytes
    lost: Callable[[], None] | None


class Peers:
    """The way to the other replicas. `run` while the process lives; its maker closes it.

    Args:
        bus: not closed here.
        store: carries what is too long for the bus; not closed here.
        clock: monotonic seconds.
    """

    def __init__(self, bus: Bus, store: Store, clock: Callable[[], float]) -> None:
        self.id = secrets.token_hex(ID_LENGTH // 2)
        self._bus = bus
        self._clock = clock
        self._hears = False
        self._seen: dict[str, float] = {}
        self._heard_to: dict[str, int] = {}
        """How much of what each replica tells was heard, by its own count: the bus may repeat what it was not told in
        time to have published."""
        self._told: dict[str, Told] = {
            "hello": self._greeted,
            "here": self._met,
            "bye": self._left,
            "stop": lambda sender, body: self._lines.stopped(sender, int(body)),
        }
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)
        self._tasks = Tasks("peers")
        self._letters = Letters(self.id, bus, store)
        self._lines = Lines(self.id, self._letters, self._stop, self._tasks)
        self._lines.when_asked(_LIVE, _alive)

    @property
    def alone(self) -> bool:
        """Whether no other replica is known to be there."""
        return not self._seen

    @property
    def others(self) -> tuple[str, ...]:
        """The other replicas that are known to be there."""
        return tuple(self._seen)

    def when_told(self, deed: str, told: Told) -> None:
        """Have `told` called with everything that is told under that word. It never blocks or raises."""
        self._told[deed] = told

    def when_asked(self, deed: str, answerer: Answerer) -> None:
        """Have `answerer` answer whatever is asked under that word."""
        self._lines.when_asked(deed, answerer)

    def tell(self, deed: str, body: bytes, replica: str | None = None, lost: Callable[[], None] | None = None) -> None:
        """Tell one replica, or without a name all others, in order. `lost` is called where nobody heard it."""
        if replica is None and self.alone:
            return
        try:
            self._waiting.put_nowait(_Waiting(replica or EVERYBODY, deed, body, lost))
        except asyncio.QueueFull:
            _log.warning("too much to tell the other replicas: %s was dropped", deed)
            if lost is not None:
                lost()

    async def delivered(self) -> None:
        """Wait until everything told before has left, or a moment."""
        if self._waiting.empty():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._waiting.join()

    def ask(self, replica: str, deed: str, body: bytes) -> AsyncGenerator[bytes]:
        """Ask one replica; see `Lines.ask`."""
        return self._lines.ask(replica, deed, body)

    async def lives(self, replica: str) -> bool:
        """Whether a replica answers at once."""
        try:
            async with asyncio.timeout(LIVES_S), contextlib.aclosing(self.ask(replica, _LIVE, b"")) as parts:
                return [part async for part in parts] == []
        except (TimeoutError, PeerGone):
            return False

    async def run(self) -> None:
        """Be there for the others until cancelled."""
        self._bus.subscribe(self.id, self._hear)
        self._bus.subscribe(EVERYBODY, self._hear)
        self._tasks.spawn(self._tell_in_order(), "tell")
        while True:
            with contextlib.suppress(BusUnavailable):
                await self._letters.send(EVERYBODY, "here" if self._hears else "hello")
            await asyncio.sleep(GREET_S if self._hears else _GREET_AGAIN_S)
            before_s = self._clock() - FORGET_S
            self._seen = {replica: seen_s for replica, seen_s in self._seen.items() if seen_s >= before_s}
            self._heard_to = {replica: place for replica, place in self._heard_to.items() if replica in self._seen}

    async def close(self) -> None:
        """Say goodbye, and end every line."""
        await self._tasks.close()
        if not self.alone:
            with contextlib.suppress(BusUnavailable):
                await self._letters.send(EVERYBODY, "bye")

    # Out

    async def _tell_in_order(self) -> None:
        for place in itertools.count(1):
            channel, deed, body, lost = await self._waiting.get()
            heard = 0
            try:
                heard = await self._letters.send(channel, deed, place=place, body=body)
            except BusUnavailable as fault:
                _log.debug("the other replicas were not told of %s: %s", deed, fault)
            finally:
                self._waiting.task_done()
            if heard <= 0 and lost is not None:
                lost()

    def _stop(self, replica: str, line: int) -> None:
        self.tell("stop", b"%d" % line, replica)

    # In

    def _hear(self, raw: bytes) -> None:
        try:
            letter = letters.read(raw)
        except msgspec.MsgspecError as fault:
            _log.warning("what another replica said is not understood: %s", fault)
            return
        if letter.sender == self.id:
            self._hears = True
            return
        self._seen[letter.sender] = self._clock()
        try:
            self._heed(letter)
        except Exception:  # of another version, perhaps: nobody else shall become inaudible for it
            _log.warning("what another replica said of %r cannot be used", letter.deed[:40], exc_info=True)

    def _heed(self, letter: Letter) -> None:
        if letter.line:
            self._lines.heed(letter)
            return
        if letter.place:
            if letter.place <= self._heard_to.get(letter.sender, 0):
                return
            self._heard_to[letter.sender] = letter.place
        if (told := self._told.get(letter.deed)) is not None:
            if letter.parcel:
                self._tasks.spawn(self._tell_unpacked(told, letter), "unpack")
            else:
                told(letter.sender, letter.body)

    async def _tell_unpacked(self, told: Told, letter: Letter) -> None:
        with contextlib.suppress(PeerGone):
            told(letter.sender, await self._letters.unpacked(letter))

    # Who is there

    def _greeted(self, sender: str, _: bytes) -> None:
        self.tell("here", b"", sender)

    def _met(self, _sender: str, _: bytes) -> None:
        """Its sender was noted already."""

    def _left(self, sender: str, _: bytes) -> None:
        self._seen.pop(sender, None)


async def _alive(_body: bytes, _say: Callable[[bytes], None]) -> None:
    """To answer is all."""
