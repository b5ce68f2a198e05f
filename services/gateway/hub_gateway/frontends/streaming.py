"""One call's messages as a stream of events: the answer to its POST.

Owns when they are written, and by whom: at once while the call is young, and by a task from when it lasts, or its
client does not keep up. Does not know what they say, nor when a call lasts.
"""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
from starlette.types import Receive, Send

from hub_common.tasks import Tasks
from hub_gateway.frontends.posts import Post
from hub_gateway.sessions.outbox import Outbox, Reader, Sent
from hub_gateway.sessions.session import Session
from hub_gateway.wire.framing import KEEP_ALIVE, encode_event

KEEP_ALIVE_S = 15.0

SSE_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Streaming(msgspec.Struct, eq=False):
    """The stream of one POST. Made by `begin`."""

    _send: Send
    _session: Session | None
    _tasks: Tasks
    _outbox: Outbox | None = None
    """None where nobody can take the stream up again, while the client keeps up and so nothing waits."""
    _reader: Reader | None = None
    """Of the outbox."""
    _first: bytes = b""
    """What the stream begins with."""
    _fresh: list[bytes] = []
    """What is to be written, where there is no outbox."""
    _writer: asyncio.Task[None] | None = None
    _due: bool = False
    """What there is will be written."""
    _begun: bool = False
    """A piece is written."""
    _closed: bool = False
    """Nothing more comes."""
    _ended: bool = False
    """The response is whole."""

    def put(self, message: bytes) -> None:
        """Have a message written after those before it."""
        self._keep(message)
        if self._writer is None and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._after_this_round)

    def follow(self) -> None:
        """The call lasts: from now on a task writes, and keeps the connection alive."""
        if self._writer is not None:
            return
        if self._outbox is None or self._reader is None:
            self._outbox = Outbox("call", resumable=False)
            self._reader = self._outbox.reader()
            for message in self._fresh:
                self._outbox.put(message)
            if self._closed:
                self._outbox.end()
        self._writer = self._tasks.spawn(self._write_on(self._outbox, self._reader), "write")

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        if self._outbox is None:
            return
        if self._session is None:
            self._outbox.end()
        else:
            self._session.end_stream(self._outbox)

    async def end(self, message: bytes) -> None:
        """Nothing comes after this message, or none (b""): write what is left, and end the response."""
        if message:
            self._keep(message)
        self.close()
        if self._writer is None and not self._write():
            self.follow()
        if self._writer is not None:
            await asyncio.wait((self._writer,))

    def stop(self) -> None:
        """Nobody is there to read it; what comes now waits for whoever takes the stream up."""
        self._ended = True
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            self._writer.cancel()

    @property
    def is_read(self) -> bool:
        """Whether the client reads it where it has taken it up."""
        return self._outbox is not None and self._outbox.is_read

    def _keep(self, message: bytes) -> None:
        if self._outbox is None:
            self._fresh.append(message)
        else:
            self._outbox.put(message)

    def _after_this_round(self) -> None:
        # A response that came together with the message is then here as well, and goes out with it.
        asyncio.get_running_loop().call_soon(self._write_due)

    def _write_due(self) -> None:
        self._due = False
        if self._writer is None and not self._write():
            self.follow()

    def _write(self) -> bool:
        """Write what there is; False where the client has to be waited for."""
        post = cast("Post", self._send)  # the others have a writer from the start
        while not (self._ended or post.gone):
            if post.is_blocked:
                return False
            events, more = self._take()
            if more and not events:
                break
            post.piece(events, more)
            self._begun, self._ended = True, not more
        return True

    def _take(self) -> tuple[bytes, bool]:
        """What is to be written next, and whether anything may come after it."""
        if self._outbox is None or self._reader is None:
            fresh, self._fresh = self._fresh, []
            return b"".join(map(encode_event, fresh)), not self._closed
        events = self._events(self._outbox, self._reader.take())
        more = self._reader.reads and not self._outbox.is_spent
        self._reader.let_go()
        return events, more

    async def _write_on(self, outbox: Outbox, reader: Reader) -> None:
        """Write what comes, in as few pieces as it takes: each is a packet."""
        if not isinstance(self._send, Post):
            await self._send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        if not (self._begun or outbox.has_unread):
            await self._piece(self._events(outbox, []) or KEEP_ALIVE)
        more = True
        if reader.reads:
            async for fresh in outbox.read(reader.after, idle_s=KEEP_ALIVE_S):
                more = not outbox.is_spent
                await self._piece(self._events(outbox, fresh) or KEEP_ALIVE, more)
        if more:
            await self._piece(b"", False)

    async def _piece(self, data: bytes, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def _events(self, outbox: Outbox, fresh: list[Sent]) -> bytes:
        """Messages as events. Their ids promise that a lost stream can be taken up again: only a session can keep that
        promise."""
        resumable = self._session is not None
        events = [
            encode_event(sent.message, event_id=outbox.event_id(sent.place) if resumable else None) for sent in fresh
        ]
        if self._first:
            events.insert(0, self._first)
            self._first = b""
        return b"".join(events)


def begin(send: Send, session: Session | None, id_raw: bytes, tasks: Tasks) -> Streaming:
    """Answer the request of that id by a stream, whose task, if it gets one, is one of `tasks`."""
    if session is None:
        streaming = Streaming(send, None, tasks)
    else:
        outbox = session.open_stream(id_raw)
        first = encode_event(b"", event_id=outbox.event_id(0)) if begins_with_an_id(session) else b""
        streaming = Streaming(send, session, tasks, outbox, outbox.reader(), first)
    if isinstance(send, Post):
        send.begin(200, SSE_HEADERS)
    else:
        streaming.follow()
    return streaming


def begins_with_an_id(session: Session | None) -> bool:
    """Whether a stream begins with an event id, by which its client can take it up though nothing was said on it
    (2025-11-25 transports §Sending Messages to the Server, point 6)."""
    return session is not None and session.revision >= "2025-11-25"


async def until_disconnect(receive: Receive, writer: asyncio.Task[None], tasks: Tasks) -> None:
    """Let a stream's writer run until the client goes or the stream ends."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        writer.cancel()

    watcher = tasks.spawn(gone(), "watch")
    try:
        await asyncio.wait((writer,))
    finally:
        watcher.cancel()
        writer.cancel()
