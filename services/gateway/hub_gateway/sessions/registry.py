"""All sessions of this gateway: opened, found, counted, expired.

Owns the limit and the idle time. Time comes from the `clock` it is given.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hub_gateway.errors import HubError
from hub_gateway.sessions.archive import Archive
from hub_gateway.sessions.session import Session
from hub_gateway.wire.meta import Caller


class TooManySessions(HubError):
    """The limit is reached and no session is idle."""

    http_status = 503
    rest_code = "TOO_MANY_SESSIONS"


class Sessions:
    """The sessions by id.

    Args:
        limit: sessions at the same time; the next one is refused unless an expired one can go.
        idle_s: after this long without a message and without an open stream a session may be ended.
        clock: monotonic seconds.
        ended: called with every session that ended, for whoever keeps something on its behalf.
        archive: keeps them beyond this process; without it they end with it.
        revived: called with every session that this process goes on with.
    """

    def __init__(
        self,
        limit: int,
        idle_s: float,
        clock: Callable[[], float],
        ended: Callable[[Session], None],
        archive: Archive | None = None,
        revived: Callable[[Session], None] | None = None,
    ) -> None:
        self._limit = limit
        self._idle_s = idle_s
        self._clock = clock
        self._ended = ended
        self._archive = archive
        self._revived = revived
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def open(self, revision: str, caller: Caller, capabilities: Mapping[str, Any]) -> Session:
        """Open a session under an id nobody can guess.

        Raises:
            TooManySessions: the limit is reached.
        """
        if len(self._sessions) >= self._limit and not self.expire():
            raise TooManySessions(f"The hub serves its limit of {self._limit} sessions")
        session = Session(secrets.token_urlsafe(24), revision, caller, capabilities)
        session.seen_s = self._clock()
        self._sessions[session.id] = session
        return session

    def find(self, session_id: str) -> Session | None:
        """The session of that id, which counts as a sign of life."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.seen_s = self._clock()
        return session

    async def known(self, session_id: str) -> Session | None:
        """The session of that id, wherever it was opened."""
        return self.find(session_id) or await self.recall(session_id)

    async def recall(self, session_id: str) -> Session | None:
        """The session of that id, also one that another replica opened or that this one opened before a restart."""
        if self._archive is None or not session_id:
            return None
        session = await self._archive.recall(session_id)
        if session is None or len(self._sessions) >= self._limit:
            return self.find(session_id)
        if (found := self.find(session_id)) is not None:  # another request was faster
            return found
        session.seen_s = self._clock()
        self._sessions[session_id] = session
        if self._revived is not None:
            self._revived(session)
        return session

    async def heed(self) -> None:
        """End the sessions that another replica has ended."""
        if self._archive is not None and self._sessions:
            for session_id in await self._archive.ended_elsewhere(tuple(self._sessions)):
                self.close(session_id)

    def changed(self, session: Session) -> None:
        """Something that is kept of the session changed."""
        if self._archive is not None:
            self._archive.note(session)

    async def commit(self, session: Session) -> None:
        """Wait until the session is kept, so that not even a kill right after loses it."""
        if self._archive is not None:
            await self._archive.commit(session)

    def refresh(self) -> None:
        """Keep every session for another while. Called well within the idle time."""
        for session in self._sessions.values():
            self.changed(session)

    def close(self, session_id: str) -> bool:
        """End a session; False where there is none of that id."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return False
        session.close()
        if self._archive is not None:
            self._archive.forget(session_id)
        self._ended(session)
        return True

    def expire(self) -> int:
        """End the sessions that are idle for too long and return how many those were."""
        before = self._clock() - self._idle_s
        idle = [s for s in self._sessions.values() if not s.attached and not s.running and s.seen_s < before]
        for session in idle:
            self.close(session.id)
        return len(idle)

    def close_all(self) -> None:
        """End every stream and call: the gateway stops. The sessions themselves may go on elsewhere."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.close()
            self._ended(session)
