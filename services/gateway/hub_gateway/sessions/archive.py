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
    )


def revived(session_id: str, record: Kept) -> Session:
    """The session a record was made of, with new streams."""
    caller = Caller(record.client_info.encode(), record.capabilities.encode(), record.caller_log_level)
    session = Session(session_id, record.revision, caller, msgspec.json.decode(record.capabilities))
    session.log_level = record.log_level
    session.opened = record.opened
    session.subscribed = set(record.subscribed)
    return session


class Archive:
    """The records of all sessions. Writes are gathered: what changes while one write runs goes into the next.

    Args:
        store: not closed here.
        ttl_s: how long a record outlives the last write; the registry writes again well before.
    """

    def __init__(self, store: Store, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._changed: dict[str, bytes] = {}
        self._gone: set[str] = set()
        self._wake = asyncio.Event()
        self._written: asyncio.Future[None] | None = None

    def note(self, session: Session) -> None:
        """The session changed; it is written soon."""
        if session.single_stream:
            return  # an HTTP+SSE session ends with its stream, so nobody could come back for it
        self._changed[session.id] = msgspec.json.encode(kept(session))
        self._wake.set()

    async def commit(self, session: Session) -> None:
        """Note the session and wait until it is written, or long enough."""
        self.note(session)
        if self._written is None or self._written.done():
            self._written = asyncio.get_running_loop().create_future()
        await asyncio.wait((self._written,), timeout=COMMIT_WITHIN_S)

    def forget(self, session_id: str) -> None:
        """The session ended; nobody shall go on with it."""
        self._changed.pop(session_id, None)
        self._gone.add(session_id)
        self._wake.set()

    async def ended_elsewhere(self, session_ids: Iterable[str]) -> list[str]:
        """Which of these sessions another replica has ended; none where the store is away."""
        try:
            found = await self._store.get_many(SPACE, session_ids)
        except StoreUnavailable as fault:
            _log.debug("not heard which sessions ended: %s", fault)
            return []
        return [session_id for session_id, record in found.items() if record == ENDED]

    async def recall(self, session_id: str) -> Session | None:
        """The session of that id as it was last written; None where there is none, or the store is away."""
        if session_id in self._gone:
            return None
        try:
            record = await self._store.get(SPACE, session_id)
            return revived(session_id, msgspec.json.decode(record, type=Kept)) if record else None
        except (StoreUnavailable, msgspec.MsgspecError, ValueError) as fault:
            _log.debug("session not recalled: %s", fault)
            return None

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
        changed, self._changed = self._changed, {}
        gone = set(self._gone)  # stays known as gone until it is
        written, self._written = self._written, None
        try:
            if changed:
                await self._store.put_many(SPACE, changed, self._ttl_s)
            if gone:
                await self._store.put_many(SPACE, dict.fromkeys(gone, ENDED), ENDED_FOR_S)
            self._gone -= gone
            return True
        except StoreUnavailable as fault:
            _log.debug("%d sessions not kept: %s", len(changed), fault)
            self._changed = {**{key: value for key, value in changed.items() if key not in self._gone}, **self._changed}
            return False
        finally:
            if written is not None and not written.done():
                written.set_result(None)
