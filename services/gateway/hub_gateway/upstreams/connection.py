"""One live link to an upstream: requests out, replies and everything unasked in.

Owns requests with their deadlines and cancellation, on any transport and in both eras; what comes in is matched by
`inbound`. Knows neither sockets nor processes, and not when to connect again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hub_common.tasks import Tasks
from hub_gateway.errors import UpstreamDown, UpstreamError, UpstreamTimeout
from hub_gateway.upstreams.handshake import Agreement
from hub_gateway.upstreams.hop import fault_of_hop
from hub_gateway.upstreams.inbound import CANCELLED, PROGRESS, Inbound, Unasked
from hub_gateway.upstreams.pending import Listener, Pending, Reply, Ties, Waiter
from hub_gateway.upstreams.transports.transport import SESSION_ENDED, Forgotten, Transport
from hub_gateway.wire import codec, meta, rewrite
from hub_gateway.wire.revisions import LATEST_STATELESS, Era

_log = logging.getLogger(__name__)

_NOTIFY_S = 10.0
MOST_TIMES = 12
"""How many times its limit a request takes at most that shows signs of life."""

_MAX_LINE = 64
"""Messages about one request of the upstream's that wait to be sent; more progress is dropped, answers never."""
_NEVER_CANCELLED = frozenset({"initialize", "server/discover"})


class _Call(Waiter):
    """A waiter that is a task: past its deadline the task is cancelled out of whatever it awaits."""

    task: asyncio.Task[Any] | None = None
    timeout_s: float = float("inf")
    latest_s: float = float("inf")
    """When it ends though there are signs of life (2025-11-25 basic/lifecycle §Timeouts: a maximum in any case)."""
    expired: bool = False
    cancels_before: int = 0
    """How often the task had been cancelled when the call began; who cancels it since then wants it cancelled."""

    def prolong(self) -> None:
        """Begin its time anew, but for the very end of it."""
        deadline_s = asyncio.get_running_loop().time() + self.timeout_s
        if deadline_s > self.deadline_s:
            self.deadline_s = deadline_s if deadline_s < self.latest_s else self.latest_s

    def expire(self) -> None:
        """Interrupt the task; `request` turns the cancellation into UpstreamTimeout."""
        if self.task is not None and not self.expired:
            self.expired = True
            self.task.cancel()


class Connection:
    """One link. The dialer opens it and settles the agreement; whoever got it from there closes it."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        unasked: Unasked,
        owner: Listener | None = None,
        ties: Ties | None = None,
    ) -> None:
        self.name = name
        self.agreement = Agreement(Era.STATELESS, LATEST_STATELESS, {}, b"{}", b"")
        self._transport = transport
        self._on_lost: Callable[[str], None] | None = None
        self._pending: Pending[_Call] = Pending()
        self._inbound = Inbound(name, self._pending, unasked, self._reply, owner, self._progress, ties)
        self._lines: dict[bytes, deque[tuple[bytes, str]]] = {}
        """What is to be sent about each request of the upstream's."""
        self._tasks = Tasks(f"upstream.{name}")
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_s = float("inf")
        self._idle: asyncio.Event | None = None
        """Set once no request is under way; None while nobody waits for that."""
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
    def transport_kind(self) -> str:
        """What the link speaks; see `Transport.kind`."""
        return self._transport.kind

    @property
    def has_session(self) -> bool:
        """Whether the upstream knows what is asked on this link as one conversation; see `Transport.has_session`."""
        return self.agreement.era is Era.HANDSHAKE and self._transport.has_session

    @property
    def in_flight(self) -> int:
        """Requests under way, the hub's own included."""
        return len(self._pending)

    async def open(self) -> None:
        """Open the transport. Says nothing to the upstream yet.

        Raises:
            UpstreamDown: see `Transport.open`.
        """
        await self._transport.open(self._inbound.receive, self._lose)

    def settle(self, agreement: Agreement) -> None:
        """Speak as agreed from now on, or as supposed while the handshake goes on (revision "" before `initialize`)."""
        self.agreement = agreement
        self._inbound.stateless = agreement.era is Era.STATELESS
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
        mirrored: Sequence[tuple[str, str]] = (),
    ) -> Reply:
        """Send a request and return how it was answered; an error of the upstream's own is a reply too, unless it is
        about the hop between it and the hub (see `hop`). One that takes the agreement back ends the link.

        `name` is what `Mcp-Name` mirrors, `mirrored` the headers of annotated parameters. With `progress_token_raw`
        (the caller's token) progress is asked for and relayed under that token. Without `timeout_s` it may take for
        ever; progress and questions begin that time anew, `MOST_TIMES` at most. Cancelling tells the upstream.

        Raises:
            UpstreamTimeout, UpstreamDown, UpstreamUnauthorized, UpstreamBusy, UpstreamGarbage, HeadersRefused.
        """
        if self.gone is not None:
            raise UpstreamDown(self.gone)
        deadline_s = float("inf") if timeout_s is None else self._loop.time() + timeout_s
        call = _Call(listener, progress_token_raw, deadline_s, task=asyncio.current_task(self._loop))
        if call.task is not None:
            call.cancels_before = call.task.cancelling()
        if timeout_s is not None:
            call.timeout_s, call.latest_s = timeout_s, deadline_s + (MOST_TIMES - 1) * timeout_s
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
            await self._transport.send(message, upstream_id=upstream_id, method=method, name=name, mirrored=mirrored)
            if call.reply is None:
                await self._wait(call)
        except asyncio.CancelledError as cancelled:
            if call.expired and call.task is not None and call.task.uncancel() <= call.cancels_before:
                if call.reply is None:
                    self._cancel(id_raw, method, "timeout")
                    raise UpstreamTimeout(f"no answer within {timeout_s:g} seconds") from None
            else:
                reason = cancelled.args[0] if cancelled.args and isinstance(cancelled.args[0], str) else None
                self._cancel(id_raw, method, reason or "the caller cancelled")
                raise
        except UpstreamDown:
            if call.fault is not None:
                raise call.fault from None  # why the link ended, and not what its socket makes of that
            raise
        finally:
            self._pending.forget(upstream_id)
            if self._idle is not None and not self._pending:
                self._idle.set()
            if self._inbound.asked and listener is not None:
                self._inbound.drop(listener)
        assert call.reply is not None
        if call.reply.error_raw:
            self._judge(agreement, call.reply.error_raw)
        if "task" in params and progress_token_raw is not None and listener is not None and call.reply.result_raw:
            self._inbound.outlives(upstream_id, listener, progress_token_raw)
        return call.reply

    async def notify(self, method: str, params_raw: bytes = b"") -> None:
        """Send a notification.

        Raises:
            UpstreamDown: it could not be sent within ten seconds.
        """
        await self._send(codec.notification(method, params_raw), method)

    async def idle(self) -> None:
        """Wait until no request is under way."""
        if self._pending:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def close(self, reason: str = "the link was closed") -> None:
        """End the link; calls under way fail with the reason. Idempotent."""
        self._fail(reason)
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

    def _judge(self, agreement: Agreement, error_raw: bytes) -> None:
        """Raise what an error says that is about the hop; while the link is being made the handshake reads it."""
        fault = None if self._on_lost is None else fault_of_hop(agreement, error_raw)
        if isinstance(fault, Forgotten):
            self._lose(str(fault))
        if fault is not None:
            raise fault

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

    def _reply(self, id_raw: bytes, reply: Reply) -> None:
        if self.gone is not None:
            return
        message = codec.error(id_raw, reply.error_raw) if reply.error_raw else codec.result(id_raw, reply.result_raw)
        self._follow(id_raw, message, "")

    def _progress(self, id_raw: bytes, params_raw: bytes) -> None:
        if self.gone is None:
            self._follow(id_raw, codec.notification(PROGRESS, params_raw), PROGRESS)

    def _follow(self, id_raw: bytes, message: bytes, method: str) -> None:
        """Send what belongs to a request of the upstream's after all that was said of it before: over HTTP each message
        is a request of its own, and one could overtake another."""
        line = self._lines.get(id_raw)
        if line is None:
            line = self._lines[id_raw] = deque()
            self._tasks.spawn(self._send_line(id_raw, line), "answer")
        if method != PROGRESS or len(line) < _MAX_LINE:
            line.append((message, method))

    async def _send_line(self, id_raw: bytes, line: deque[tuple[bytes, str]]) -> None:
        while line:
            await self._send_quietly(*line.popleft())
        del self._lines[id_raw]

    def _cancel(self, id_raw: bytes, method: str, reason: str) -> None:
        """Tell the upstream, unless closing the stream has told it (2026-07-28 basic/patterns/cancellation)."""
        if self.gone is not None or method in _NEVER_CANCELLED:
            return
        if self._transport.streams and self.era is Era.STATELESS:
            return
        params_raw = rewrite.join({"requestId": id_raw, "reason": rewrite.encode_text(reason)})
        message = codec.notification(CANCELLED, params_raw)
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
            if call.deadline_s <= now_s and call.listener is not None and self._inbound.asks(call.listener):
                call.prolong()  # a person may be thinking
            if call.deadline_s <= now_s:
                call.expire()
            elif call.deadline_s < next_s:
                next_s = call.deadline_s
        if next_s < float("inf"):
            self._sweep_at(next_s)

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
        self._inbound.asked.clear()
        if reason == SESSION_ENDED:
            return  # the server is there, and answers each of the others too: what it did not take can be made again
        for _, call in self._pending:
            call.settle(None, UpstreamDown(reason))
