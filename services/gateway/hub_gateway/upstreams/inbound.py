"""What comes from an upstream, matched to who waits for it.

Owns which message is an answer, which belongs to a call under way, and which to none. Does no I/O: answers to the
upstream leave through the callable it is given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from hub_gateway.errors import UpstreamDown, UpstreamGarbage
from hub_gateway.upstreams.pending import Answer, Listener, Pending, Reply, Ties, read_id
from hub_gateway.wire import codec, meta, rewrite
from hub_gateway.wire.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, PARSE_ERROR, error_object
from hub_gateway.wire.message import Message, own

_log = logging.getLogger(__name__)

PROGRESS = "notifications/progress"
LOG_MESSAGE = "notifications/message"
CANCELLED = "notifications/cancelled"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
TASKS = "notifications/tasks"
"""Of the `io.modelcontextprotocol/tasks` extension."""
TASK_STATUS = TASKS + "/status"
"""Of tasks of 2025-11-25, in either direction."""

MAX_LASTING = 256
"""Tasks of one connection whose progress is told after the call that made them; the oldest is forgotten first."""

SHARED = frozenset(
    {
        TASKS,
        TASK_STATUS,
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    }
)
"""Notifications that belong to no call, even when they come on a call's stream."""

Unasked = Callable[[Message], None]
"""Takes a notification that belongs to no call. Never blocks, never raises."""


class Inbound:
    """The receiving half of one connection."""

    def __init__(
        self,
        name: str,
        pending: Pending[Any],
        unasked: Unasked,
        reply: Callable[[bytes, Reply], None],
        owner: Listener | None = None,
        progress: Callable[[bytes, bytes], None] = lambda id_raw, params_raw: None,
        ties: Ties | None = None,
    ) -> None:
        """`reply` sends the answer to a request of the upstream's, by its id, and `progress` the params of a progress
        notification before that. `owner` is whose connection this is where it is one client's alone: what belongs to
        no single call is said to it. `ties` know whose else it may be."""
        self._name = name
        self._pending = pending
        self._unasked = unasked
        self._reply = reply
        self._owner = owner
        self._progress = progress
        self._ties = ties
        self._lasting: dict[int, tuple[Listener, bytes]] = {}
        """Calls that have become tasks, by their id: who hears their progress, and under which token."""
        self.asked: dict[bytes, Listener] = {}
        """Who was asked what the upstream waits for, by its id."""
        self.stateless = True
        """Whether the era is the one in which only subscriptions are cancelled by an upstream."""

    def receive(self, body: bytes, upstream_id: int | None) -> bool:
        """Take one message; see `transport.Receive`."""
        try:
            message = codec.decode(body)
        except codec.MalformedMessage as fault:
            if codec.is_batch(body):
                return self._receive_batch(body, upstream_id)
            return self._receive_malformed(body, upstream_id, fault)
        return self._take(message, upstream_id)

    def _receive_batch(self, body: bytes, upstream_id: int | None) -> bool:
        try:
            parts = codec.decode_batch(body)
        except codec.MalformedMessage as fault:
            return self._receive_malformed(body, upstream_id, fault)
        answered = False
        for part in map(own, parts):
            try:
                answered |= self._take(codec.decode(part), upstream_id)
            except codec.MalformedMessage as fault:
                answered |= self._receive_malformed(part, upstream_id, fault)
        return answered

    def _receive_malformed(self, body: bytes, upstream_id: int | None, fault: codec.MalformedMessage) -> bool:
        """Mend what can be mended, else fail the call that the body answers: it would wait for its deadline."""
        if (repaired := codec.repaired(body)) != body:
            _log.warning("%s sent what is no UTF-8, or a byte order mark", self._name)
            return self.receive(repaired, upstream_id)
        _log.warning("%s sent what is no message: %s", self._name, fault)
        found_id = codec.answered_by(body) if fault.code == PARSE_ERROR else None
        call = None if found_id is None else self._pending.find(found_id)
        if call is not None:
            call.settle(None, UpstreamGarbage(f"its answer cannot be read: {fault}"))
        return call is not None and found_id == upstream_id

    def outlives(self, upstream_id: int, listener: Listener, token_raw: bytes) -> None:
        """A call has become a task: its progress goes on (2025-11-25 basic/utilities/tasks §Task Progress
        Notifications)."""
        self._lasting[upstream_id] = (listener, token_raw)
        if len(self._lasting) > MAX_LASTING:
            del self._lasting[next(iter(self._lasting))]

    def _take(self, message: Message, upstream_id: int | None) -> bool:
        if not message.method:
            return self._take_response(message, upstream_id)
        related: Listener | None = None
        if self._ties is not None and bytes(message.params).find(meta.RELATED_TASK_END) >= 0:
            related = self._ties.of_task(message)
            message.params = msgspec.Raw(self._ties.outward(message.params))
        if len(message.id):
            self._take_request(message, upstream_id, related)
        else:
            self._take_notification(message, upstream_id, related)
        return False

    def _take_response(self, message: Message, upstream_id: int | None) -> bool:
        found_id = read_id(bytes(message.id))
        if found_id is None:
            # An error about a request whose id could not be read; on that request's own stream it is the answer.
            if upstream_id is None or not len(message.error):
                return False
            found_id = upstream_id
        call = self._pending.find(found_id)
        if call is not None:
            if len(message.error):
                call.settle(Reply(error_raw=own(message.error)))
            else:
                call.settle(Reply(own(message.result)))
        return found_id == upstream_id

    def _take_request(self, message: Message, upstream_id: int | None, related: Listener | None) -> None:
        id_raw = own(message.id)
        if message.method == "ping":
            self._reply(id_raw, Reply(b"{}"))
            return
        listener = self._listener(upstream_id, related) or self._owner
        if listener is None and self._ties is not None and self._pending.idle:
            listener = self._ties.of_nobody(message)
        if listener is None:
            text = f"{message.method}: no call under way that it could belong to"
            self._reply(id_raw, Reply(error_raw=error_object(METHOD_NOT_FOUND, text)))
            return
        self.asked[id_raw] = listener

        def inward(raw: bytes) -> bytes:
            return raw if self._ties is None or raw.find(meta.RELATED_TASK_END) < 0 else self._ties.inward(raw)

        def answer(reply: Reply) -> None:
            if (asked := self.asked.pop(id_raw, None)) is not None:
                for _, call in self._pending:
                    if call.listener is not None and self._concerns(asked, call.listener):
                        call.prolong()
                self._reply(id_raw, Reply(inward(reply.result_raw), reply.error_raw))

        def progress(params_raw: bytes) -> None:
            if id_raw in self.asked:
                self._progress(id_raw, inward(params_raw))

        listener.ask(message, Answer(answer, progress, self._name))

    def asks(self, listener: Listener) -> bool:
        """Whether the upstream waits for an answer to what it asked during this call."""
        return any(self._concerns(each, listener) for each in self.asked.values())

    def _concerns(self, asked: Listener, listener: Listener) -> bool:
        """Whether what one was asked is about the other's call: its own, or any call of its session, where the
        question does not say of which."""
        if asked is listener:
            return True
        if not asked.session_id or asked.session_id != listener.session_id:
            return False
        return not any(call.listener is asked for _, call in self._pending)

    def drop(self, listener: Listener) -> None:
        """Answer with an error what the upstream still asks of a call that has ended."""
        for id_raw in [id_raw for id_raw, owner in self.asked.items() if owner is listener]:
            del self.asked[id_raw]
            text = "the call that this belonged to has ended"
            self._reply(id_raw, Reply(error_raw=error_object(INTERNAL_ERROR, text)))

    def _take_notification(self, message: Message, upstream_id: int | None, related: Listener | None) -> None:
        method = message.method
        if method in SHARED:
            self._unasked(message)
        elif method == ACKNOWLEDGED:
            self._take_acknowledged(message, upstream_id)
        elif method == PROGRESS:
            self._take_progress(message)
        elif method == CANCELLED:
            self._take_cancelled(message)
        elif upstream_id is not None or method == LOG_MESSAGE:
            listener = self._listener(upstream_id, related)
            if listener is not None:
                listener.relay(message)
            elif upstream_id is None:
                self._unasked(message)
        else:
            self._unasked(message)

    def _take_progress(self, message: Message) -> None:
        try:
            params = rewrite.members(message.params)
        except msgspec.MsgspecError:
            return
        found_id = read_id(bytes(params.get(meta.PROGRESS_TOKEN, b"")))
        if found_id is None:
            return
        call = self._pending.find(found_id)
        listener, token_raw = self._lasting.get(found_id, (None, None))
        if call is not None:
            listener, token_raw = call.listener, call.progress_token_raw
        if listener is None or token_raw is None:
            return
        if call is not None:
            call.prolong()
        params[meta.PROGRESS_TOKEN] = msgspec.Raw(token_raw)
        message.params = msgspec.Raw(rewrite.join(params))
        listener.relay(message)

    def _take_acknowledged(self, message: Message, upstream_id: int | None) -> None:
        """The upstream honours a subscription: whoever made it hears of it, by the id in `_meta` where all share one
        channel (2026-07-28 basic/patterns/subscriptions §Receiving Notifications)."""
        if upstream_id is None:
            upstream_id = read_id(meta.subscription_id_raw(message.params))
        listener = None if upstream_id is None else self._listener(upstream_id, None)
        if listener is not None:
            listener.relay(message)
        else:
            self._unasked(message)

    def _take_cancelled(self, message: Message) -> None:
        """The upstream takes back a request of its own, or ends a subscription (2026-07-28 basic/patterns/
        cancellation)."""
        try:
            id_raw = bytes(rewrite.members(message.params).get("requestId", b""))
        except msgspec.MsgspecError:
            return
        if (listener := self.asked.pop(id_raw, None)) is not None:
            listener.relay(message)
        elif self.stateless and (found_id := read_id(id_raw)) is not None:
            call = self._pending.find(found_id)
            if call is not None:
                call.settle(None, UpstreamDown("the upstream ended the subscription"))

    def _listener(self, upstream_id: int | None, related: Listener | None) -> Listener | None:
        """Whose it is: by the call's own stream, else by the task that the message names, else by the only client that
        has calls under way."""
        if upstream_id is None:
            return related or self._pending.sole_listener()
        call = self._pending.find(upstream_id)
        return related if call is None else call.listener
