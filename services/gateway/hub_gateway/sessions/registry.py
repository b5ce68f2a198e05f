"""All sessions of this gateway: opened, found, counted, expired.

Owns the limit and the idle time. Time comes from the `clock` it is given.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from hub_common.store import StoreUnavailable
from hub_gateway.errors import HubError
from hub_gateway.sessions.archive import Archive, Kept, kept
from hub_gateway.sessions.session import Session
from hub_gateway.wire.errors import SERVER_ERROR
from hub_gateway.wire.meta import Caller


class TooManySessions(HubError):
    """The limit is reached and no session is idle."""

    http_status = 503
    rest_code = "TOO_MANY_SESSIONS"


class SessionUnknown(HubError):
    """Whether there is such a session is not known now, since the store is away; or there is no room for it here."""

    code = SERVER_ERROR
    http_status = 503
    rest_code = "SESSION_UNKNOWN"


class Others(Protocol):
    """The other replicas, as far as they are told of sessions. None of it blocks or raises."""

    @property
    def alone(self) -> bool:
        """Whether there are none."""
        ...

    def changed(self, session: Session) -> None:
        """A session is another now."""
        ...

    def ended(self, session: Session) -> None:
        """A session was ended, for all."""
        ...

    def forgotten(self, session: Session) -> None:
        """A session is not in this process any more."""
        ...

    def revived(self, session: Session) -> None:
        """This process goes on with a session."""
        ...

    def differs(self, session: Session, record: Kept) -> None:
        """The record of a session says what this process was not told."""
        ...

    async def delivered(self) -> None:
        """Wait until they were told, or a moment."""
        ...


class Sessions:
    """The sessions by id.

    Args:
        limit: sessions at the same time; the next one is refused unless an expired one can go.
        idle_s: after this long without a message and without an open stream a session may be ended.
        clock: monotonic seconds.
        ended: called with every session that ended, for whoever keeps something on its behalf.
        archive: keeps them beyond this process; without it they end with it.
        revived: called with every session that this process goes on with.
        others: told of what becomes of sessions; without them there are none.
        replica: id of this process among them.
    """

    def __init__(
        self,
        limit: int,
        idle_s: float,
        clock: Callable[[], float],
        ended: Callable[[Session], None],
        archive: Archive | None = None,
        revived: Callable[[Session], None] | None = None,
        others: Others | None = None,
        replica: str = "",
    ) -> None:
        self._others = others
        self._replica = replica
        self._refreshed_s = clock()
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

    def open(
        self,
        revision: str,
        caller: Caller,
        capabilities: Mapping[str, Any],
        view_name: str = "",
        credential: str = "",
    ) -> Session:
        """Open a session under an id nobody can guess, in a view that was got with this credential.

        Raises:
            TooManySessions: the limit is reached.
        """
        if len(self._sessions) >= self._limit and not self.expire():
            raise TooManySessions(f"The hub serves its limit of {self._limit} sessions")
        session_id = secrets.token_urlsafe(24)
        session = Session(session_id, revision, caller, capabilities, self._replica, view_name, credential)
        session.seen_s = self._clock()
        self._sessions[session.id] = session
        return session

    def find(self, session_id: str) -> Session | None:
        """The session of that id, which counts as a sign of life."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.seen_s = self._clock()
        return session

    def here(self, session_id: str) -> Session | None:
        """The session of that id where this process has it; no sign of life."""
        return self._sessions.get(session_id)

    async def known(self, session_id: str) -> Session | None:
        """The session of that id, wherever it was opened; None also where that is not known now."""
        try:
            return self.find(session_id) or await self.recall(session_id)
        except SessionUnknown:
            return None

    async def recall(self, session_id: str) -> Session | None:
        """The session of that id, also one that another replica opened or that this one opened before a restart.

        Raises:
            SessionUnknown: the store that would know it is away, or the limit is reached. A client that was told there
                is no such session would give it up (2025-11-25 transports §Session Management).
        """
        if self._archive is None or not session_id:
            return None
        try:
            session = await self._archive.recall(session_id)
        except StoreUnavailable as fault:
            if (found := self.find(session_id)) is not None:
                return found
            raise SessionUnknown("This session is not known here, and the store that may know it is away") from fault
        if (found := self.find(session_id)) is not None or session is None:  # another request was faster
            return found
        if len(self._sessions) >= self._limit and not self.expire():
            self._archive.let_go(session_id)
            raise SessionUnknown(f"This session is another replica's, and this one serves its limit of {self._limit}")
        session.seen_s = self._clock()
        self._sessions[session_id] = session
        if self._others is not None:
            self._others.revived(session)
        if self._revived is not None:
            self._revived(session)
        return session

    async def heed(self) -> None:
        """Take over what other replicas made of sessions, where this one was not told."""
        if self._archive is None or not self._sessions:
            return
        for session, record in await self._archive.news(tuple(self._sessions.values())):
            if record is None:
                self.end_here(session.id)
            elif record != kept(session) and self._others is not None:
                self._others.differs(session, record)

    def adopted(self, session: Session) -> None:
        """Something that is kept of the session changed, on another replica."""
        if self._archive is not None:
            self._archive.note(session)

    async def changed(self, session: Session) -> None:
        """Something that is kept of the session changed. Returns when it is kept and the other replicas are told, so
        that they know it before the client is answered; or after a moment."""
        self.adopted(session)
        if self._others is not None:
            self._others.changed(session)
        await self._settled()

    async def commit(self, session: Session) -> None:
        """Wait until the session is kept, so that not even a kill right after loses it."""
        if self._archive is not None:
            self._archive.note(session)
            await self._archive.commit()

    def refresh(self) -> list[Session]:
        """Keep every session that was used here for another while, and return those. Called well within the idle
        time."""
        since_s, self._refreshed_s = self._refreshed_s, self._clock()
        used = [s for s in self._sessions.values() if s.attached or s.running or s.seen_s >= since_s]
        for session in used:
            self.adopted(session)
        return used

    def close(self, session_id: str, why: str | None = None) -> bool:
        """End a session, on all replicas; False where there is none of that id. `why` as in `Session.close`."""
        session = self.end_here(session_id, why)
        if session is None:
            return False
        if self._archive is not None:
            self._archive.forget(session_id)
        if self._others is not None:
            self._others.ended(session)
        return True

    async def end(self, session_id: str) -> None:
        """End a session and return when no replica goes on with it, or after a moment."""
        self.close(session_id)
        await self._settled()

    def end_here(self, session_id: str, why: str | None = None) -> Session | None:
        """End what this process has of a session, and return that; the session itself may go on elsewhere."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            session.close(why)
            self._ended(session)
            if self._archive is not None:
                self._archive.let_go(session_id)
            if self._others is not None:
                self._others.forgotten(session)
        return session

    def expire(self) -> int:
        """End the sessions that are idle for too long and return how many those were. One that may be in use on another
        replica is only let go here; its record ends by its age."""
        before = self._clock() - self._idle_s
        idle = [s for s in self._sessions.values() if not s.attached and not s.running and s.seen_s < before]
        alone = self._others is None or self._others.alone
        for session in idle:
            if alone:
                self.close(session.id)
            else:
                self.end_here(session.id)
        return len(idle)

    def close_all(self) -> None:
        """End every stream and call: the gateway stops. The sessions themselves may go on elsewhere."""
        for session_id in list(self._sessions):
            self.end_here(session_id)

    async def _settled(self) -> None:
        if self._archive is not None:
            await self._archive.commit()
        if self._others is not None and not self._others.alone:
            await self._others.delivered()
