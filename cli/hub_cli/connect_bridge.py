"""Which way each line of the client goes: into a session, into a POST of its own, or back with an error.

Owns the requests in flight by the client's ids, and their end. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import msgspec

from hub_cli.connect_call import Call, Key, Reply, key_of
from hub_cli.connect_http import Endpoint
from hub_cli.connect_listening import LISTEN
from hub_cli.connect_session import Session
from hub_cli.connect_stateless import Stateless, revision_of
from hub_cli.connect_stdio import Stdout
from hub_common.tasks import Tasks
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.codec import MalformedMessage
from hub_gateway.wire.errors import INVALID_REQUEST
from hub_gateway.wire.message import Kind, Message, own

_log = logging.getLogger("hub_cli.connect")


class _Running(NamedTuple):
    call: Call
    task: asyncio.Task[None]
    session: Session | None


class _Batch:
    """The answers to one array, which go out together when the last of its requests has ended: one that was cancelled
    has none."""

    def __init__(self, stdout: Stdout) -> None:
        self.answers: list[bytes] = []
        self.open = 1
        """Requests that have not ended, and the array itself while it is taken."""
        self._stdout = stdout

    def over(self) -> None:
        """One of them has ended."""
        self.open -= 1
        if not self.open and self.answers:
            self._stdout.write(b"[" + b",".join(self.answers) + b"]")


class Bridge:
    """A client on standard input and output, and the hub behind the endpoint.

    Args:
        endpoint: opened and closed by the bridge.
        stdout: takes the messages to the client.
        limit_s: how long a message waits for a hub that is away.
        ending: set when the conversation cannot go on; `reason` says why.
    """

    def __init__(self, endpoint: Endpoint, stdout: Stdout, limit_s: float, ending: asyncio.Event) -> None:
        self.reason: str | None = None
        self._endpoint = endpoint
        self._stdout = stdout
        self._limit_s = limit_s
        self._ending = ending
        self._tasks = Tasks("connect")
        self._stateless = Stateless(endpoint, stdout, limit_s)
        self._session: Session | None = None
        self._running: dict[Key, _Running] = {}
        endpoint.open()

    def take(self, line: bytes) -> None:
        """Take one line of the client."""
        try:
            if codec.is_batch(line):
                self._batch(line)
            else:
                self._message(line, codec.decode(line))
        except MalformedMessage as fault:
            self._stdout.write(fault.reply)

    async def finish(self, grace_s: float, hurry: asyncio.Event, hurry_s: float) -> None:
        """Let what is in flight end, for so long at most; then end it with an error, the session, and the sockets.

        `hurry` shortens the time to `hurry_s`.
        """
        for running in list(self._running.values()):
            if running.call.method == LISTEN:
                running.task.cancel()
        idle = self._tasks.spawn(self._idle(), "idle")
        hurried = self._tasks.spawn(_wait(hurry), "hurry")
        await asyncio.wait((idle, hurried), timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        if hurry.is_set() and not idle.done():
            await asyncio.wait((idle,), timeout=hurry_s)
        for running in list(self._running.values()):
            if running.call.method != LISTEN:
                running.call.fail(f"mcp-hub connect was asked to stop before {running.call.method} was answered")
        if self._session is not None:
            await self._session.close()
        await self._tasks.close()
        await self._endpoint.close()

    async def _idle(self) -> None:
        while tasks := [running.task for running in self._running.values()]:
            await asyncio.wait(tasks)
        if self._session is not None:
            await self._session.settled()

    def _message(self, line: bytes, message: Message, batch: _Batch | None = None) -> None:
        if message.kind is Kind.REQUEST:
            self._request(line, message, batch)
        elif message.method == "notifications/cancelled":
            self._cancelled(line, message)
        elif self._session is not None:
            self._session.send(line, message)
        else:
            _log.info("%s is dropped: there is no session", message.method or "a response")

    def _request(self, line: bytes, message: Message, batch: _Batch | None) -> None:
        reply: Reply = self._stdout.write if batch is None else batch.answers.append
        call = Call(line, message, self._stdout, reply)
        session = self._session
        answer: Callable[[], Awaitable[None]] = partial(self._stateless.answer, call, message)
        if revision_of(message) is not None:
            session = None
        elif message.method == "initialize":
            session = Session(self._endpoint, self._stdout, self._limit_s, self._failed)
            if self._session is not None:
                self._tasks.spawn(self._session.close(), "close")
            self._session, answer = session, partial(session.initialize, call)
        elif session is not None:
            answer = partial(session.answer, call)
        elif message.method == "ping":
            # 2025-11-25 basic/lifecycle allows it before `initialize`, and HTTP has no session to send it in.
            reply(codec.result(call.id_raw, b"{}"))
            return
        if batch is not None:
            batch.open += 1
        task = self._tasks.spawn(self._answer(call, answer), message.method)
        self._running[call.key] = _Running(call, task, session)
        task.add_done_callback(lambda _: self._over(call, batch))  # also of one that is cancelled before it begins

    async def _answer(self, call: Call, answer: Callable[[], Awaitable[None]]) -> None:
        try:
            await answer()
        except Exception:
            _log.exception("%s failed", call.method)
            call.fail(f"Internal error of mcp-hub connect in {call.method}")

    def _over(self, call: Call, batch: _Batch | None) -> None:
        call.ended.set()
        running = self._running.get(call.key)
        if running is not None and running.call is call:
            del self._running[call.key]
        if batch is not None:
            batch.over()

    def _cancelled(self, line: bytes, message: Message) -> None:
        try:
            id_raw = rewrite.members(message.params).get("requestId")
            running = None if id_raw is None else self._running.get(key_of(own(id_raw)))
        except (msgspec.MsgspecError, TypeError):
            running = None
        if running is None or running.call.method == "initialize":
            return
        running.call.cancelled = True
        if running.session is not None and running.call.posted:
            self._tasks.spawn(running.session.cancel(running.call, line, message), "cancel")
        else:
            running.task.cancel()

    def _batch(self, line: bytes) -> None:
        """Several messages in one array, which 2025-03-26 has and later revisions have not."""
        if self._session is None or not self._session.batches:
            raise MalformedMessage(INVALID_REQUEST, "Invalid Request: the revision has no batches")
        batch = _Batch(self._stdout)
        for part in [own(raw) for raw in codec.decode_batch(line)]:
            try:
                self._message(part, codec.decode(part), batch)
            except MalformedMessage as fault:
                batch.answers.append(fault.reply)
        batch.over()

    def _failed(self, reason: str) -> None:
        self.reason = reason
        self._ending.set()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
