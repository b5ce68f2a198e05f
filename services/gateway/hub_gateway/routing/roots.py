"""A client says that its roots changed: the upstreams that may have asked for them hear it, and may ask again.

Owns who is told (2025-11-25 client/roots §Root List Changes), and whose roots are meant where an upstream asks for them
outside any call right after. The stateless era has no such notification (2026-07-28 changelog, major change 5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hub_common.tasks import Tasks
from hub_gateway.errors import UpstreamError
from hub_gateway.exposure.current import Current
from hub_gateway.routing.owners import StandingClient
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.pending import Listener
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire.message import Message, own
from hub_gateway.wire.revisions import Era

CHANGED: Final = "notifications/roots/list_changed"

ASKS_WITHIN_S = 15.0
"""How long after the notification a question for roots that belongs to no call is an answer to it."""


class Roots:
    """Passes on that roots changed. Whoever makes it closes it.

    Args:
        fleet: whose servers are told.
        current: which of them the session sees.
        clock: monotonic seconds.
    """

    def __init__(self, fleet: Fleet, current: Current, clock: Callable[[], float]) -> None:
        self._fleet = fleet
        self._current = current
        self._clock = clock
        self._told: dict[str, dict[Session, float]] = {}
        """Whose change an upstream was told of last, and when."""
        self._tasks = Tasks("roots")

    def changed(self, session: Session, message: Message) -> None:
        """A session's roots changed: tell its own connections, and the shared ones of the servers it sees."""
        if "roots" not in session.capabilities:
            return
        shown, now_s = self._current.of(session.view_name).allowed.upstreams, self._clock()
        for supervisor in self._fleet.supervisors.values():
            shared = self._fleet.for_sessions(supervisor)
            if supervisor.name in shown and not supervisor.isolated and self._tell(shared, message):
                self._told.setdefault(supervisor.name, {})[session] = now_s
        for supervisor in self._fleet.owned_by(session.id):
            self._tell(supervisor, message)

    def asked(self, upstream_name: str, message: Message) -> Listener | None:
        """Whose roots are meant by a question outside any call: theirs who said last that they changed, where it was
        one client alone."""
        if message.method != "roots/list":
            return None
        since_s = self._clock() - ASKS_WITHIN_S
        told = {session: at_s for session, at_s in self._told.get(upstream_name, {}).items() if at_s >= since_s}
        self._told[upstream_name] = told
        return StandingClient(next(iter(told))) if len(told) == 1 else None

    def forget(self, session: Session) -> None:
        """A session ended."""
        for told in self._told.values():
            told.pop(session, None)

    async def close(self) -> None:
        """Tell nobody any more."""
        await self._tasks.close()

    def _tell(self, supervisor: Supervisor, message: Message) -> bool:
        connection = supervisor.connection
        if connection is None or connection.era is not Era.HANDSHAKE:
            return False
        self._tasks.spawn(_quietly(supervisor, own(message.params)), f"tell {supervisor.name}")
        return True


async def _quietly(supervisor: Supervisor, params_raw: bytes) -> None:
    """One that is away asks anew when it is back."""
    try:
        await supervisor.notify(CHANGED, params_raw)
    except UpstreamError:
        return
