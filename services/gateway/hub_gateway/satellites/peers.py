"""The other replicas of this gateway, as far as they can be reached: told things, and asked things that take a while.

Owns this replica's id, who else is there, and the lines between two replicas on the bus: their order, their end, and
that a line to a dead one ends too. Does not know what is said. Alone, or with the bus away, everything here is a quick
"nobody": what is this process's own goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

import msgspec

from hub_common.bus import Bus, BusUnavailable
from hub_common.store import Store, StoreUnavailable
from hub_common.tasks import Tasks
from hub_gateway.errors import SatelliteError

ID_LENGTH = 8
"""Characters of a replica's id: hexadecimal, so that it can stand in any id."""

GREET_S = 5.0
_GREET_AGAIN_S = 0.2
FORGET_S = 3 * GREET_S
"""A replica that was not heard of for this long is taken for gone."""

ALIVE_S = 3.0
SILENCE_S = 10.0
"""A line on which nothing was heard for this long, not even a sign of life, is broken."""

MAX_WAITING = 4096
"""Things to be told that have not left yet; when full the next is dropped, as when the bus is away."""

MAX_PARTS = 1024
"""Parts of one line that are not taken yet; when full the line breaks, and whoever asked may ask again."""

PARCELS = "parcels"
_PARCEL_S = 60.0
_EVERYBODY = "gateways"
_log = logging.getLogger(__name__)


class PeerGone(SatelliteError):
    """The replica is not there, or the line to it broke."""


class PeerAbsent(PeerGone):
    """The replica is not there, and was not asked."""


Say = Callable[[bytes], None]
"""Says one part on a line. Never blocks."""

Answerer = Callable[[bytes, Say], Awaitable[None]]
"""Answers what is asked on a line; cancelled when whoever asked is gone or wants no more."""

Told = Callable[[str, bytes], None]
"""Takes the id of the replica that tells and what it tells."""


class _Letter(msgspec.Struct, frozen=True, array_like=True):
    """What goes over the bus. `line` is 0 for what is only told; `place` counts the parts of a line from 1."""

    sender: str
    deed: str
    line: int = 0
    place: int = 0
    body: bytes = b""
    parcel: bool = False
    """The body is in the store, under the key that `body` is."""


class _Waiting(NamedTuple):
    channel: str
    deed: str
    body: bytes
    lost: Callable[[], None] | None


_decoder = msgspec.msgpack.Decoder(_Letter)


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
        self._store = store
        self._clock = clock
        self._hears = False
        self._seen: dict[str, float] = {}
        self._told: dict[str, Told] = {"hello": self._greeted, "here": self._met, "bye": self._left}
        self._answerers: dict[str, Answerer] = {}
        self._asked: dict[int, asyncio.Queue[_Letter | None]] = {}
        self._answering: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._lines = 0
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)
        self._tasks = Tasks("peers")

    @property
    def alone(self) -> bool:
        """Whether no other replica is known to be there."""
        return not self._seen

    def when_told(self, deed: str, told: Told) -> None:
        """Have `told` called with everything that is told under that word. It never blocks or raises."""
        self._told[deed] = told

    def when_asked(self, deed: str, answerer: Answerer) -> None:
        """Have `answerer` answer whatever is asked under that word."""
        self._answerers[deed] = answerer

    def tell(self, deed: str, body: bytes, replica: str | None = None, lost: Callable[[], None] | None = None) -> None:
        """Tell one replica, or without a name all others, in order. `lost` is called where nobody heard it."""
        if replica is None and self.alone:
            return
        try:
            self._waiting.put_nowait(_Waiting(replica or _EVERYBODY, deed, body, lost))
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

    async def ask(self, replica: str, deed: str, body: bytes) -> AsyncGenerator[bytes]:
        """Ask one replica and yield the parts of its answer as they come; closing it tells the replica to stop.

        Raises:
            PeerGone: it is not there, does not live, or a part was lost on the way.
        """
        self._lines += 1
        line = self._lines
        parts: asyncio.Queue[_Letter | None] = asyncio.Queue(MAX_PARTS + 1)
        self._asked[line] = parts
        over = False
        try:
            if replica == self.id or await self._send(replica, "?" + deed, line, 0, body) == 0:
                over = True
                raise PeerAbsent("the replica that has it is gone")
            expected = 1
            while True:
                async with asyncio.timeout(SILENCE_S):
                    letter = await parts.get()
                if letter is not None and (letter.deed == "alive" or letter.place < expected):
                    continue  # a sign of life, or what was published twice over a line that broke
                if letter is None or letter.place != expected:
                    raise PeerGone("a part of the other replica's answer was lost")
                expected += 1
                if letter.deed != "part":
                    over = True
                    if letter.deed == "end":
                        return
                    raise PeerGone(letter.body.decode(errors="replace"))
                yield await self._unpacked(letter)
        except TimeoutError:
            raise PeerGone("the replica that has it does not answer") from None
        except BusUnavailable as fault:
            over = True
            raise PeerGone(f"the replica that has it cannot be reached: {fault}") from fault
        finally:
            del self._asked[line]
            if not over:
                self.tell("stop", b"%d" % line, replica)

    async def run(self) -> None:
        """Be there for the others until cancelled."""
        self._bus.subscribe(self.id, self._hear)
        self._bus.subscribe(_EVERYBODY, self._hear)
        self._tasks.spawn(self._tell_in_order(), "tell")
        while True:
            with contextlib.suppress(BusUnavailable):
                await self._send(_EVERYBODY, "here" if self._hears else "hello", 0, 0, b"")
            await asyncio.sleep(GREET_S if self._hears else _GREET_AGAIN_S)
            before_s = self._clock() - FORGET_S
            self._seen = {replica: seen_s for replica, seen_s in self._seen.items() if seen_s >= before_s}

    async def close(self) -> None:
        """Say goodbye, and end every line."""
        await self._tasks.close()
        if not self.alone:
            with contextlib.suppress(BusUnavailable):
                await self._send(_EVERYBODY, "bye", 0, 0, b"")

    # Out

    async def _send(self, channel: str, deed: str, line: int, place: int, body: bytes) -> int:
        """Publish one letter and return how many heard it.

        Raises:
            BusUnavailable: nobody can be reached.
        """
        parcel = self._bus.parcel_bytes is not None and len(body) > self._bus.parcel_bytes
        if parcel:
            key = secrets.token_hex(16)
            try:
                await self._store.put(PARCELS, key, body, _PARCEL_S)
            except StoreUnavailable as fault:
                raise BusUnavailable(str(fault)) from fault
            body = key.encode()
        letter = msgspec.msgpack.encode(_Letter(self.id, deed, line, place, body, parcel))
        heard = await self._bus.publish(channel, letter)
        return heard - 1 if channel == _EVERYBODY else heard

    async def _tell_in_order(self) -> None:
        while True:
            channel, deed, body, lost = await self._waiting.get()
            heard = 0
            try:
                heard = await self._send(channel, deed, 0, 0, body)
            except BusUnavailable as fault:
                _log.debug("the other replicas were not told of %s: %s", deed, fault)
            finally:
                self._waiting.task_done()
            if heard <= 0 and lost is not None:
                lost()

    # In

    def _hear(self, raw: bytes) -> None:
        try:
            letter = _decoder.decode(raw)
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

    def _heed(self, letter: _Letter) -> None:
        if letter.line and letter.deed[:1] == "?":
            if (letter.sender, letter.line) in self._answering:
                return  # published twice over a line that broke
            task = self._tasks.spawn(self._answer(letter), f"answer {letter.deed}")
            self._answering[letter.sender, letter.line] = task
        elif letter.line:
            self._take_part(letter)
        elif letter.deed == "stop":
            if (task := self._answering.get((letter.sender, int(letter.body)))) is not None:
                task.cancel()
        elif (told := self._told.get(letter.deed)) is not None:
            if letter.parcel:
                self._tasks.spawn(self._tell_unpacked(told, letter), "unpack")
            else:
                told(letter.sender, letter.body)

    def _take_part(self, letter: _Letter) -> None:
        parts = self._asked.get(letter.line)
        if parts is None or parts.full():
            return
        parts.put_nowait(letter if parts.qsize() < MAX_PARTS else None)

    async def _tell_unpacked(self, told: Told, letter: _Letter) -> None:
        with contextlib.suppress(PeerGone):
            told(letter.sender, await self._unpacked(letter))

    async def _unpacked(self, letter: _Letter) -> bytes:
        if not letter.parcel:
            return letter.body
        key = letter.body.decode()
        try:
            body = await self._store.get(PARCELS, key)
            await self._store.delete(PARCELS, key)
        except StoreUnavailable as fault:
            raise PeerGone(f"what another replica said cannot be fetched: {fault}") from fault
        if body is None:
            raise PeerGone("what another replica said is gone")
        return body

    async def _answer(self, letter: _Letter) -> None:
        """Answer one question: parts in order, signs of life between them, then the end."""
        parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        answered: asyncio.Task[None] | None = None
        place = 0
        try:
            answerer = self._answerers.get(letter.deed[1:])
            if answerer is None:
                raise PeerGone("the other replica does not know what it was asked")
            answered = self._tasks.spawn(_answered(answerer, await self._unpacked(letter), parts), "answering")
            while (part := await _within(ALIVE_S, parts)) is not None:
                place += part != b""
                deed = "part" if part else "alive"
                if await self._send(letter.sender, deed, letter.line, place, part) == 0:
                    return  # whoever asked is gone
                if parts.qsize() > MAX_PARTS:
                    raise PeerGone("the line to the other replica is too slow")
            await asyncio.wait((answered,))
            if answered.cancelled() or answered.exception() is not None:
                raise PeerGone("the other replica could not answer")
            await self._send(letter.sender, "end", letter.line, place + 1, b"")
        except PeerGone as fault:
            with contextlib.suppress(BusUnavailable):
                await self._send(letter.sender, "fail", letter.line, place + 1, str(fault).encode())
        except BusUnavailable as fault:
            _log.debug("another replica gets no answer: %s", fault)
        finally:
            self._answering.pop((letter.sender, letter.line), None)
            if answered is not None:
                answered.cancel()

    # Who is there

    def _greeted(self, sender: str, _: bytes) -> None:
        self.tell("here", b"", sender)

    def _met(self, _sender: str, _: bytes) -> None:
        """Its sender was noted already."""

    def _left(self, sender: str, _: bytes) -> None:
        self._seen.pop(sender, None)


async def _answered(answerer: Answerer, body: bytes, parts: asyncio.Queue[bytes | None]) -> None:
    try:
        await answerer(body, parts.put_nowait)
    finally:
        parts.put_nowait(None)


async def _within(timeout_s: float, parts: asyncio.Queue[bytes | None]) -> bytes | None:
    """The next part, empty when none came in time; None when there are no more."""
    try:
        async with asyncio.timeout(timeout_s):
            return await parts.get()
    except TimeoutError:
        return b""
