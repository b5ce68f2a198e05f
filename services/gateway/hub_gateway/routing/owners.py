"""A client of a session asked and told outside any call of its own.

Owns what an upstream is told of the client whose own connection it has (`isolation: "session"`), and how a client hears
what belongs to no single call.
"""

from __future__ import annotations

import msgspec

from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.inbound import CANCELLED, LOG_MESSAGE, PROGRESS
from hub_gateway.upstreams.pending import Answer, Listener, Owner, Reply
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.message import Message, own
from hub_gateway.wire.meta import Caller

_RELAYED = frozenset({"sampling", "elicitation", "roots", "tasks", "extensions", "experimental"})
"""Capabilities that an upstream's request can make use of through the hub. A client's own tasks are among them because
nobody else can be meant by their ids on this connection."""


def owner_of(sessions: Sessions, session_id: str) -> Owner | None:
    """The client of a session; None where there is no such session."""
    session = sessions.find(session_id)
    if session is None:
        return None
    return Owner(Caller(session.caller.client_info_raw, _declared(session)), StandingClient(session))


def _declared(session: Session) -> bytes:
    found = rewrite.members(session.caller.capabilities_raw)
    return rewrite.join({word: raw for word, raw in found.items() if word in _RELAYED})


class StandingClient:
    """The client, heard on its standing stream. Implements `upstreams.pending.Listener`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: dict[bytes, bytes] = {}

    @property
    def session_id(self) -> str:
        """The session it speaks for."""
        return self._session.id

    @property
    def whole(self) -> Listener:
        """Itself: it is no single call's."""
        return self

    def relay(self, message: Message) -> None:
        """Tell of progress and of the log, and of a question that the upstream wants no answer to any more."""
        if message.method == CANCELLED:
            self._take_back(message)
        elif message.method == PROGRESS or (message.method == LOG_MESSAGE and self._wants(message)):
            self._session.tell(codec.notification(message.method, message.params))

    def ask(self, message: Message, answer: Answer) -> None:
        """Ask the client, and answer with what it says."""
        upstream_id_raw = own(message.id)

        def answered(result_raw: bytes, error_raw: bytes) -> None:
            self._asked.pop(upstream_id_raw, None)
            answer(Reply(result_raw, error_raw))

        question = self._session.reverse.ask(message, answered, answer.progress, asker=answer.asker)
        if question is not None:
            self._asked[upstream_id_raw] = question.id_raw
            self._session.tell(question.message)

    def _take_back(self, message: Message) -> None:
        params = rewrite.members(message.params)
        id_raw = self._asked.pop(bytes(params.pop("requestId", b"")), None)
        if id_raw is not None and self._session.reverse.withdraw(id_raw):
            self._session.tell(codec.notification(CANCELLED, rewrite.join({"requestId": id_raw, **params})))

    def _wants(self, message: Message) -> bool:
        try:
            return self._session.wants_log(rewrite.text(rewrite.members(message.params).get("level")))
        except msgspec.MsgspecError:
            return False
