"""The lines between two replicas: a question, the parts of its answer in order, and an end, also where one end is dead.

Owns order, signs of life and the end of a line. Does not know what is said on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

from hub_common.bus import BusUnavailable
from hub_common.tasks import Tasks
from hub_gateway.satellites.letters import Letter, Letters, PeerAbsent, PeerGone, PeerSilent

ALIVE_S = 2.5
SILENCE_S = 8.0
"""A line on which nothing was heard for this long, not even a sign of life, is broken."""

MAX_PARTS = 1024
"""Parts of one line that are not taken yet; when full the line breaks, and whoever asked may ask again."""

REMEMBERED = 4096
"""Questions answered last: the bus may repeat one a second after it was heard, where it was not told so in time."""

_log = logging.getLogger(__name__)

Say = Callable[[bytes], None]
"""Says one part on a line. Never blocks."""

Answerer = Callable[[bytes, Say], Awaitable[None]]
"""Answers what is asked on a line; cancelled when whoever asked is gone or wants no more."""

Stop = Callable[[str, int], None]
"""Tells a replica that nobody waits for its answer on that line any more."""


class Lines:
    """Both ends of the lines of one replica, which is `own`. Its maker closes `tasks`, which run the answers."""

    def __init__(self, own: str, letters: Letters, stop: Stop, tasks: Tasks) -> None:
        self._own = own
        self._letters = letters
        self._stop = stop
        self._tasks = tasks
        self._answerers: dict[str, Answerer] = {}
        self._asked: dict[int, asyncio.Queue[Letter | None]] = {}
        self._answering: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._over: dict[tuple[str, int], None] = {}
        """What was answered before, at most so many as are remembered."""
        self._count = 0

    def when_asked(self, deed: str, answerer: Answerer) -> None:
        """Have `answerer` answer whatever is asked under that word."""
        self._answerers[deed] = answerer

    async def ask(self, replica: str, deed: str, body: bytes) -> AsyncGenerator[bytes]:
        """Ask one replica and yield the parts of its answer as they come; closing it tells the replica to stop.

        Raises:
            PeerAbsent: it is not there.
            PeerSilent: it was asked, and does not live.
            PeerGone: a part was lost on the way, or it cannot answer.
        """
        self._count += 1
        line = self._count
        parts: asyncio.Queue[Letter | None] = asyncio.Queue(MAX_PARTS + 1)
        self._asked[line] = parts
        over = False
        try:
            if replica == self._own or await self._letters.send(replica, "?" + deed, line, 0, body) == 0:
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
                yield await self._letters.unpacked(letter)
        except TimeoutError:
            raise PeerSilent("the replica that has it does not answer") from None
        except BusUnavailable as fault:
            over = True
            raise PeerGone(f"the replica that has it cannot be reached: {fault}") from fault
        finally:
            del self._asked[line]
            if not over:
                self._stop(replica, line)

    def heed(self, letter: Letter) -> None:
        """Take a letter that belongs to a line."""
        key = letter.sender, letter.line
        if letter.deed[:1] != "?":
            self._take_part(letter)
        elif key not in self._answering and key not in self._over:  # else published twice over a line that broke
            self._answering[key] = self._tasks.spawn(self._answer(letter), f"answer {letter.deed}")

    def stopped(self, sender: str, line: int) -> None:
        """Whoever asked on that line waits no more."""
        if (task := self._answering.get((sender, line))) is not None:
            task.cancel()

    def _take_part(self, letter: Letter) -> None:
        parts = self._asked.get(letter.line)
        if parts is None or parts.full():
            return
        parts.put_nowait(letter if parts.qsize() < MAX_PARTS else None)

    async def _answer(self, letter: Letter) -> None:
        """Answer one question: parts in order, signs of life between them, then the end."""
        parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        answered: asyncio.Task[None] | None = None
        send, place = self._letters.send, 0
        try:
            answerer = self._answerers.get(letter.deed[1:])
            if answerer is None:
                raise PeerGone("the other replica does not know what it was asked")
            asked = await self._letters.unpacked(letter)
            answered = self._tasks.spawn(_answered(answerer, asked, parts), "answering")
            while (part := await _within(ALIVE_S, parts)) is not None:
                place += part != b""
                deed = "part" if part else "alive"
                if await send(letter.sender, deed, letter.line, place, part) == 0:
                    return  # whoever asked is gone
                if parts.qsize() > MAX_PARTS:
                    raise PeerGone("the line to the other replica is too slow")
            await asyncio.wait((answered,))
            if answered.cancelled() or answered.exception() is not None:
                raise PeerGone("the other replica could not answer")
            await send(letter.sender, "end", letter.line, place + 1)
        except PeerGone as fault:
            with contextlib.suppress(BusUnavailable):
                await send(letter.sender, "fail", letter.line, place + 1, str(fault).encode())
        except BusUnavailable as fault:
            _log.debug("another replica gets no answer: %s", fault)
        finally:
            self._answering.pop((letter.sender, letter.line), None)
            self._over[letter.sender, letter.line] = None
            if len(self._over) > REMEMBERED:
                del self._over[next(iter(self._over))]
            if answered is not None:
                answered.cancel()


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
