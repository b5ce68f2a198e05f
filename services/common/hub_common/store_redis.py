"""The store in Redis: what several processes and replicas share.

Owns the keys `hub:v1:<space>:<key>` and one pool of sockets. Does not know what is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from hub_common.logs import add_secret
from hub_common.store import Availability, Kind, StoreStatus, check_space, check_ttl

PREFIX = "hub:v1"

CONNECT_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 1.0
DEADLINE_S = 2.0
"""For one question as a whole, with its one repetition on a fresh socket; each batch of many keys counts as one."""

_BATCH = 500


class RedisStore:
    """See `hub_common.store.Store`. A socket that Redis closed meanwhile is replaced without anyone noticing."""

    def __init__(self, url: str) -> None:
        """Ask nothing yet.

        Raises:
            ValueError: `url` is no URL of a Redis; the text does not repeat it.
        """
        # Any, because the library leaves these untyped or says "awaitable or not" for every command.
        pools: Any = redis.ConnectionPool
        try:
            pool = pools.from_url(
                url,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_timeout=ANSWER_TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),
                retry_on_error=[ReadOnlyError],  # it was the primary: behind its address there may be another by now
            )
        except ValueError:
            raise ValueError("no URL of a Redis (redis://, rediss:// or unix://)") from None
        add_secret(pool.connection_kwargs.get("password") or "")
        self._redis: Any = redis.Redis.from_pool(pool)
        faults = (RedisError, OSError, TimeoutError)
        self._availability = Availability("redis", faults, refusals=(ResponseError,))

    @property
    def kind(self) -> Kind:
        return "redis"

    def status(self) -> StoreStatus:
        return self._availability.status()

    async def get(self, space: str, key: str) -> bytes | None:
        name = _name(space, key)
        async with self._asking():
            return await self._redis.get(name)

    async def get_many(self, space: str, keys: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for batch in _batches(dict.fromkeys(keys)):
            names = [_name(space, key) for key in batch]
            async with self._asking():
                values = await self._redis.mget(names)
            found |= {key: value for key, value in zip(batch, values, strict=True) if value is not None}
        return found

    async def put(self, space: str, key: str, value: bytes, ttl_s: float | None = None) -> None:
        await self.put_many(space, {key: value}, ttl_s)

    async def put_many(self, space: str, items: Mapping[str, bytes], ttl_s: float | None = None) -> None:
        ttl_ms = _milliseconds(check_ttl(ttl_s))
        for batch in _batches(items):
            pipeline = self._pipeline(transaction=False)
            for key in batch:
                pipeline.set(_name(space, key), items[key], px=ttl_ms)
            async with self._asking():
                await pipeline.execute()

    async def claim(self, space: str, key: str, value: bytes, ttl_s: float | None = None) -> bytes:
        name, ttl_ms = _name(space, key), _milliseconds(check_ttl(ttl_s))
        pipeline = self._pipeline(transaction=True).set(name, value, nx=True, px=ttl_ms).get(name)
        async with self._asking():
            return (await pipeline.execute())[1]

    async def delete(self, space: str, key: str) -> None:
        name = _name(space, key)
        async with self._asking():
            await self._redis.delete(name)

    async def items(self, space: str) -> dict[str, bytes]:
        return await self.get_many(space, await self._keys(space))

    async def count(self, space: str) -> int:
        return len(await self._keys(space))

    async def close(self) -> None:
        await self._redis.aclose()

    def _pipeline(self, *, transaction: bool) -> Any:
        pipeline = self._redis.pipeline(transaction=transaction)
        # The library would put the command into what it says of a refusal, and with it keys and values that are secret.
        pipeline.annotate_exception = _say_no_more
        return pipeline

    async def _keys(self, space: str) -> set[str]:
        start = _name(space, "")
        keys: set[str] = set()
        cursor = 0
        while True:
            async with self._asking():
                cursor, names = await self._redis.scan(cursor, match=f"{start}*", count=_BATCH)
            keys |= {name.decode().removeprefix(start) for name in names}
            if cursor == 0:
                return keys

    @asynccontextmanager
    async def _asking(self) -> AsyncGenerator[None, None]:
        with self._availability.asking():
            async with asyncio.timeout(DEADLINE_S):
                yield


def _say_no_more(_fault: Exception, _number: int, _command: object) -> None:
    """What the library adds to a refusal."""


def _name(space: str, key: str) -> str:
    return f"{PREFIX}:{check_space(space)}:{key}"


def _milliseconds(ttl_s: float | None) -> int | None:
    return None if ttl_s is None else max(1, round(ttl_s * 1000))


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    every = list(keys)
    for start in range(0, len(every), _BATCH):
        yield every[start : start + _BATCH]
