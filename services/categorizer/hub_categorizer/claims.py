"""Who asks the LLM about a definition, where several callers or replicas want it asked at the same time.

Owns the claims: in this process, and in a store that replicas share. One asks; the others wait for what it keeps. Does
not know what is asked. With the store away everybody may ask: the same answer twice costs a call, no answer costs more.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from contextlib import suppress

from hub_common.store import Store, StoreUnavailable

SPACE = "asking"


class Claims:
    """Claims by key. One ends after `ttl_s` seconds at the latest, should the replica that holds it be gone."""

    def __init__(self, store: Store, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._name = secrets.token_hex(8).encode()
        self._held: set[str] = set()

    async def take(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of `keys` that the caller may ask about; it releases them. The others somebody asks about already."""
        free = [key for key in dict.fromkeys(keys) if key not in self._held]
        self._held.update(free)
        try:
            taken = await self._stored(free)
        except BaseException:
            self._held.difference_update(free)
            raise
        self._held.difference_update(set(free) - taken)
        return taken

    async def release(self, keys: frozenset[str]) -> None:
        """Let go of what was taken, answered or not."""
        try:
            if self._shared:
                with suppress(StoreUnavailable):
                    await asyncio.gather(*(self._store.delete(SPACE, key) for key in keys))
        finally:
            self._held -= keys

    @property
    def _shared(self) -> bool:
        return self._store.kind == "redis"

    async def _stored(self, keys: list[str]) -> frozenset[str]:
        if not self._shared:
            return frozenset(keys)
        try:
            # Whoever waits asks this again and again: one question for all, and more only where something is free.
            standing = await self._store.get_many(SPACE, keys)
            # One of this process that it does not hold was left by a caller who went while it was made.
            free = [key for key in keys if standing.get(key, self._name) == self._name]
            claiming = (self._store.claim(SPACE, key, self._name, self._ttl_s) for key in free)
            names = await asyncio.gather(*claiming)
        except StoreUnavailable:
            return frozenset(keys)
        return frozenset(key for key, name in zip(free, names, strict=True) if name == self._name)
