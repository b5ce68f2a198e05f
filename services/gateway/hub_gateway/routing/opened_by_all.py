"""What any session of a view opened, where sessions are not isolated: the same on every replica, and over restarts.

Owns that one set per view as it is shared: told to the other replicas at once, kept in the store for those who come
later. Who opens what is `discovery`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from hub_common.store import Store, StoreUnavailable
from hub_gateway.exposure.audience import Batch, Opened, opening
from hub_gateway.exposure.current import Audience, Current
from hub_gateway.exposure.view import View
from hub_gateway.routing.calls import Calls
from hub_gateway.satellites.peers import Peers
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.wire import codec

SPACE = "opened"
TOLD = "opened by all"
TOOLS_CHANGED = codec.notification("notifications/tools/list_changed")

_log = logging.getLogger(__name__)


class Shared(msgspec.Struct, frozen=True):
    """What is open in one view, and by how many changes it came to that."""

    turn: int = 0
    opened: Opened | None = None

    def heard(self, other: Shared) -> Shared:
        """This one, once another replica's is known: the later one stands; of two that were made at the same time
        both do. All who have heard the same come to the same, in whatever order."""
        if other.turn != self.turn or other.opened is None:
            return other if other.turn > self.turn else self
        if self.opened is None:
            return other
        return Shared(self.turn, self.opened.merged(other.opened))


class _Told(msgspec.Struct, frozen=True, array_like=True):
    view_name: str
    shared: Shared


_told = msgspec.msgpack.Decoder(_Told)
_kept = msgspec.msgpack.Decoder(Shared)
_NEVER = Shared()


class OpenedByAll:
    """The sets of all views.

    Args:
        ttl_s: how long one outlives the last gateway that has it.
    """

    def __init__(self, peers: Peers, store: Store, calls: Calls, current: Current, sessions: Sessions, ttl_s: float):
        self._peers = peers
        self._store = store
        self._calls = calls
        self._current = current
        self._sessions = sessions
        self._ttl_s = ttl_s
        self._shared: dict[str, Shared] = {}
        peers.when_told(TOLD, lambda _, body: self._heard(_told.decode(body)))

    async def open(self, audience: Audience, batch: Batch | None, *, replace: bool) -> None:
        """Open tools for all sessions of a view, behind what is open or in its place; None closes everything. Returns
        when the other replicas are told, or after a moment. Whoever calls tells the sessions of this process."""
        before = self._own(audience)
        opened = opening(None if replace else before.opened, batch)
        shared = self._shared[audience.name] = Shared(before.turn + 1, opened)
        audience.opened_by_all = opened
        self._peers.tell(TOLD, msgspec.msgpack.encode(_Told(audience.name, shared)))
        await self._write(audience.name, shared)
        await self._peers.delivered()

    async def heed(self) -> None:
        """Take over what the store has and this process was not told, and say again what the store lost. Called before
        the first client comes, and every few seconds."""
        for audience in (self._current.default, *self._current.named.values()):
            try:
                raw = await self._store.get(SPACE, _key(audience.name))
            except StoreUnavailable as fault:
                _log.debug("not heard what was opened for all: %s", fault)
                return
            kept = _NEVER if raw is None else _decoded(raw)
            self._make(audience, self._own(audience).heard(kept))
            own = self._own(audience)
            if own != kept:
                await self._write(audience.name, own)

    def _own(self, audience: Audience) -> Shared:
        """What this replica knows to be open. Where the policy took it back, that is a change too."""
        shared = self._shared.get(audience.name, _NEVER)
        if audience.opened_by_all != shared.opened:
            shared = self._shared[audience.name] = Shared(shared.turn + 1, audience.opened_by_all)
        return shared

    async def _write(self, view_name: str, shared: Shared) -> None:
        try:
            await self._store.put(SPACE, _key(view_name), msgspec.msgpack.encode(shared), self._ttl_s)
        except StoreUnavailable as fault:
            _log.debug("what was opened for all is not kept yet: %s", fault)

    def _heard(self, told: _Told) -> None:
        audience = self._current.of(told.view_name)
        self._make(audience, self._own(audience).heard(told.shared))

    def _make(self, audience: Audience, shared: Shared) -> None:
        """Have this much open, as another replica has, and tell the sessions that see it."""
        before = views(self._calls, self._sessions, audience.name)
        audience.opened_by_all = shared.opened
        self._shared[audience.name] = shared
        for session in differing(self._calls, before):
            if not is_told_elsewhere(session):
                session.tell(TOOLS_CHANGED)


def views(calls: Calls, sessions: Iterable[Session], view_name: str) -> dict[Session, View]:
    """What each session of a view sees now."""
    return {session: calls.session_view(session) for session in sessions if session.view_name == view_name}


def differing(calls: Calls, before: dict[Session, View]) -> list[Session]:
    """The sessions whose list of tools is another than it was before."""
    found: list[Session] = []
    for session, old in before.items():
        new = calls.session_view(session)
        if new.listed["tools"] != old.listed["tools"] or new.own_tools != old.own_tools:
            found.append(session)
    return found


def is_told_elsewhere(session: Session) -> bool:
    """Whether the client has its stream on another replica: that one tells it, once its own list is the new one."""
    return session.away is not None and not session.standing.is_read


def _key(view_name: str) -> str:
    return f"view.{view_name}"


def _decoded(raw: bytes) -> Shared:
    try:
        return _kept.decode(raw)
    except msgspec.MsgspecError as fault:
        _log.warning("what was opened for all is not understood: %s", fault)
        return _NEVER
