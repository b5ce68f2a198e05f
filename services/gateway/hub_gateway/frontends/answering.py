"""One POST being answered: one JSON object where nothing comes before the response, else a stream of events.

Owns the moment when an answer becomes a stream, and what happens when the client goes away (2025-11-25 and 2026-07-28
transports/streamable-http). Does not know what is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import msgspec
from starlette.types import Receive, Send

from hub_common.tasks import Tasks
from hub_gateway.frontends import streaming
from hub_gateway.frontends.guards import send_body
from hub_gateway.frontends.posts import Post
from hub_gateway.frontends.streaming import Streaming
from hub_gateway.routing.exchange import Exchange, Outlet, Response
from hub_gateway.sessions.session import Session
from hub_gateway.wire.errors import SERVER_ERROR, error_object
from hub_gateway.wire.revisions import Era

WATCH_AFTER_S = 0.05
"""A call that takes this long is worth a task that notices its client going away; most calls never get one."""

STREAM_AFTER_S = 5.0
"""A silent call becomes a stream after this long, so that proxies and clients see a sign of life."""

RESUMABLE_AFTER_S = 1.0
"""A silent call becomes one sooner where its client could take the stream up again: what breaks before is lost."""

GRACE_S = 30.0
"""How long a handshake client that lost a call's stream may come back for it before the call is cancelled."""

StatusOf = Callable[[Response], int]
"""The HTTP status of an error; every result has 200."""


class Watches:
    """The calls that are under way. One timer for all looks after those that take long: most end long before theirs
    would ring."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._young: dict[Answering, Exchange] = {}
        self._older: dict[Answering, Exchange] = {}
        """Were young when the timer rang, so they have taken one to two times its pause when it rings again."""
        self._watched: set[Answering] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.ended_why: str | None = None
        """Why no call is made any more."""

    def __bool__(self) -> bool:
        return bool(self._young or self._older or self._watched)

    def __iter__(self) -> Iterator[Answering]:
        return iter([*self._young, *self._older, *self._watched])

    def add(self, answering: Answering, exchange: Exchange) -> None:
        """Watch over a call, once it has taken about `WATCH_AFTER_S`."""
        self._young[answering] = exchange
        if self._timer is None:
            self._timer = self.loop.call_later(WATCH_AFTER_S, self._sweep)

    def end(self, why: str) -> None:
        """Answer every call with an error that says why, and from now on whatever comes."""
        self.ended_why = why
        for answering in self:
            answering.fail(why)

    def discard(self, answering: Answering) -> None:
        """The call has ended."""
        if self._young.pop(answering, None) is None and self._older.pop(answering, None) is None:
            self._watched.discard(answering)

    def _sweep(self) -> None:
        for answering, exchange in self._older.items():
            self._watched.add(answering)
            answering.watch(exchange)
        self._older, self._young = self._young, {}
        self._timer = self.loop.call_later(WATCH_AFTER_S, self._sweep) if self._older else None


class Answering(msgspec.Struct, eq=False):
    """The way back to the client of one POST."""

    _receive: Receive
    _send: Send
    _session: Session | None
    _streams: bool
    """Whether the client takes streams."""
    _tasks: Tasks
    _watches: Watches
    _stream: Streaming | None = None
    _watcher: asyncio.Task[None] | None = None
    _task: asyncio.Task[Any] | None = None
    _why: str | None = None
    _id_raw: bytes = b""
    """The id of the request, as its client spelled it."""
    cancelled: bool = False

    @property
    def outlet(self) -> Outlet | None:
        """What the exchange gets: it sends a message before the response, and the first one turns the answer into a
        stream. None where the client takes no streams."""
        # Not kept here: an answering that holds a method of its own waits for the garbage collector.
        return self._put if self._streams else None

    @property
    def is_stream(self) -> bool:
        """Whether the answer has become a stream."""
        return self._stream is not None

    async def answer(self, exchange: Exchange, answered: Awaitable[Response], status_of: StatusOf) -> None:
        """Wait for the response and send it in whatever form the answer has taken by then."""
        self._task = asyncio.current_task(self._watches.loop)
        self._id_raw = exchange.id_raw
        self._watches.add(self, exchange)
        session, response, cancel = self._session, None, None
        if session is not None:
            cancel = session.running[exchange.id_raw] = self.cancel
        try:
            try:
                ended_why = self._watches.ended_why
                response = await answered if ended_why is None else _refused(exchange, answered, ended_why)
            except asyncio.CancelledError:
                if not self.cancelled or self._task is None:
                    raise
                self._task.uncancel()
            finally:
                self._task = None  # from here on there is nothing to cancel: the answer is being sent
                self._watches.discard(self)
                if self._watcher is not None:
                    self._watcher.cancel()
                if response is None and self._why is None and self._stream is not None:
                    self._stream.close()
            send = self._send
            if response is None or response.error_code is not None or self._stream is not None:
                await self._finish(exchange, response, status_of)
            elif isinstance(send, Post):
                send.answer_json(response.body)
            else:
                await send_body(send, 200, response.body)
        finally:
            if session is not None and session.running.get(exchange.id_raw) is cancel:  # not another's of the same id
                del session.running[exchange.id_raw]

    async def _finish(self, exchange: Exchange, response: Response | None, status_of: StatusOf) -> None:
        """Send what is no plain result: an error, the end of a stream, or nothing."""
        why = self._why or (None if self._session is None else self._session.ended_why)
        if response is None and why is not None:
            response = exchange.error(error_object(SERVER_ERROR, why))
        if self._stream is not None:
            await self._stream.end(b"" if response is None else response.body)
        elif response is not None:
            await send_body(self._send, status_of(response), response.body)
        else:
            # Cancelled by the client: no response is due (2025-11-25 utilities/cancellation), but HTTP wants an end.
            await send_body(self._send, 202, b"")

    def cancel(self, reason: str | None = None) -> None:
        """The client does not want the answer any more; its reason goes on to whoever works on it."""
        if self._task is not None and not self.cancelled:
            self.cancelled = True
            self._task.cancel(reason)

    def fail(self, why: str) -> None:
        """The hub cannot answer any more: cancel the call and say so."""
        self._why = why
        self.cancel()

    def _put(self, message: bytes) -> None:
        self._open_stream().put(message)

    def _open_stream(self) -> Streaming:
        if self._stream is None:
            self._stream = streaming.begin(self._send, self._session, self._id_raw, self._tasks)
            if self._watcher is not None:
                self._stream.follow()
        return self._stream

    def watch(self, exchange: Exchange) -> None:
        """From now on notice the client going away."""
        self._watcher = self._tasks.spawn(self._wait_for_disconnect(exchange), "watch")
        if self._stream is not None:
            self._stream.follow()

    async def _wait_for_disconnect(self, exchange: Exchange) -> None:
        try:
            after_s = RESUMABLE_AFTER_S if streaming.begins_with_an_id(self._session) else STREAM_AFTER_S
            async with asyncio.timeout(after_s if self._streams else None):
                await self._disconnected()
        except TimeoutError:
            self._open_stream()
            await self._disconnected()
        if exchange.era is Era.HANDSHAKE and self._stream is not None:
            self._stream.stop()
            await asyncio.sleep(GRACE_S)
            while self._stream.is_read:
                await asyncio.sleep(GRACE_S)
            self.fail("The client was away for too long, and its call was cancelled")
        self.cancel()

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _refused(exchange: Exchange, answered: Awaitable[Response], why: str) -> Response:
    """The answer to a call that is not made."""
    if isinstance(answered, Coroutine):
        answered.close()
    return exchange.error(error_object(SERVER_ERROR, why))
