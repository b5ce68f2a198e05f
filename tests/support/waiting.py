"""Bounded waiting for something that can only be looked at, such as another process's state.

The one place of the tests that pauses between two looks; a test itself never does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

PAUSE_S: Final = 0.05
T = TypeVar("T")


class NotReached(AssertionError):
    """The condition did not come true in time; the message holds the last look."""


async def until(look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], timeout_s: float, what: str) -> T:
    """Look again and again until `wanted` is true of what is seen, and return that.

    Raises:
        NotReached: after `timeout_s`, with what was seen last (or the exception of the last look).
    """
    end = time.monotonic() + timeout_s
    while True:
        last: object
        try:
            last = seen = await look()
            if wanted(seen):
                return seen
        except OSError as error:
            last = repr(error)
        if time.monotonic() > end:
            raise NotReached(f"not within {timeout_s} s: {what}; last seen: {str(last)[:2000]}")
        await asyncio.sleep(PAUSE_S)
