"""One live link to an upstream: requests out, replies and everything unasked in.

Owns the matching of what comes to who waits for it, on any transport and in both eras. Knows neither sockets nor
processes, and not when to connect again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from hub_common.tasks import Tasks
from hub_gateway.errors import UpstreamDown, UpstreamError, UpstreamTimeout
from hub_gateway.upstreams.handshake import Agreement
from hub_gateway.upstreams.pending import Listener, Pending, Reply, Waiter, read_id
from hub_gateway.upstreams.transports.transport import Transport
from hub_gateway.wire import codec, meta, rewrite
from hub_gateway.wire.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, error_object
from hub_gateway.wire.message import Message, own
from hub_gateway.wire.revisions import LATEST_STATELESS, Era

_log = logging.getLogger(__name__)

_NOTIFY_S = 10.0
_NEVER_CANCELLED = frozenset({"initialize", "server/discover"})

PROGRESS = "notifications/progress"
LOG_MESSAGE = "notifications/message"
CANCELLED = "notifications/cancelled"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
SHARED = frozenset(
    {
        ACKNOWLEDGED,
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    }
)
"""Notifications that belong to no call, even when they come on a call's stream."""

Unasked = Callable[[Message], None]
"""Takes a notification that belongs to no call. Never blocks, never raises."""


class _Call(Waiter):
    """A waiter that is a task: past its deadline the task is cancelled out of whatever it awaits."""

    __slots__ = ("cancels_before", "expired", "task")

    def __init__(self, listener: Listener | None, progress_token_raw: bytes | None, deadline_s: float) -> None:
        super().__init__(listener, progress_token_raw, deadline_s)
        self.task = asyncio.current_task()
        self.expired = False
        self.cancels_before = 0

    def expire(self) -> None:
        """Interrupt the task; `request` turns the cancellation into UpstreamTimeout."""
        if self.task is not None and not self.expired:
            self.expired = True
            self.cancels_before = self.task.cancelling()
            self.task.cancel()


class Connection:
    """One link. The dialer opens it and settles the agreement; whoever got it from there closes it."""

    def __init__(self, name: str, transport: Transport, unasked: Unasked) -> None:
        self.name = name
        self.agreement = Agreement(Era.STATELESS, LATEST_STATELESS, {}, b"{}", b"")
        self._transport = transport
        self._unasked = unasked
        self._on_lost: Callable[[str], None] | None = None
        self._pending: Pending[_Call] = Pending()
        self._asked: dict[bytes, Listener] = {}
        self._tasks = Tasks(f"upstream.{name}")
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_s = float("inf")
        self.gone: str | None = None
        """Why the link is no more; None while it is."""

    @property
    def era(self) -> Era:
        """Era of the agreed revision."""
        return self.agreement.era

    @property
    def revision(self) -> str:
        """The agreed revision."""
        return self.agreement.revision

    @property
    def capabilities(self) -> dict[str, Any]:
        """What the upstream says it can do, decoded."""
        return self.agreement.capabilities

    @property
    def capabilities_raw(self) -> bytes:
        """What the upstream says it can do, as it said it."""
        return self.agreement.capabilities_raw

    @property
    def server_info_raw(self) -> bytes:
        """The upstream's `Implementation` object; b"" when it did not say."""
        return self.agreement.server_info_raw

    @property
    def instructions(self) -> str | None:
        """The upstream's own words to the model."""
        return self.agreement.instructions

    @property
    def in_flight(self) -> int:
        """Requests under way, the hub's own included."""
        return len(self._pending)

    async def open(self) -> None:
        """Open the transport. Says nothing to the upstream yet.

        Raises:
            UpstreamDown: see `Transport.open`.
        """
        await self._transport.open(self._receive, self._lose)

    def settle(self, agreement: Agreement) -> None:
        """Speak as agreed from now on, or as supposed while the handshake goes on (revision "" before `initialize`)."""
        self.agreement = agreement
        self._transport.speak(agreement.revision)

    def when_lost(self, lost: Callable[[str], None]) -> None:
        """Have `lost` called once, with the reason, when the link breaks; at once if it has. Not after `close`."""
        self._on_lost = lost
        if self.gone is not None:
            lost(self.gone)

    async def request(
        self,
        method: str,
        params: rewrite.Members,
        *,
        caller: meta.Caller,
        timeout_s: float | None,
        listener: Listener | None = None,
        progress_token_raw: bytes | None = None,
        name: str | None = None,
    ) -> Reply:
        """Send a request and return how it was answered; an error of the upstream's own is a reply too.

        `name` is what `Mcp-Name` mirrors. With `progress_token_raw` (the caller's token) progress is asked for and
        relayed under that token. Without `timeout_s` it may take for ever. Cancelling tells the upstream.

        Raises:
            UpstreamTimeout, UpstreamDown, UpstreamUnauthorized, UpstreamBusy, UpstreamGarbage.
        """
        if self.gone is not None:
            raise UpstreamDown(self.gone)
        deadline_s = float("inf") if timeout_s is None else self._loop.time() + timeout_s
        call = _Call(listener, progress_token_raw, deadline_s)
        upstream_id = self._pending.add(call)
        if deadline_s < self._sweep_s:
            self._sweep_at(deadline_s)
        id_raw = b"%d" % upstream_id
        agreement = self.agreement
        try:
            params_raw = meta.for_upstream(
                params,
                era=agreement.era,
                revision=agreement.revision,
                caller=caller,
                progress_token_raw=None if progress_token_raw is None else id_raw,
            )
            message = codec.request(id_raw, method, params_raw)
            await self._transport.send(message, upstream_id=upstream_id, method=method, name=name)
            if call.reply is None:
                await self._wait(call)
        except asyncio.CancelledError:
            if call.expired and call.task is not None and call.task.uncancel() <= call.cancels_before:
                if call.reply is None:
                    self._cancel(id_raw, method, "timeout")
                    raise UpstreamTimeout(f"no answer within {timeout_s:g} seconds") from None
            else:
                self._cancel(id_raw, method, "the caller cancelled")
                raise
        finally:
            self._pending.forget(upstream_id)
            if self._asked and listener is not None:
                self._drop_asked(listener)
        assert call.reply is not None
        return call.reply

    async def notify(self, method: str, params_raw: bytes = b"") -> None:
        """Send a notification.

        Raises:
            UpstreamDown: it could not be sent within ten seconds.
        """
        await self._send(codec.notification(method, params_raw), method)

    async def close(self) -> None:
        """End the link; calls under way fail. Idempotent."""
        self._fail("the link was closed")
        await self._tasks.close()
        await self._transport.close()

    # Out

    async def _wait(self, call: _Call) -> None:
        if call.fault is None:
            done: asyncio.Future[None] = self._loop.create_future()
            call.wake = lambda: None if done.done() else done.set_result(None)
            await done
        if call.fault is not None:
            raise call.fault

    async def _send(self, message: bytes, method: str) -> None:
        if self.gone is not None:
            raise UpstreamDown(self.gone)
        try:
            async with asyncio.timeout(_NOTIFY_S):
                await self._transport.send(message, upstream_id=None, method=method, name=None)
        except TimeoutError as fault:
            raise UpstreamDown("it does not take messages") from fault

    async def _send_quietly(self, message: bytes, method: str) -> None:
        try:
            await self._send(message, method)
        except UpstreamError as fault:
            _log.debug("%s: %s was not delivered: %s", self.name, method or "an answer", fault)

    def _cancel(self, id_raw: bytes, method: str, reason: str) -> None:
        """Tell the upstream, unless closing the stream has told it (2026-07-28 basic/patterns/cancellation)."""
        if self.gone is not None or method in _NEVER_CANCELLED:
            return
        if self._transport.streams and self.era is Era.STATELESS:
            return
        message = codec.notification(CANCELLED, b'{"requestId":%b,"reason":"%b"}' % (id_raw, reason.encode()))
        self._tasks.spawn(self._send_quietly(message, CANCELLED), "cancel")

    def _sweep_at(self, deadline_s: float) -> None:
        # One timer for the earliest deadline: a timer for each call would cost more than the rest of its bookkeeping.
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_s = deadline_s
        self._sweep = self._loop.call_at(deadline_s, self._expire)

    def _expire(self) -> None:
        self._sweep, self._sweep_s = None, float("inf")
        now_s, next_s = self._loop.time(), float("inf")
        for _, call in self._pending:
            if call.deadline_s <= now_s:
                call.expire()
            elif call.deadline_s < next_s:
                next_s = call.deadline_s
        if next_s < float("inf"):
            self._sweep_at(next_s)

    # In

    def _receive(self, body: bytes, upstream_id: int | None) -> bool:
        try:
            if codec.is_batch(body):
                answers = [self._take(codec.decode(part), upstream_id) for part in codec.decode_batch(body)]
                return any(answers)
            return self._take(codec.decode(body), upstream_id)
        except codec.MalformedMessage as fault:
            _log.warning("%s sent what is no message: %s", self.name, fault)
            return False

    def _take(self, message: Message, upstream_id: int | None) -> bool:
        if not message.method:
            return self._take_response(message, upstream_id)
        if len(message.id):
            self._take_request(message, upstream_id)
        else:
            self._take_notification(message, upstream_id)
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

    def _take_request(self, message: Message, upstream_id: int | None) -> None:
        id_raw = own(message.id)
        if message.method == "ping":
            self._reply(id_raw, Reply(b"{}"))
            return
        listener = self._listener(upstream_id)
        if listener is None:
            text = f"{message.method}: no call under way that it could belong to"
            self._reply(id_raw, Reply(error_raw=error_object(METHOD_NOT_FOUND, text)))
            return
        self._asked[id_raw] = listener

        def answer(reply: Reply) -> None:
            if self._asked.pop(id_raw, None) is not None:
                self._reply(id_raw, reply)

        listener.ask(message, answer)

    def _drop_asked(self, listener: Listener) -> None:
        for id_raw in [id_raw for id_raw, owner in self._asked.items() if owner is listener]:
            del self._asked[id_raw]
            if self.gone is None:
                text = "the call that this belonged to has ended"
                self._reply(id_raw, Reply(error_raw=error_object(INTERNAL_ERROR, text)))

    def _reply(self, id_raw: bytes, reply: Reply) -> None:
        message = codec.error(id_raw, reply.error_raw) if reply.error_raw else codec.result(id_raw, reply.result_raw)
        self._tasks.spawn(self._send_quietly(message, ""), "answer")

    def _take_notification(self, message: Message, upstream_id: int | None) -> None:
        method = message.method
        if method in SHARED:
            self._unasked(message)
        elif method == PROGRESS:
            self._take_progress(message)
        elif method == CANCELLED:
            self._take_cancelled(message)
        elif upstream_id is not None or method == LOG_MESSAGE:
            listener = self._listener(upstream_id)
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
        found_id = read_id(bytes(params.get("progressToken", b"")))
        call = None if found_id is None else self._pending.find(found_id)
        if call is None or call.listener is None or call.progress_token_raw is None:
            return
        message.params = msgspec.Raw(rewrite.replaced(message.params, "progressToken", call.progress_token_raw))
        call.listener.relay(message)

    def _take_cancelled(self, message: Message) -> None:
        """The upstream takes back a request of its own, or ends a subscription (2026-07-28 basic/patterns/
        cancellation)."""
        try:
            id_raw = bytes(rewrite.members(message.params).get("requestId", b""))
        except msgspec.MsgspecError:
            return
        if (listener := self._asked.pop(id_raw, None)) is not None:
            listener.relay(message)
        elif self.era is Era.STATELESS and (found_id := read_id(id_raw)) is not None:
            call = self._pending.find(found_id)
            if call is not None:
                call.settle(None, UpstreamDown("the upstream ended the subscription"))

    def _listener(self, upstream_id: int | None) -> Listener | None:
        if upstream_id is None:
            return self._pending.sole_listener()
        call = self._pending.find(upstream_id)
        return None if call is None else call.listener

    # The end

    def _lose(self, reason: str) -> None:
        if self.gone is None:
            self._fail(reason)
            if self._on_lost is not None:
                self._on_lost(reason)

    def _fail(self, reason: str) -> None:
        if self.gone is not None:
            return
        self.gone = reason
        if self._sweep is not None:
            self._sweep.cancel()
        self._asked.clear()
        for _, call in self._pending:
            call.settle(None, UpstreamDown(reason))
