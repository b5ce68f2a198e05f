"""The level from which one upstream is to send log messages, and what it was told last.

Owns `logging/setLevel` toward a server with sessions (2025-11-25 utilities/logging): told where it says that it logs,
when another level is wanted, and again on a new link. Does not know who wants it.
"""

from __future__ import annotations

import asyncio
import logging

from msgspec import Raw

from hub_gateway.errors import UpstreamError
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.handshake import HUB
from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import read_error
from hub_gateway.wire.revisions import Era

TELL_S = 5.0
_log = logging.getLogger(__name__)


class LogLevel:
    """What one upstream is told. Until somebody wants a level it is told none, and logs as it thinks best."""

    def __init__(self, upstream_name: str) -> None:
        self._name = upstream_name
        self._wanted: str | None = None
        self._told: str | None = None
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def link(self, connection: Connection) -> None:
        """There is a new link: what was told on the last one is forgotten there."""
        self._connection, self._told = connection, None
        await self._tell()

    def unlink(self, connection: Connection | None) -> None:
        """That link is no more."""
        if connection is self._connection:
            self._connection = None

    async def want(self, level: str | None) -> None:
        """Have it log from this level on; returns when it is told, or cannot be. None changes nothing."""
        if level is None or level == self._wanted == self._told:
            return
        self._wanted = level
        await self._tell()

    async def _tell(self) -> None:
        async with self._turn:
            connection, level = self._connection, self._wanted
            if connection is None or level in (None, self._told) or not _logs(connection):
                return
            params = {"level": Raw(rewrite.encode_text(level))}
            try:
                reply = await connection.request("logging/setLevel", params, caller=HUB, timeout_s=TELL_S)
            except UpstreamError as fault:
                _log.debug("%s was not told to log at %s: %s", self._name, level, fault)
                return
            if reply.error_raw:
                _log.debug("%s does not log at %s: %s", self._name, level, read_error(reply.error_raw).message)
            if connection is self._connection:
                self._told = level


def _logs(connection: Connection) -> bool:
    return connection.era is Era.HANDSHAKE and connection.capabilities.get("logging") is not None
