"""Messages as they come in, kept in order and waited for.

Owns the bounded wait. Does not know what they travel on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Callable
from typing import Any, Final

WAIT_S: Final = 15.0

Received = dict[str, Any]


class Inbox:
    """`lines` are all messages so far, `messages` the same decoded."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.messages: list[Received] = []
        self._came = asyncio.Condition()

    async def take(self, line: bytes) -> None:
        """Keep one message; what is none is an error."""
        message = json.loads(line)
        async with self._came:
            self.lines.append(line)
            self.messages.append(message)
            self._came.notify_all()

    async def take_all(self, lines: AsyncIterable[bytes]) -> None:
        """Keep what comes until it ends."""
        async for line in lines:
            await self.take(line)

    async def until(self, wanted: Callable[[Received], bool], after: int = 0, timeout_s: float = WAIT_S) -> Received:
        """The first message that is wanted, from the place `after` on."""
        return self.messages[await self.place_of(wanted, after, timeout_s)]

    async def place_of(self, wanted: Callable[[Received], bool], after: int = 0, timeout_s: float = WAIT_S) -> int:
        """The place of the first message that is wanted, from the place `after` on."""

        def found() -> int | None:
            places = range(after, len(self.messages))
            return next((place for place in places if wanted(self.messages[place])), None)

        try:
            async with asyncio.timeout(timeout_s), self._came:
                await self._came.wait_for(lambda: found() is not None)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s; got {self.messages[after:]}"[:3000]) from None
        place = found()
        assert place is not None
        return place

    async def told(self, method: str, after: int = 0) -> Received:
        """The first notification of that method, from the place `after` on."""
        return await self.until(lambda message: message.get("method") == method, after)
