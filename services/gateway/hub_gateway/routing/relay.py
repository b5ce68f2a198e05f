"""Journey E: what an upstream says unasked, and outside any call, goes to the clients it concerns."""

from __future__ import annotations

import msgspec

from hub_gateway.routing.subscriptions import Subscriptions
from hub_gateway.sessions.registry import Sessions
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.message import Message


class Relay:
    """Sends unasked messages on. List changes are not among them: `republish` alone decides on those."""

    def __init__(self, sessions: Sessions, subscriptions: Subscriptions) -> None:
        self._sessions = sessions
        self._subscriptions = subscriptions

    def unasked(self, upstream_name: str, message: Message) -> None:
        """Pass on a notification that belongs to no call. A malformed one is dropped: there is nobody to tell."""
        try:
            if message.method == "notifications/resources/updated":
                self._subscriptions.updated(upstream_name, message)
            elif message.method == "notifications/message":
                self._log(message)
        except msgspec.MsgspecError:
            return

    def _log(self, message: Message) -> None:
        """A log line outside any call goes to the sessions that want its level. The stateless era has no such thing
        (2026-07-28 utilities/logging: request-scoped)."""
        level = rewrite.text(rewrite.members(message.params).get("level"))
        encoded = codec.notification(message.method, message.params)
        for session in self._sessions:
            if session.log_level is not None and session.wants_log(level):
                session.tell(encoded)
