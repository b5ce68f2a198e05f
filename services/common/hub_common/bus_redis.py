"""The bus over Redis: publish and subscribe between replicas.

Owns the channels `hub:v1:bus:<channel>`, one connection that listens and a pool that publishes. Whoever listens is
connected again when the line breaks; what was said meanwhile is lost.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from hub_common.bus import BusUnavailable, Hear
from hub_common.store import Availability, StoreUnavailable
from hub_common.store_redis import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, DEADLINE_S
from hub_common.tasks import Tasks

PREFIX = "hub:v1:bus"

PARCEL_BYTES = 64 * 1024
"""Redis ends the connection of a subscriber that has 32 MiB to read (`client-output-buffer-limit pubsub`)."""

AGAIN_S = 0.5
"""How long after a break the listener connects again."""

QUIET_S = 5.0
"""After this long without a message Redis is asked for a sign of life; after twice as long the line is broken."""

LOOK_S = 2.0
"""How often whoever publishes looks whether it does so at a primary still."""

_YIELD_EVERY = 64
_log = logging.getLogger(__name__)


class RedisBus:
    """See `hub_common.bus.Bus`."""

    def __init__(self, url: str) -> None:
        """Ask nothing yet.

        Raises:
            ValueError: `url` is no URL of a Redis; the text does not repeat it.
        """
        # Any, because the library leaves these untyped or says "awaitable or not" for every command.
        pools: Any = redis.ConnectionPool
        options = {"socket_connect_timeout": CONNECT_TIMEOUT_S, "retry": Retry(NoBackoff(), 1)}
        try:
            saying = pools.from_url(url, socket_timeout=ANSWER_TIMEOUT_S, **options)
            hearing = pools.from_url(url, **options)
        except ValueError:
            raise ValueError("no URL of a Redis (redis://, rediss:// or unix://)") from None
        self._saying: Any = redis.Redis.from_pool(saying)
        self._hearing: Any = redis.Redis.from_pool(hearing)
        self._availability = Availability("redis", (RedisError, OSError, TimeoutError), what="bus")
        self._channels: dict[str, list[Hear]] = {}
        self._tasks = Tasks("bus")
        self._listener: asyncio.Task[None] | None = None
        self._look_again_s = 0.0
        """When, by the loop's clock."""

    @property
    def parcel_bytes(self) -> int | None:
        return PARCEL_BYTES

    def subscribe(self, channel: str, hear: Hear) -> None:
        self._channels.setdefault(_name(channel), []).append(hear)
        self._listen_anew()

    async def publish(self, channel: str, message: bytes) -> int:
        try:
            with self._availability.asking():
                async with asyncio.timeout(DEADLINE_S):
                    await self._stay_with_the_primary()
                    return int(await self._saying.publish(_name(channel), message))
        except StoreUnavailable as fault:
            raise BusUnavailable(str(fault)) from fault

    async def close(self) -> None:
        self._listener = None
        await self._tasks.close()
        await self._hearing.aclose()
        await self._saying.aclose()

    async def _stay_with_the_primary(self) -> None:
        """A Redis that became a replica takes what is published, and tells it to nobody who listens elsewhere: of its
        state it says something only where it is to be written to."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._look_again_s:
            return
        self._look_again_s = now_s + LOOK_S
        try:
            await self._saying.set(f"{PREFIX}!", b"", px=1)
        except ReadOnlyError:
            _log.warning("Redis became a replica: connecting to whoever is behind its address now")
            await self._saying.connection_pool.disconnect()
            self._listen_anew()
        except ResponseError as fault:
            _log.debug("Redis refuses to be written to: %s", fault)

    def _listen_anew(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
        if self._channels:
            self._listener = self._tasks.spawn(self._listen(), "listen")

    async def _listen(self) -> None:
        # Asked at every turn, because what the library awaits may swallow a cancellation (Python 3.11's `wait_for`
        # does when it is done at that very moment): a listener that was replaced must end all the same.
        me = asyncio.current_task()
        while self._listener is me:
            try:
                async with self._hearing.pubsub() as line:
                    await line.subscribe(*self._channels)
                    await self._hear(line, me)
            except (RedisError, OSError, TimeoutError) as fault:
                _log.debug("the bus is broken: %s", fault)
            await asyncio.sleep(AGAIN_S)

    async def _hear(self, line: Any, me: asyncio.Task[None] | None) -> None:
        """Hand on what comes until the line breaks or another task than `me` is the listener."""
        quiet = heard = 0
        while self._listener is me:
            said = await line.get_message(timeout=QUIET_S)
            if said is None:
                quiet += 1
                if quiet > 2:
                    raise TimeoutError("no sign of life")
                async with asyncio.timeout(QUIET_S):
                    await line.ping()
                continue
            quiet = 0
            if said["type"] == "message":
                for hear in self._channels.get(said["channel"].decode(), ()):
                    hear(said["data"])
                heard += 1
                if heard % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)  # what is buffered already is read without a pause


def _name(channel: str) -> str:
    return f"{PREFIX}:{channel}"
