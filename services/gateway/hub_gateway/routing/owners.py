"""Whose a session's own connection is (`isolation: "session"`), seen from the upstream.

Owns what the upstream is told of the session's client, and how the client is asked what belongs to no single call.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hub_gateway.routing.exchange import CANCELLED
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.pending import Answer, Owner, Reply
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.message import Message, own
from hub_gateway.wire.meta import Caller

_RELAYED = frozenset({"sampling", "elicitation", "roots", "extensions", "experimental"})
"""Capabilities that an upstream's request can make use of through the hub; a client's own tasks are not among them."""


def owner_of(sessions: Sessions, session_id: str) -> Owner | None:
    """The client of a session; None where there is no such session."""
    session = sessions.find(session_id)
    if session is None:
        return None
    return Owner(Caller(session.caller.client_info_raw, _declared(session)), _Client(session))


def _declared(session: Session) -> bytes:
    found = rewrite.members(session.caller.capabilities_raw)
    kept = {word: raw for word, raw in found.items() if word in _RELAYED}
    if isinstance(roots := session.capabilities.get("roots"), Mapping) and "listChanged" in roots:
        kept["roots"] = msgspec.Raw(b"{}")  # that they changed is not passed on
    return rewrite.join(kept)


class _Client:
    """The client, asked on its standing stream. Implements `upstreams.pending.Listener`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: dict[bytes, bytes] = {}

    def relay(self, message: Message) -> None:
        """The upstream wants no answer any more."""
        if message.method != CANCELLED:
            return
        params = rewrite.members(message.params)
        id_raw = self._asked.pop(bytes(params.pop("requestId", b"")), None)
        if id_raw is not None and self._session.reverse.withdraw(id_raw):
            self._session.tell(codec.notification(CANCELLED, rewrite.join({"requestId": id_raw, **params})))

    def ask(self, message: Message, answer: Answer) -> None:
        """Ask the client, and answer with what it says."""
        upstream_id_raw = own(message.id)

        def answered(result_raw: bytes, error_raw: bytes) -> None:
            self._asked.pop(upstream_id_raw, None)
            answer(Reply(result_raw, error_raw))

        question = self._session.reverse.ask(message, answered)
        if question is not None:
            self._asked[upstream_id_raw] = question.id_raw
            self._session.tell(question.message)
