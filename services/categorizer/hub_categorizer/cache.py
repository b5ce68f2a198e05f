"""What an LLM has said, kept in the store and, in front of it, in memory.

Owns the keys, the form of a kept decision and how the cache does. With the store away it goes on with what is in
memory. Does not know who decides.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from hub_categorizer.llm_prompts import VERSION, Candidate, Choice, Subject
from hub_common.store import Store, StoreUnavailable

T = TypeVar("T")

SPACE = "categories"
PROMPTS_SPACE = "prompts"

PROMPTS_TTL_S = 86_400.0
"""What was said of a prompt is kept for a day at most: people ask the same thing again soon or never."""

IN_MEMORY = 20_000
"""Values of one kind kept in memory; the oldest go first."""

_log = logging.getLogger(__name__)


class Decision(msgspec.Struct, frozen=True):
    """A category with where it comes from. `decided_at_ms` is Unix time."""

    category: str
    confidence: float
    source: str
    provider: str
    model: str
    decided_at_ms: int
    keywords: tuple[str, ...] = ()


def key_of(digest: str, subject: Subject, provider: str, model: str, categories: Sequence[str]) -> str:
    """The key of a decision: the definition's hash, then all else the answer depends on."""
    rest = msgspec.json.encode([VERSION, digest, subject, provider, model, categories])
    return f"{digest or '-'}:{hashlib.sha256(rest).hexdigest()[:32]}"


def prompt_key_of(
    prompt: str, context: str, shortlist: Sequence[Candidate], about: tuple[str, str, Sequence[str]]
) -> str:
    """The key of what was said of a prompt: the hash of all it depends on. `about` is provider, model, categories."""
    return hashlib.sha256(msgspec.json.encode([VERSION, prompt, context, shortlist, about])).hexdigest()


class Kept(Generic[T]):
    """Values of the type `shape` by key, in one space of the store, for `ttl_s` seconds. `hits` and `lookups` count
    keys since start; `memory_bytes` is what is in memory, as it is encoded in the store."""

    def __init__(self, store: Store, ttl_s: float, space: str, shape: type[T]) -> None:
        self._store = store
        self.ttl_s = ttl_s
        self._space = space
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape)
        self._memory: dict[str, T] = {}
        self._sizes: dict[str, int] = {}
        self.memory_bytes = 0
        self.hits = 0
        self.lookups = 0

    async def find(self, keys: Sequence[str]) -> dict[str, T]:
        """Those of `keys` that are kept. Never raises: what the store does not give is unknown."""
        found = await self.look(keys)
        self.lookups += len(keys)
        self.hits += sum(key in found for key in keys)
        return found

    async def look(self, keys: Sequence[str]) -> dict[str, T]:
        """As `find`, and counts nothing: for whoever waits for what another decides."""
        found = {key: self._memory[key] for key in keys if key in self._memory}
        if missing := [key for key in dict.fromkeys(keys) if key not in found]:
            found |= await self._stored(missing)
        return found

    async def keep(self, values: Mapping[str, T]) -> None:
        """Keep `values`; never raises, a store that is away costs only their survival."""
        encoded = {key: msgspec.json.encode(value) for key, value in values.items()}
        self._remember(values, encoded)
        try:
            await self._store.put_many(self._space, encoded, self.ttl_s)
        except StoreUnavailable as fault:
            # The store itself says, once, that it is away.
            _log.debug("%d %s are not stored: %s", len(encoded), self._space, fault)

    async def size(self) -> int:
        """How many values are kept."""
        try:
            return await self._store.count(self._space)
        except StoreUnavailable:
            return len(self._memory)

    async def _stored(self, keys: Sequence[str]) -> dict[str, T]:
        try:
            raw = await self._store.get_many(self._space, keys)
        except StoreUnavailable:
            return {}
        values: dict[str, T] = {}
        for key, value in raw.items():
            try:
                values[key] = self._decoder.decode(value)
            except msgspec.DecodeError:
                _log.warning("a value kept in %s is unreadable and is asked for anew", self._space)
        self._remember(values, raw)
        return values

    def _remember(self, values: Mapping[str, T], encoded: Mapping[str, bytes]) -> None:
        for key, value in values.items():
            self._memory[key] = value
            self.memory_bytes += len(encoded[key]) - self._sizes.get(key, 0)
            self._sizes[key] = len(encoded[key])
        for key in list(self._memory)[: max(0, len(self._memory) - IN_MEMORY)]:
            del self._memory[key]
            self.memory_bytes -= self._sizes.pop(key)


class Cache(Kept[Decision]):
    """Decisions by key."""

    def __init__(self, store: Store, ttl_s: float) -> None:
        super().__init__(store, ttl_s, SPACE, Decision)


class Analyzed(Kept[Choice]):
    """What was said of prompts, by `prompt_key_of`."""

    def __init__(self, store: Store, ttl_s: float) -> None:
        super().__init__(store, min(ttl_s, PROMPTS_TTL_S), PROMPTS_SPACE, Choice)
