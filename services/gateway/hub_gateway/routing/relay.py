"""Journey E: what an upstream says unasked, and outside any call, goes to the clients it concerns."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hub_gateway.exposure.current import Current
from hub_gateway.routing.subscriptions import Subscriptions
from hub_gateway.routing.task_handles import TaskHandles
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.inbound import TASK_STATUS, TASKS
from hub_gateway.upstreams.second_links import OF_SESSIONS
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.message import Message

VISITED = "notifications/elicitation/complete"

ListChanged = Callable[[str, str], None]
"""Takes an upstream's name and the capability word whose list it says has changed."""


class Relay:
    """Sends unasked messages on. List changes go to `republish`, which alone decides who is told."""

    def __init__(
        self,
        sessions: Sessions,
        subscriptions: Subscriptions,
        handles: TaskHandles,
        current: Current,
        list_changed: ListChanged,
    ) -> None:
        self._current = current
        self._handles = handles
        self._sessions = sessions
        self._subscriptions = subscriptions
        self._list_changed = list_changed

    def unasked(self, upstream_name: str, message: Message) -> None:
        """Pass on a notification that belongs to no call. A malformed one is dropped: there is nobody to tell."""
        try:
            if message.method.endswith("/list_changed"):
                self._list_changed(upstream_name, message.method.split("/")[1])
            elif message.method == "notifications/resources/updated":
                self._subscriptions.updated(upstream_name, message)
            elif message.method == TASKS:
                self._subscriptions.task_told(upstream_name, message)
            elif message.method == TASK_STATUS:
                self._handles.status(upstream_name, message)
            elif message.method == VISITED:
                self._visited(upstream_name, message)
            elif message.method == "notifications/message":
                self._log(upstream_name, message)
            else:
                self._unknown(upstream_name, message)
        except msgspec.MsgspecError:
            return

    def of_session(self, upstream_name: str, session_id: str, message: Message) -> None:
        """Pass on what an upstream says unasked on a session's own connection: to that session alone. Its lists are
        the shared connection's, so changes of them are not told. `OF_SESSIONS` is for all who share a second link."""
        session = self._sessions.here(session_id)  # what its server says is no sign of life of the client
        try:
            if session_id == OF_SESSIONS:
                self._subscriptions.updated(upstream_name, message, session_id)
            if session is None:
                return
            members = rewrite.members(message.params)
            if message.method == "notifications/resources/updated":
                self._subscriptions.updated(upstream_name, message, session_id)
            elif message.method == TASK_STATUS:
                self._handles.status(upstream_name, message)
            elif _is_for(session, upstream_name, message.method, members):
                session.tell(codec.notification(message.method, message.params))
        except msgspec.MsgspecError:
            return

    def _visited(self, upstream_name: str, message: Message) -> None:
        elicitation_id = rewrite.text(rewrite.members(message.params).get("elicitationId"))
        encoded = codec.notification(message.method, message.params)
        for session in self._sessions:
            if session.reverse.was_sent_to(upstream_name, elicitation_id):
                session.tell(encoded)

    def _unknown(self, upstream_name: str, message: Message) -> None:
        """A notification of an extension goes to every session that may see the upstream."""
        encoded = codec.notification(message.method, message.params)
        for session in self._sessions:
            if upstream_name in self._current.of(session.view_name).allowed.upstreams:
                session.tell(encoded)

    def _log(self, upstream_name: str, message: Message) -> None:
        """A log line outside any call goes to the sessions that want its level and may see the upstream. The stateless
        era has no such thing (2026-07-28 utilities/logging: request-scoped)."""
        level = rewrite.text(rewrite.members(message.params).get("level"))
        encoded = codec.notification(message.method, message.params)
        for session in self._sessions:
            if session.log_level is None or not session.wants_log(level):
                continue
            if upstream_name in self._current.of(session.view_name).allowed.upstreams:
                session.tell(encoded)


def _is_for(session: Session, upstream_name: str, method: str, members: rewrite.Members) -> bool:
    """Whether a session is told what came on its own connection."""
    if method == VISITED:
        return session.reverse.was_sent_to(upstream_name, rewrite.text(members.get("elicitationId")))
    if method == "notifications/message":
        return session.wants_log(rewrite.text(members.get("level")))
    return method != TASKS and not method.endswith("/list_changed")
