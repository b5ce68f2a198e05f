"""One session on several replicas: what changes on one is known on all, and its messages reach the stream its client
holds, wherever that is.

Owns what replicas tell each other of sessions they both know: changes, the end, who holds the client's stream, and what
a client sent to one and another waits for. Alone, none of it costs anything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator, Set
from contextlib import contextmanager

import msgspec

from hub_gateway.exposure.audience import Opened
from hub_gateway.routing.extensions import Extensions
from hub_gateway.routing.log_levels import LogLevels
from hub_gateway.routing.roots import CHANGED as ROOTS_CHANGED
from hub_gateway.routing.roots import Roots
from hub_gateway.routing.subscriptions import Subscriptions
from hub_gateway.satellites.peers import Peers
from hub_gateway.sessions.archive import Kept
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.reverse import token_of
from hub_gateway.sessions.session import Session, replica_in
from hub_gateway.upstreams.inbound import CANCELLED, PROGRESS, TASK_STATUS
from hub_gateway.wire import codec
from hub_gateway.wire.message import Kind, Message, own

CHANGED = "session changed"
ENDED = "session ended"
WHO_HOLDS = "who holds"
HOLDS = "holds"
LET_GO = "let go"
MESSAGE = "message for"
SENT = "sent by"

ANSWER_AGAIN_S = 1.0
ANSWER_TRIES = 60
"""A client says its answer once, and the call waits for it: where nobody heard it, since Redis is away, it is told
again so often and after so long."""

_CLIENT_NOTIFICATIONS = frozenset({CANCELLED, PROGRESS, ROOTS_CHANGED, TASK_STATUS, "notifications/initialized"})
"""All that the protocol has (2025-11-25 schema, ClientNotification)."""


class _Change(msgspec.Struct, frozen=True, array_like=True):
    """What became another on one replica. Of two changes of the level or of what is opened, made at the same time, the
    last one stands; subscriptions both do."""

    session_id: str
    log_level: str | None
    opened: Opened | None
    opened_changed: bool
    subscribed: frozenset[str]
    unsubscribed: frozenset[str]


class _Letter(msgspec.Struct, frozen=True, array_like=True):
    """A message of or for the client of a session."""

    session_id: str
    message: bytes


class _State(msgspec.Struct, frozen=True):
    """What the other replicas know of a session."""

    log_level: str | None = None
    opened: Opened | None = None
    subscribed: Set[str] = frozenset()


_change = msgspec.msgpack.Decoder(_Change)
_letter = msgspec.msgpack.Decoder(_Letter)
_NEW = _State()


class SharedSessions:
    """What this replica tells the others of its sessions, and does at their word. `sessions` calls it on every change;
    `serve` comes once, before the first session."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._known: dict[str, _State] = {}
        self._holding: Counter[str] = Counter()
        self._sessions: Sessions | None = None
        self._subscriptions: Subscriptions | None = None
        self._log_levels: LogLevels | None = None
        self._roots: Roots | None = None
        self._extensions: Extensions | None = None

    @property
    def alone(self) -> bool:
        """Whether there is nobody to share with."""
        return self._peers.alone

    def serve(
        self,
        sessions: Sessions,
        subscriptions: Subscriptions,
        log_levels: LogLevels,
        roots: Roots,
        extensions: Extensions,
    ) -> None:
        """Do with these what the others say."""
        self._sessions, self._subscriptions, self._log_levels = sessions, subscriptions, log_levels
        self._roots, self._extensions = roots, extensions
        self._peers.when_told(CHANGED, lambda _, body: self._adopt(_change.decode(body)))
        self._peers.when_told(ENDED, lambda _, body: self._end(body.decode()))
        self._peers.when_told(WHO_HOLDS, self._asked_for)
        self._peers.when_told(HOLDS, self._held_by)
        self._peers.when_told(LET_GO, self._let_go_by)
        self._peers.when_told(MESSAGE, lambda _, body: self._told(_letter.decode(body)))
        self._peers.when_told(SENT, lambda _, body: self._sent(_letter.decode(body)))

    # What this replica tells

    async def delivered(self) -> None:
        """Wait until the others were told, or a moment."""
        await self._peers.delivered()

    def changed(self, session: Session) -> None:
        """Something of a session is another now."""
        before, now = self._known.get(session.id, _NEW), _state(session)
        self._known[session.id] = now  # alone too: who comes later finds it in the session's record
        if self.alone:
            return
        change = _Change(
            session.id,
            now.log_level if now.log_level != before.log_level else None,
            now.opened,
            now.opened != before.opened,
            frozenset(now.subscribed - before.subscribed),
            frozenset(before.subscribed - now.subscribed),
        )
        self._peers.tell(CHANGED, msgspec.msgpack.encode(change))

    def ended(self, session: Session) -> None:
        """A session was ended, for all."""
        self._peers.tell(ENDED, session.id.encode())

    def forgotten(self, session: Session) -> None:
        """A session is not in this process any more."""
        self._known.pop(session.id, None)

    def revived(self, session: Session) -> None:
        """This replica goes on with a session it did not know: whoever holds its client's stream says so."""
        self._known[session.id] = _state(session)
        self._peers.tell(WHO_HOLDS, session.id.encode())

    def differs(self, session: Session, record: Kept) -> None:
        """The record of a session says what this replica was not told: the bus was away."""
        self._make(session, _State(record.log_level, record.opened, frozenset(record.subscribed)))

    @contextmanager
    def holding(self, session: Session, stream: object) -> Generator[None]:
        """While this lasts, a client reads this stream of its session here; where it is the standing one, what other
        replicas have for the client comes here."""
        session.attached += 1
        standing = stream is session.standing
        if standing:
            session.away = session.held_by = None
            self._holding[session.id] += 1
            self._peers.tell(HOLDS, session.id.encode())
        try:
            yield
        finally:
            session.attached -= 1
            if standing:
                self._holding[session.id] -= 1
                if not self._holding[session.id]:
                    del self._holding[session.id]
                    self._peers.tell(LET_GO, session.id.encode())

    def take(self, session: Session, message: Message) -> None:
        """Take a notification or a response of the client: here, or where somebody waits for it. A question's id, which
        is the token of its progress too, names the replica that asked; who runs a call that is cancelled only that one
        knows, and each has upstreams of its own to be told of other roots."""
        if message.method == ROOTS_CHANGED:
            self._roots_changed(session, message)
        elif message.method == TASK_STATUS:
            self._own_task(session, message)
        elif session.take(message):
            return
        elif message.kind is Kind.NOTIFICATION and message.method not in _CLIENT_NOTIFICATIONS:
            if self._extensions is not None:
                self._extensions.notified(session, message)
            return
        if self.alone:
            return
        replica: str | None = None
        if message.kind is Kind.RESPONSE:
            replica = replica_in(own(message.id).decode(errors="replace"))
            if replica is not None and replica != self._peers.id:
                self._pass_answer(session, message, replica)
            return
        if message.method == PROGRESS:
            replica = replica_in(token_of(message.params).decode(errors="replace"))
            if replica in (None, self._peers.id):
                return
            encoded = codec.notification(message.method, message.params)
        elif message.method in (CANCELLED, ROOTS_CHANGED, TASK_STATUS):
            encoded = codec.notification(message.method, message.params)
        else:
            return
        self._peers.tell(SENT, msgspec.msgpack.encode(_Letter(session.id, encoded)), replica)

    def _pass_answer(self, session: Session, message: Message, replica: str) -> None:
        encoded = (
            codec.error(message.id, message.error) if len(message.error) else codec.result(message.id, message.result)
        )
        letter, loop = msgspec.msgpack.encode(_Letter(session.id, encoded)), asyncio.get_running_loop()

        def tell(tries: int) -> None:
            self._peers.tell(SENT, letter, replica, lost=lambda: lost(tries - 1))

        def lost(tries: int) -> None:
            if tries and self._here(session.id) is session:
                loop.call_later(ANSWER_AGAIN_S, tell, tries)

        tell(ANSWER_TRIES)

    # What the others tell

    def _here(self, session_id: str) -> Session | None:
        return None if self._sessions is None else self._sessions.here(session_id)

    def _adopt(self, change: _Change) -> None:
        session = self._here(change.session_id)
        if session is not None:
            subscribed = (session.subscribed | change.subscribed) - change.unsubscribed
            opened = change.opened if change.opened_changed else session.opened
            self._make(session, _State(change.log_level, opened, subscribed))

    def _make(self, session: Session, state: _State) -> None:
        """Make a session what it is elsewhere."""
        if self._sessions is None or self._subscriptions is None or self._log_levels is None:
            return
        if state.log_level is not None:
            session.set_log_level(state.log_level)
            self._log_levels.noticed(session)
        session.opened = state.opened
        unsubscribed = session.subscribed - state.subscribed
        session.subscribed = set(state.subscribed)
        self._known[session.id] = _state(session)
        self._sessions.adopted(session)
        self._subscriptions.unwanted(session, unsubscribed)
        self._subscriptions.revive(session)

    def _end(self, session_id: str) -> None:
        if self._sessions is not None:
            self._sessions.end_here(session_id)

    def _asked_for(self, sender: str, body: bytes) -> None:
        if self._holding[body.decode()]:
            self._peers.tell(HOLDS, body, sender)

    def _held_by(self, sender: str, body: bytes) -> None:
        session = self._here(body.decode())
        if session is None:
            return

        def away(message: bytes) -> None:
            letter = msgspec.msgpack.encode(_Letter(session.id, message))
            self._peers.tell(MESSAGE, letter, sender, lost=lambda: self._returned(session, sender, message))

        session.away, session.held_by = away, sender
        if not session.standing.is_read:
            for message in session.standing.take_unread():
                away(message)

    def _let_go_by(self, sender: str, body: bytes) -> None:
        session = self._here(body.decode())
        if session is not None and session.held_by == sender:
            session.away = session.held_by = None

    def _returned(self, session: Session, sender: str, message: bytes) -> None:
        """The replica that held the stream is gone: the message waits here for a stream."""
        if session.held_by == sender:
            session.away = session.held_by = None
        session.tell(message)

    def _told(self, letter: _Letter) -> None:
        session = self._here(letter.session_id)
        if session is not None:
            session.standing.put(letter.message)

    def _sent(self, letter: _Letter) -> None:
        session = self._here(letter.session_id)
        if session is None:
            return
        message = codec.decode(letter.message)
        if message.method == ROOTS_CHANGED:
            self._roots_changed(session, message)
        elif message.method == TASK_STATUS:
            self._own_task(session, message)
        else:
            session.take(message)

    def _own_task(self, session: Session, message: Message) -> None:
        if self._extensions is not None:
            self._extensions.own_task(session, message)

    def _roots_changed(self, session: Session, message: Message) -> None:
        if self._roots is not None:
            self._roots.changed(session, message)


def _state(session: Session) -> _State:
    return _State(session.log_level, session.opened, frozenset(session.subscribed))
