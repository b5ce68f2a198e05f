"""Where the state is that processes share: one Redis, or without one a folder.

Owns the choice, so that the interfaces (`store`, `bus`) need not know their implementations. An implementation is
imported where it is chosen: each process pays for the one it uses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hub_common.bus import Bus, LocalBus
from hub_common.store import Store


def open_store(redis_url: str | None, directory: Path) -> Store:
    """Open Redis at `redis_url`, or without one the files under `directory`. Asks nothing yet.

    Raises:
        ValueError: `redis_url` is no URL of a Redis; the text does not repeat it.
    """
    if redis_url:
        from hub_common.store_redis import RedisStore

        return RedisStore(redis_url)
    from hub_common.store_embedded import EmbeddedStore

    return EmbeddedStore(directory)


def open_bus(redis_url: str | None, directory: Path) -> Bus:
    """Open the bus beside the store of the same arguments. Asks nothing yet.

    Raises:
        ValueError: `redis_url` is no URL of a Redis; the text does not repeat it.
    """
    if redis_url:
        from hub_common.bus_redis import RedisBus

        return RedisBus(redis_url)
    return LocalBus(directory)


def redis_url_fault(url: str) -> str | None:
    """What is wrong with the URL of a Redis, without repeating it: it may hold a password. Asks nothing."""
    from redis.asyncio import ConnectionPool

    sentence = "no URL of a Redis, such as redis://HOST:6379/0; rediss:// is with TLS, unix:///PATH a socket"
    if "://" not in url:  # the library takes `redis:6379` for a Redis on this machine
        return sentence
    try:
        ConnectionPool.from_url(url)  # pyright: ignore[reportUnknownMemberType]
    except ValueError:
        return sentence
    return None


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_STATE_HOME/mcp-hub`, else `~/.local/state/mcp-hub`. Not made here.

    Source: XDG Base Directory Specification 0.8; a relative path is ignored, as it says.
    """
    configured = Path(environ.get("XDG_STATE_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".local" / "state") / "mcp-hub"
