"""Where a session's own connection to an upstream is (`isolation: "session"`): on one replica, its home, whichever
replica a call comes to.

Owns which replica that is, kept in the store as a row of moves: `session.upstream.0` names the first home, each further
number the one that took over from a home that is gone. A move is claimed, so that all who see a home gone come to the
same next one. Where replicas share no store a home is always here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from hub_common.store import Store, StoreUnavailable
from hub_gateway.errors import UpstreamBusy, UpstreamDown
from hub_gateway.routing.exchange import Bound, ElsewhereAnswer, Exchange, Response
from hub_gateway.satellites.letters import PeerAbsent, PeerGone, PeerSilent
from hub_gateway.satellites.peers import Peers
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire import rewrite

SPACE = "homes"
MOVED = "home moved"
USED = "home used"
GIVEN_UP = "home given up"

TRIES = 6
AGAIN_S = 0.5
"""A home that nobody hears is asked again, so often and after so long: Redis may have come back a moment ago."""

_UNKNOWN = "whether the call has run is not known"
_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A session's id and an upstream's name."""

Moves = tuple[str, ...]
"""The replicas a connection was on, one after the other; the last is its home."""

Moved = Callable[[Session, str], None]
"""Takes a session and the upstream whose connection this replica takes over, with nothing of its state."""


class StateGone(UpstreamDown):
    """The replica with the session's own connection is gone, and with it what the server remembered."""


class Homes:
    """The homes of all sessions this replica knows, and its own connections as one of them.

    Args:
        answer: the way to other replicas.
        store: where replicas meet; None where there are none.
        ttl_s: how long a home outlives the last `refresh`.
    """

    def __init__(
        self, peers: Peers, answer: ElsewhereAnswer, sessions: Sessions, fleet: Fleet, store: Store | None, ttl_s: float
    ) -> None:
        self._peers = peers
        self._answer = answer
        self._sessions = sessions
        self._fleet = fleet
        self._store = store
        self._ttl_s = ttl_s
        self._known: dict[Key, Moves] = {}
        self._moved: Moved | None = None

    def serve(self, moved: Moved) -> None:
        """Heed what other replicas say of homes; `moved` is told of each that comes here from a replica that is
        gone."""
        self._moved = moved
        self._peers.when_told(MOVED, self._moved_away)
        self._peers.when_told(GIVEN_UP, self._given_up)
        self._peers.when_told(USED, lambda _, body: self._used(body.decode()))

    async def own(self, exchange: Exchange, bound: Bound, params: rewrite.Members) -> Supervisor | Response:
        """The supervisor of a session's own connection where its home is here, else what its home answers.

        Raises:
            StateGone: the home is gone. The next call gets a new one, which knows nothing of the old one's state.
            UpstreamBusy, UpstreamDown: there is no connection of its own for this session, or no way to it.
        """
        response = await self.answered(exchange, bound, params)
        if response is not None:
            return response
        key = _key(exchange, bound)
        try:
            return await self._fleet.own(bound.upstream_name, key[0])
        except UpstreamBusy:
            await self._give_up(key)
            raise

    async def answered(self, exchange: Exchange, bound: Bound, params: rewrite.Members) -> Response | None:
        """What the home of a session's own connection answers; None where that is this replica. Raises as `own`."""
        key = _key(exchange, bound)
        moves = await self._find(key)
        if moves[-1] == self._peers.id:
            return None
        if exchange.bound is not None:
            raise UpstreamDown(f"{bound.upstream_name}: this session's own connection is moving; call again")
        ran = ""
        for _ in range(TRIES):
            try:
                return await self._answer(exchange, moves[-1], bound, params)
            except PeerAbsent:
                ran = "the call was not made"
                await asyncio.sleep(AGAIN_S)
            except PeerSilent as fault:
                if await self._peers.lives(moves[-1]):
                    raise _lost(bound, fault) from fault
                ran = _UNKNOWN
                break
            except PeerGone as fault:
                raise _lost(bound, fault) from fault
        raise await self._taken_over(key, moves, ran)

    async def is_here(self, session_id: str, upstream_name: str) -> bool:
        """Whether this replica has the session's own connection, or is the one to make it."""
        return (await self._find((session_id, upstream_name)))[-1] == self._peers.id

    async def keep(self) -> None:
        """Let go of connections that others have taken over, since they took this replica for gone, and say again what
        the store lost. Called every few seconds."""
        mine = self._mine()
        if self._store is None or not mine:
            return
        try:
            last = {_record(key, len(moves) - 1): key for key, moves in mine.items()}
            found = await self._store.get_many(SPACE, [*last, *(_record(key, len(mine[key])) for key in mine)])
            for record, key in last.items():
                if self._known.get(key) != mine[key]:
                    continue  # its session has ended meanwhile
                if _record(key, len(mine[key])) in found or found.get(record, self._own_raw) != self._own_raw:
                    self._let_go(key)
                elif record not in found:
                    for turn, replica in enumerate(mine[key]):
                        await self._store.claim(SPACE, _record(key, turn), replica.encode(), self._ttl_s)
        except StoreUnavailable as fault:
            _log.debug("not heard what became of homes: %s", fault)

    async def refresh(self, used: Collection[Session]) -> None:
        """Keep the homes that are here for another while, and tell those elsewhere that their sessions are in use, so
        that they do not take them for idle. Called well within the idle time."""
        if self._store is None:
            return
        mine = self._mine()
        in_use = {session.id for session in used}
        for (session_id, _), moves in self._known.items():
            if session_id in in_use and moves[-1] != self._peers.id:
                self._peers.tell(USED, session_id.encode(), moves[-1])
        rows = {_record(key, turn): each.encode() for key, moves in mine.items() for turn, each in enumerate(moves)}
        if rows:
            try:
                await self._store.put_many(SPACE, rows, self._ttl_s)
            except StoreUnavailable as fault:
                _log.debug("homes were not kept: %s", fault)

    def forget(self, session: Session) -> None:
        """A session is not in this process any more."""
        for key in [key for key in self._known if key[0] == session.id]:
            del self._known[key]

    @property
    def _own_raw(self) -> bytes:
        return self._peers.id.encode()

    def _mine(self) -> dict[Key, Moves]:
        return {key: moves for key, moves in self._known.items() if moves[-1] == self._peers.id}

    async def _find(self, key: Key) -> Moves:
        """The moves of a connection; with none yet, or none that can be known, its home is here."""
        known = self._known.get(key, ())
        if self._store is None or (known and known[-1] == self._peers.id):
            return known or (self._peers.id,)
        try:
            row = list(known)
            if not row:
                row.append((await self._store.claim(SPACE, _record(key, 0), self._own_raw, self._ttl_s)).decode())
            while (raw := await self._store.get(SPACE, _record(key, len(row)))) is not None:
                row.append(raw.decode())
            moves = tuple(row)
        except StoreUnavailable:
            moves = known or (self._peers.id,)
        is_newest = self._known.get(key, ()) == known  # else another replica said more while the store was asked
        if is_newest and self._sessions.here(key[0]) is not None:
            self._known[key] = moves
        return moves

    async def _taken_over(self, key: Key, moves: Moves, ran: str) -> UpstreamDown:
        """Make a new home for what is lost, and return what the client is told of it; `ran` says whether its call
        was made."""
        session_id, name = key
        if self._store is None:
            return UpstreamDown(f"{name}: its replica is gone")
        try:
            won = await self._store.claim(SPACE, _record(key, len(moves)), self._own_raw, self._ttl_s)
        except StoreUnavailable as fault:
            return UpstreamDown(f"{name}: the replica with this session's own connection cannot be reached: {fault}")
        self._peers.tell(MOVED, "\n".join(key).encode(), moves[-1])
        session = self._sessions.here(session_id)
        if session is not None:
            self._known[key] = (*moves, won.decode())
            if won == self._own_raw and self._moved is not None:
                self._moved(session, name)
        return StateGone(
            f"{name}: the replica with this session's own connection is gone, and with it the state that the server "
            f"had for this session; {ran}. The next call finds the server started anew"
        )

    async def _give_up(self, key: Key) -> None:
        """There is no room for the connection here; whoever is called next may have some."""
        moves = self._known.pop(key, ())
        if self._store is not None and moves:
            try:
                await self._store.delete(SPACE, _record(key, len(moves) - 1))
            except StoreUnavailable as fault:
                _log.debug("a home is not given up yet: %s", fault)
            self._peers.tell(GIVEN_UP, "\n".join(key).encode())

    def _given_up(self, sender: str, body: bytes) -> None:
        """Whoever is called next finds or makes another home."""
        session_id, _, name = body.decode().partition("\n")
        if self._known.get((session_id, name), ("",))[-1] == sender:
            del self._known[session_id, name]

    def _moved_away(self, sender: str, body: bytes) -> None:
        session_id, _, name = body.decode().partition("\n")
        key = session_id, name
        if key in self._mine():
            _log.warning("%s: replica %s took this one for gone", name, sender)
            self._let_go(key)

    def _let_go(self, key: Key) -> None:
        _log.warning("%s: a session's own connection is ended: another replica has made a new one", key[1])
        del self._known[key]
        self._fleet.end_own(key[1], key[0])

    def _used(self, session_id: str) -> None:
        self._sessions.find(session_id)


def _key(exchange: Exchange, bound: Bound) -> Key:
    assert exchange.session is not None
    return exchange.session.id, bound.upstream_name


def _record(key: Key, turn: int) -> str:
    return f"{key[0]}.{key[1]}.{turn}"


def _lost(bound: Bound, fault: PeerGone) -> UpstreamDown:
    return UpstreamDown(f"{bound.upstream_name}: {fault}; {_UNKNOWN}")
