"""What levels clients want to hear of servers that have sessions, and what these are told.

Owns the one level of a connection that many sessions share: the most verbose that any of them wants, or that a
stateless call under way asks for. Each client still gets only what it asked for (`exchange`, `relay`). A session's own
connection has the session's own level.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from hub_common.tasks import Tasks
from hub_gateway.sessions.session import LOG_LEVELS, Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.supervisor import Supervisor

DEFAULT = "info"
"""What a session that never set a level wants (2025-11-25 utilities/logging leaves the default to the server)."""

TOLD_S = 2.0
"""How long a client that sets a level waits for the servers to be told."""

LINGER_S = 5.0
"""How long a connection stays at the level of a stateless call after it has ended: the next may want the same."""


class LogLevels:
    """The levels that clients want. Whoever makes it closes it.

    Args:
        fleet: whose servers are told.
        count: how many sessions there are, those that never set a level among them.
    """

    def __init__(self, fleet: Fleet, count: Callable[[], int]) -> None:
        self._fleet = fleet
        self._count = count
        self._sessions: dict[Session, str] = {}
        self._wanted: Counter[str] = Counter()
        self._raised: dict[str, Counter[str]] = {}
        self._tells = False
        self._tasks = Tasks("log-levels")

    async def changed(self, session: Session) -> None:
        """A session set a level: returns when the servers are told, or after a moment."""
        if session.log_level is not None:
            self._drop(session)
            self._sessions[session] = session.log_level
            self._wanted[session.log_level] += 1
            self._tells = True
        own = [each.log_level.want(session.log_level) for each in self._fleet.owned_by(session.id)]
        await self._told([*own, *self._shared()])

    def noticed(self, session: Session) -> None:
        """A session is new in this process, or set its level on another replica."""
        if self._tells or session.log_level is not None:
            self._tasks.spawn(self.changed(session), "notice")

    def ended(self, session: Session) -> None:
        """A session is not here any more."""
        self._drop(session)
        if self._tells:
            self._tasks.spawn(self._told(self._shared()), "end")

    @asynccontextmanager
    async def raised(self, supervisor: Supervisor, level: str | None) -> AsyncGenerator[None]:
        """While a stateless call runs that asks for this level, the server is told at least that. It has one level for
        all on this connection, so others may cause more to be sent than the call asked for, and it hears only that."""
        if level not in LOG_LEVELS:
            yield
            return
        raised = self._raised.setdefault(supervisor.name, Counter())
        raised[level] += 1
        self._tells = True
        try:
            await supervisor.log_level.want(self._level_of(supervisor))
            yield
        finally:
            self._tasks.spawn(self._lower(supervisor, raised, level), "lower")

    async def close(self) -> None:
        """Tell nothing more."""
        await self._tasks.close()

    async def _lower(self, supervisor: Supervisor, raised: Counter[str], level: str) -> None:
        await asyncio.sleep(LINGER_S)
        raised[level] -= 1
        await supervisor.log_level.want(self._level_of(supervisor))

    def _drop(self, session: Session) -> None:
        level = self._sessions.pop(session, None)
        if level is not None:
            self._wanted[level] -= 1

    def _shared(self) -> list[Coroutine[Any, Any, None]]:
        """Tell every shared connection; nothing where nobody ever wanted a level."""
        if not self._tells:
            return []
        return [each.log_level.want(self._level_of(each)) for each in self._fleet.supervisors.values()]

    def _level_of(self, supervisor: Supervisor) -> str:
        raised = self._raised.get(supervisor.name, Counter())
        wanted = [level for level in LOG_LEVELS if raised[level] > 0]
        if not supervisor.isolated:  # else the sessions have connections of their own
            wanted += [level for level in LOG_LEVELS if self._wanted[level] > 0]
            if self._count() > len(self._sessions):
                wanted.append(DEFAULT)
        return min(wanted, key=LOG_LEVELS.index, default=DEFAULT)

    async def _told(self, telling: list[Coroutine[Any, Any, None]]) -> None:
        if telling:
            await asyncio.wait([self._tasks.spawn(each, "tell") for each in telling], timeout=TOLD_S)
