"""Which hubs run, and from where: each registers itself in the store and lets its entry expire with it.

Owns the entry of this process, its heartbeat and its end. A store that is away costs nothing but the entries.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub_common.store import Store, StoreUnavailable
from hub_gateway.management.bodies import answer, iso

SPACE = "workspaces"
TTL_S = 60.0
"""An entry outlives its process by this at most."""

HEARTBEAT_S = 20.0

_log = logging.getLogger(__name__)


class Workspace(msgspec.Struct, frozen=True):
    """One running hub (reference: workspace cache). `startTime` is RFC 3339."""

    cwd: str
    config_files: tuple[str, ...]
    pid: int
    port: int
    startTime: str
    state: str
    activeConnections: int
    hostname: str


class Workspaces:
    """The registry seen from this process.

    Args:
        store: asked at every heartbeat; not closed here.
        port: that this process listens on.
        config_files: in force, as absolute paths.
        state: returns the hub's state; asked at every heartbeat.
        connections: returns how many client sessions there are.
        started_at: Unix time in seconds.
        heartbeat_s: pause between two heartbeats.
    """

    def __init__(
        self,
        store: Store,
        *,
        port: int,
        config_files: Callable[[], Sequence[Path]],
        state: Callable[[], str],
        connections: Callable[[], int],
        started_at: float,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._store = store
        self._port = port
        self._config_files = config_files
        self._state = state
        self._connections = connections
        self._started_at = started_at
        self._heartbeat_s = heartbeat_s
        self._hostname = socket.gethostname()
        self._cwd = str(Path.cwd())  # which may be removed while the process goes on
        self._key = f"{self._hostname}:{port}"
        self._writing = asyncio.Lock()
        self._ended = asyncio.Event()

    @property
    def own(self) -> Workspace:
        """This process's entry as of now."""
        return Workspace(
            cwd=self._cwd,
            config_files=tuple(map(str, self._config_files())),
            pid=os.getpid(),
            port=self._port,
            startTime=iso(self._started_at),
            state=self._state(),
            activeConnections=self._connections(),
            hostname=self._hostname,
        )

    async def run(self) -> None:
        """Register and keep the entry fresh until `close`, or until cancelled."""
        while not self._ended.is_set():
            await self.beat()
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self._ended.wait()
            except TimeoutError:
                pass

    async def beat(self) -> None:
        """Write the entry now: at every heartbeat, and for a change that should be seen at once."""
        async with self._writing:
            if self._ended.is_set():
                return
            try:
                await self._store.put(SPACE, self._key, msgspec.json.encode(self.own), TTL_S)
            except StoreUnavailable as fault:
                _log.debug("not registered as a workspace: %s", fault)

    async def close(self) -> None:
        """Take the entry away; `run` ends. Idempotent."""
        self._ended.set()
        async with self._writing:
            try:
                await self._store.delete(SPACE, self._key)
            except StoreUnavailable as fault:
                _log.debug("still registered as a workspace until it expires: %s", fault)

    async def all(self) -> dict[str, Workspace]:
        """Every running hub: by port on this machine, by `hostname:port` elsewhere. This process is in it as it is now.

        Raises:
            StoreUnavailable: only this process is known.
        """
        found: dict[str, Workspace] = {}
        for body in (await self._store.items(SPACE)).values():
            try:
                entry = msgspec.json.decode(body, type=Workspace)
            except msgspec.MsgspecError:
                continue  # written by another version of the hub
            found[self._shown_key(entry)] = entry
        return {**found, **self.alone()}

    async def known(self) -> tuple[dict[str, Workspace], bool]:
        """As `all`, of what can be known now, and whether that is all there is."""
        try:
            return await self.all(), True
        except StoreUnavailable:
            return self.alone(), False

    @property
    def key(self) -> str:
        """Of this process among `all`."""
        return str(self._port)

    def alone(self) -> dict[str, Workspace]:
        """This process only; empty once it is closed."""
        return {} if self._ended.is_set() else {self._shown_key(self.own): self.own}

    def _shown_key(self, entry: Workspace) -> str:
        return str(entry.port) if entry.hostname == self._hostname else f"{entry.hostname}:{entry.port}"


def routes(registry: Workspaces, clock: Callable[[], float]) -> list[Route]:
    """The one route."""

    async def workspaces(_request: Request) -> Response:
        found, complete = await registry.known()
        return answer({"workspaces": found, "complete": complete, "timestamp": iso(clock())})

    return [Route("/api/workspaces", workspaces, methods=["GET"])]
