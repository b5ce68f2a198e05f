"""What is kept of a session so that it outlives its process: any replica, or this one after a restart, goes on with it.

Owns the record in the store and when it is written. Streams and running calls are not kept: a broken stream loses its
call. A store that is away costs only this: sessions then end with their process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec

from hub_common.store import Store, StoreUnavailable
from hub_gateway.exposure.audience import Opened
from hub_gateway.sessions.session import Session
from hub_gateway.wire.meta import Caller

SPACE = "sessions"
ENDED = b""
"""What stands in the place of a session that ended, so that replicas which know it hear of its end."""

ENDED_FOR_S = 120.0
"""How long that stands there: replicas look far more often."""

AGAIN_S = 5.0
"""How long after a failed write the next is tried."""

SETTLED_S = 12.0
"""How long after the store was away a session that it does not know may still be one that a replica is about to write
again: each looks every few seconds for what was lost, and tries again what it could not write."""

COMMIT_WITHIN_S = 1.0
"""How long `initialize` waits for its session to be kept before it answers all the same."""

_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """The record of a session."""

    revision: str
    client_info: str
    capabilities: str
    log_level: str | None = None
    caller_log_level: str | None = None
    opened: Opened | None = None
    subscribed: tuple[str, ...] = ()
    view_name: str = ""
    credential: str = ""


def kept(session: Session) -> Kept:
    """What is worth keeping of a session."""
    caller = session.caller
    return Kept(
        session.revision,
        caller.client_info_raw.decode(),
        caller.capabilities_raw.decode(),
        session.log_level,
        caller.log_level,
        session.opened,
        tuple(sorted(session.subscribed)),
        session.view_name,
        session.credential,
    )


def revived(session_id: str, record: Kept, replica: str = "") -> Session:
    """The session a record was made of, with new streams, on this replica."""
    caller = Caller(record.client_info.encode(), record.capabilities.encode(), record.caller_log_level)
    capabilities = msgspec.json.decode(record.capabilities)
    view = (record.view_name, record.credential)
    session = Session(session_id, record.revision, caller, capabilities, replica, *view)
    session.log_level = record.log_level
    session.opened = record.opened
    session.subscribed = set(record.subscribed)
    return session


def _record(raw: bytes) -> Kept | None:
    try:
        return msgspec.json.decode(raw, type=Kept)
    except (msgspec.MsgspecError, ValueError) as fault:
        _log.warning("the record of a session is not understood: %s", fault)
        return None


class Archive:
    """The records of all sessions. Writes are gathered: what changes while one write runs goes into the next.

    Args:
        store: not closed here.
        ttl_s: how long a record outlives the last write; the registry writes again well before.
        replica: id of this process among the replicas.
    """

    def __init__(self, store: Store, ttl_s: float, replica: str = "") -> None:
        self._replica = replica
        self._away = False
        self._store = store
        self._ttl_s = ttl_s
        self._changed: dict[str, bytes] = {}
        self._writing: dict[str, bytes] = {}
        self._let_go: set[str] = set()
        """Sessions that left this process before what was noted of them was written."""
        self._last: dict[str, bytes] = {}
        """The record of each session as it was last written or read here."""
        self._gone: set[str] = set()
        self._wake = asyncio.Event()
        self._written: asyncio.Future[None] | None = None

    def note(self, session: Session) -> None:
        """The session changed; it is written soon."""
        if session.single_stream:
            return  # an HTTP+SSE session ends with its stream, so nobody could come back for it
        self._let_go.discard(session.id)
        self._changed[session.id] = msgspec.json.encode(kept(session))
        self._wake.set()

    async def commit(self) -> None:
        """Wait until what was noted is written, or long enough; not at all while the store is away."""
        if self._away or not (self._changed or self._gone):
            return
        if self._written is None or self._written.done():
            self._written = asyncio.get_running_loop().create_future()
        await asyncio.wait((self._written,), timeout=COMMIT_WITHIN_S)

    def let_go(self, session_id: str) -> None:
        """The session is not in this process any more; its record stays."""
        self._last.pop(session_id, None)
        if session_id in self._changed or session_id in self._writing:
            self._let_go.add(session_id)

    def forget(self, session_id: str) -> None:
        """The session ended; nobody shall go on with it."""
        self._changed.pop(session_id, None)
        self._gone.add(session_id)
        self._wake.set()

    async def news(self, sessions: Iterable[Session]) -> list[tuple[Session, Kept | None]]:
        """Which of these sessions another replica has changed, with its record, or ended, with None; nothing where the
        store is away. One whose record the store lost is written again."""
        known = {session.id: session for session in sessions if not session.single_stream}
        try:
            found = await self._store.get_many(SPACE, known)
        except StoreUnavailable as fault:
            _log.debug("not heard what became of sessions: %s", fault)
            return []
        news: list[tuple[Session, Kept | None]] = []
        for session_id, session in known.items():
            raw = found.get(session_id)
            if session_id in self._changed or session_id in self._writing or session_id in self._gone:
                continue  # what is known here is newer
            if raw is None:
                self.note(session)
            elif raw == ENDED:
                news.append((session, None))
            elif raw != self._last.get(session_id) and (record := _record(raw)) is not None:
                self._last[session_id] = raw
                news.append((session, record))
        return news

    async def recall(self, session_id: str) -> Session | None:
        """The session of that id as it was last written; None where there is none.

        Raises:
            StoreUnavailable: whether there is one is not known now.
        """
        if session_id in self._gone:
            return None
        try:
            raw = await self._store.get(SPACE, session_id)
        except ValueError:
            return None  # no such id was ever given
        if raw is None and self._store.status().back_for_s < SETTLED_S:
            raise StoreUnavailable("it was away, and may not have heard of this session yet")
        record = _record(raw) if raw else None
        if raw is None or record is None:
            return None
        self._last[session_id] = raw
        return revived(session_id, record, self._replica)

    async def run(self) -> None:
        """Write what was noted, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self.flush():
                await asyncio.sleep(AGAIN_S)
                self._wake.set()

    async def flush(self) -> bool:
        """Write what was noted until now; False where it was not possible, and it stays noted."""
        changed = self._writing = self._changed
        self._changed = {}
        gone = set(self._gone)  # stays known as gone until it is
        written, self._written = self._written, None
        try:
            if changed:
                await self._store.put_many(SPACE, changed, self._ttl_s)
            if gone:
                await self._store.put_many(SPACE, dict.fromkeys(gone, ENDED), ENDED_FOR_S)
            self._last |= {key: record for key, record in changed.items() if key not in self._let_go}
            self._gone -= gone
            self._away = False
            return True
        except StoreUnavailable as fault:
            _log.debug("%d sessions not kept: %s", len(changed), fault)
            self._away = True
            self._note_again(changed)
            return False
        except asyncio.CancelledError:
            self._note_again(changed)  # the last flush of the process writes them
            raise
        finally:
            self._writing = {}
            self._let_go &= self._changed.keys()
            if written is not None and not written.done():
                written.set_result(None)

    def _note_again(self, changed: dict[str, bytes]) -> None:
        self._changed = {**{key: value for key, value in changed.items() if key not in self._gone}, **self._changed}
