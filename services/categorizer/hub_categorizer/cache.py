"""What an LLM has decided, kept in the store and, in front of it, in memory.

Owns the key, the form of a kept decision and how the cache does. With the store away it goes on with what is in memory.
Does not know who decides.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence

import msgspec

from hub_categorizer.llm_prompts import VERSION, Subject
from hub_common.store import Store, StoreUnavailable

SPACE = "categories"

IN_MEMORY = 20_000
"""Decisions kept in memory; the oldest go first."""

_log = logging.getLogger(__name__)


class Decision(msgspec.Struct, frozen=True):
    """A category with where it comes from. `decided_at_ms` is Unix time."""

    category: str
    confidence: float
    source: str
    provider: str
    model: str
    decided_at_ms: int


def key_of(digest: str, subject: Subject, provider: str, model: str, categories: Sequence[str]) -> str:
    """The key of a decision: the definition's hash, then all else the answer depends on."""
    rest = msgspec.json.encode([VERSION, digest, subject, provider, model, categories])
    return f"{digest or '-'}:{hashlib.sha256(rest).hexdigest()[:32]}"


class Cache:
    """Decisions by key. `ttl_s` is how long the store keeps one. `hits` and `lookups` count keys since start."""

    def __init__(self, store: Store, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._memory: dict[str, Decision] = {}
        self.hits = 0
        self.lookups = 0

    async def find(self, keys: Sequence[str]) -> dict[str, Decision]:
        """Those of `keys` that are decided. Never raises: what the store does not give is unknown."""
        found = {key: self._memory[key] for key in keys if key in self._memory}
        if missing := [key for key in dict.fromkeys(keys) if key not in found]:
            kept = await self._stored(missing)
            self._remember(kept)
            found |= kept
        self.lookups += len(keys)
        self.hits += sum(key in found for key in keys)
        return found

    def recall(self, key: str) -> Decision | None:
        """The decision if it is in memory; asks nothing and counts nothing."""
        return self._memory.get(key)

    async def keep(self, decisions: Mapping[str, Decision]) -> None:
        """Keep `decisions`; never raises, a store that is away costs only their survival."""
        self._remember(decisions)
        encoded = {key: msgspec.json.encode(decision) for key, decision in decisions.items()}
        try:
            await self._store.put_many(SPACE, encoded, self._ttl_s)
        except StoreUnavailable as fault:
            _log.warning("%d categories are not stored: %s", len(encoded), fault)

    async def size(self) -> int:
        """How many decisions are kept."""
        try:
            return await self._store.count(SPACE)
        except StoreUnavailable:
            return len(self._memory)

    async def _stored(self, keys: Sequence[str]) -> dict[str, Decision]:
        try:
            raw = await self._store.get_many(SPACE, keys)
        except StoreUnavailable:
            return {}
        decisions: dict[str, Decision] = {}
        for key, value in raw.items():
            try:
                decisions[key] = msgspec.json.decode(value, type=Decision)
            except msgspec.DecodeError:
                _log.warning("a kept category is unreadable and is decided anew")
        return decisions

    def _remember(self, decisions: Mapping[str, Decision]) -> None:
        self._memory |= decisions
        for key in list(self._memory)[: max(0, len(self._memory) - IN_MEMORY)]:
            del self._memory[key]
