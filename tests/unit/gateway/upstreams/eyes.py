"""Looking at state of this process until it is as wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tests.support import waiting

T = TypeVar("T")


async def until(look: Callable[[], T], wanted: Callable[[T], bool], what: str, timeout_s: float = 20.0) -> T:
    """Look again and again until `wanted` is true of what is seen, and return that."""

    async def seen() -> T:
        return look()

    return await waiting.until(seen, wanted, timeout_s, what)
