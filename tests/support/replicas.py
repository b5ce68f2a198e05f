"""Hubs that are replicas of each other: processes of their own on one Redis, in front of the same servers.

Owns their start, and that they know each other. Each can be killed by itself.
"""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import hub as hubs
from tests.support.hub import Hub
from tests.support.redis_server import RedisProcess, redis_process

MEET_S: Final = 20.0


@dataclass
class Replicas:
    """Two hubs, and the Redis between them."""

    one: Hub
    other: Hub
    redis: RedisProcess


@contextlib.contextmanager
def replicas(
    servers: Mapping[str, object], directory: Path, environ: Mapping[str, str] | None = None, **document: object
) -> Generator[Replicas]:
    """Two replicas whose servers are ready; `document` is what the config holds besides them."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_process())
        started: list[Hub] = []
        for name in ("one", "other"):
            place = directory / name
            place.mkdir()
            config = {"mcpServers": dict(servers), **document}
            variables = {"HUB_REDIS_URL": redis.url, **(environ or {})}
            started.append(stack.enter_context(hubs.running(config, place, environ=variables)))
        for hub in started:
            hubs.wait_ready_sync(hub, *servers)
        one, other = started
        yield Replicas(one, other, redis)
