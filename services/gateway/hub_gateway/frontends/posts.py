"""The HTTP side of an ordinary POST to the MCP endpoint: read whole, answered in one write.

Owns the shortcut that every call takes. Each other request is uvicorn's, and each POST that is not ordinary: chunked,
too long, pipelined behind another, HTTP/1.0, its head in two pieces or of an unusual shape. What a POST means is
`streamable_http`'s.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any, ClassVar

import msgspec
from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from hub_common.tasks import Tasks, Workers
from hub_gateway.backlog import LONG_BYTES, backlog
from hub_gateway.frontends.flow import Flow
from hub_gateway.frontends.parsed import Parsed
from hub_gateway.intake import Intake
from hub_gateway.outgoing import JOINED_BYTES, Outgoing
from hub_gateway.turns import TURNS_BYTES
from hub_gateway.wire.head_fields import Head, Heads

MCP_PATH = "/mcp"
VIEWS_PATH = MCP_PATH + "/v/"
"""What stands before the name of a view in its URL."""

_REQUEST_LINE = b"POST %b HTTP/1.1\r\n" % MCP_PATH.encode()
_REQUEST_LINE_BYTES = len(_REQUEST_LINE)
_VIEW_LINE = re.compile(rb"POST %b([A-Za-z0-9][A-Za-z0-9_-]{0,63}) HTTP/1\.1\r\n" % VIEWS_PATH.encode())

Answered = Callable[["Post"], Awaitable[None]]
"""Answers one POST, whatever happens."""


class Post(msgspec.Struct, eq=False):
    """One POST whose body is there. Called as ASGI's `send` is; `answer` sends a whole response at once."""

    _link: Link
    head: Head
    keep: bool
    """The socket may carry another request."""
    view: str = ""
    """The view that its URL asks for; "" is none in particular."""
    body: bytes = b""
    gone: bool = False
    """The client closed its end."""
    ended: bool = False
    """The response is out."""
    _wake: asyncio.Future[None] | None = None
    _chunked: bool = False
    _held: bytes = b""
    """The head of a response in pieces, until its first piece is there."""
    _begun: bool = False
    """The head of the response is out."""

    def answer(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send a whole response in one write."""
        self._whole(_head(status, headers, self.keep), body)

    def answer_json(self, body: bytes) -> None:
        """Send the response that nearly every call has."""
        if self.keep:
            self._whole(_json_head(len(body)), body)
        else:
            self.answer(200, body, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))])

    async def receive(self) -> Message:
        """Wait until the client is gone or has its response; the body was received before."""
        if not (self.gone or self.ended):
            if self._wake is None:
                self._wake = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._wake,))
        return {"type": "http.disconnect"}

    async def __call__(self, message: Any) -> None:
        """Send a response in pieces, as ASGI has them: what is to become a stream."""
        if self.gone or self.ended:
            return
        if message["type"] == "http.response.start":
            self.begin(message["status"], message["headers"])
            return
        if self.is_blocked:
            await self._link.flow.drain()
        self.piece(message.get("body", b""), message.get("more_body", False))

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin a response in pieces; its head goes out with the first."""
        self._held, self._chunked = _piecewise_head(status, tuple(headers), self.keep)

    @property
    def is_blocked(self) -> bool:
        """Whether the client does not take what it was sent: whoever has another piece waits."""
        return self._link.flow.write_paused

    def piece(self, body: bytes, more: bool) -> None:
        """Send a piece of a response; without `more` it is the last one."""
        if self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        body, self._held = self._held + body, b""
        if body and not self.gone:
            self._begun = True
            self._link.outgoing.write(self._link.transport, body)
        if not more:
            self._end()

    def fail(self) -> None:
        """Nobody will end the response: say so, or break off what has begun, so that it does not pass for whole."""
        self.keep = False
        if not self._begun:
            self.answer(500, b"", [(b"content-length", b"0")])
        elif not self.gone:
            self._end()

    def lose(self) -> None:
        """The client closed its end."""
        self.gone = True
        self._awake()

    def _whole(self, head: bytes, body: bytes) -> None:
        if not (self.gone or self.ended):
            link = self._link
            if len(body) < JOINED_BYTES:
                link.outgoing.write(link.transport, head + body)
            else:
                link.write_long(head, body)
            self._end()

    def _end(self) -> None:
        self.ended = True
        self._awake()
        self._link.posted(self)

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _head(status: int, headers: Iterable[tuple[bytes, bytes]], keep: bool) -> bytes:
    lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers)]
    lines.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
    return b"".join(lines)


@lru_cache(256)
def _piecewise_head(status: int, headers: tuple[tuple[bytes, bytes], ...], keep: bool) -> tuple[bytes, bool]:
    """The head of a response in pieces, and whether these are chunks: they are where its length is not said."""
    chunked = all(name != b"content-length" for name, _ in headers)
    return _head(status, (*headers, (b"transfer-encoding", b"chunked")) if chunked else headers, keep), chunked


@lru_cache(4_096)
def _json_head(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size


class Link(Parsed):
    """One client socket. uvicorn makes it; the application it serves is `App`."""

    workers: ClassVar[Workers[Post]]
    body_limit_bytes: ClassVar[int]
    heads: ClassVar[Heads]
    outgoing: ClassVar[Outgoing]
    """All are set on a class of the composition root's own (`link`): uvicorn gives a protocol no arguments."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._parts: list[bytes] = []
        self._missing = 0
        """Bytes of a POST's body that are still to come; the others are in the parts."""
        self._answering: Post | None = None
        self._idle_since_s = 0.0
        self._reaper: asyncio.TimerHandle | None = None
        self._intake: Intake | None = None
        """Made for the first long body."""
        self._intake_paused = False
        self._body_bytes = 0
        """Of a body that goes uvicorn's way."""
        self._blocked_bytes = 0
        """What was to be read when the client began to take no more."""
        self._long_bytes = 0
        """Of the last long answer, while the client has not read it."""
        self._reaped_bytes = 0
        self._begun = 0
        """Requests that were not whole at once, or went uvicorn's way."""
        self._reaped_part: tuple[int, ...] | None = None
        """How much of a request that was not whole was here when the reaper looked last."""
        self._door: Flow

    # backlog.Mover and backlog.Source

    @property
    def room_bytes(self) -> int:
        """What is kept for the client: a long answer stays whole until it is read to its end."""
        return max(self.transport.get_write_buffer_size(), self._long_bytes)

    @property
    def moved_bytes(self) -> int:
        """What it has read since it took no more at once."""
        return self._blocked_bytes - self.transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """There is no room for the body that comes, or it is the turn of others."""
        self._intake_paused = True
        self._door.shut()

    def resume_reading(self) -> None:
        """There is room again, or it was this one's turn."""
        self._intake_paused = False
        if not (self.flow.write_paused or self.transport.is_closing()):
            self._door.reopen()

    def cut(self) -> None:
        """The client reads or writes too slowly, and others wait for the room."""
        self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        """Begin with a client."""
        super().connection_made(transport)
        self.flow = self._door = Flow(transport)
        self._idle_since_s = self.loop.time()
        self._reaper = self.loop.call_later(self.timeout_keep_alive, self._reap)

    def pause_writing(self) -> None:
        """The client does not read what it asked for: no more is heard of it until it does."""
        super().pause_writing()
        self._blocked_bytes = self.transport.get_write_buffer_size()
        self._long_bytes = max(self._long_bytes, self._blocked_bytes)
        self._door.shut()
        backlog.blocked(self)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._long_bytes = 0
        backlog.unblocked(self)
        if not (self.transport.is_closing() or self._intake_paused):
            self._door.reopen()

    def data_received(self, data: bytes) -> None:
        """Take an ordinary POST, or a part of its body; all else is uvicorn's."""
        if self._missing:
            intake = self._intake
            if intake is not None and (intake.moved_bytes > TURNS_BYTES or intake.is_behind):
                intake.piece(lambda: self._read_on(data))
            else:
                self._read_on(data)
        elif self._parsing or self._answering is not None or not self._begin(data):
            self.parse(data)

    def parse(self, data: bytes) -> None:
        """Leave to uvicorn what is."""
        self.outgoing.flush()  # it may write, or close
        super().parse(data)

    def on_message_begin(self) -> None:
        """Begin a request that goes uvicorn's way."""
        self._body_bytes = 0
        self._begun += 1
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Take a part of its body. Of one that is answered already nobody keeps anything."""
        if not self.cycle.response_complete:
            self._body_bytes += len(body)
            if self._body_bytes > LONG_BYTES:
                self._take_room(self._body_bytes)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End such a request."""
        if self._intake is not None:
            self._intake.is_whole()
        super().on_message_complete()

    def posted(self, post: Post) -> None:
        """A POST is answered: the next request may be."""
        self._answering = None
        if self._intake is not None:
            self._intake.gone_on()
        if not post.keep:
            self.outgoing.flush()
            self.transport.close()
        if self.pipeline or self.transport.is_closing():
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self._idle_since_s = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is being answered."""
        if self._answering is not None:
            self._answering.lose()
        if self._reaper is not None:
            self._reaper.cancel()
        if self._intake is not None:
            self._intake.flush()
            self._intake.gone_on()
        backlog.unblocked(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: an answer under way is the last one; a body that is not whole is not waited for."""
        if self._answering is not None and not self._missing:
            self._answering.keep = False
        else:
            self.outgoing.flush()
            super().shutdown()

    def on_response_complete(self) -> None:
        """A request that went uvicorn's way is answered."""
        self._idle_since_s = self.loop.time()
        if self._intake is not None and not self.is_busy:  # else another is behind it
            self._intake.gone_on()
        super().on_response_complete()

    def _begin(self, data: bytes) -> bool:
        """Take data that begins with the head of an ordinary POST; False where it does not."""
        view, start = "", _REQUEST_LINE_BYTES
        if not data.startswith(_REQUEST_LINE):
            line = _VIEW_LINE.match(data)
            if line is None:
                return False
            view, start = line[1].decode(), line.end()
        end = data.find(b"\r\n\r\n", start)
        if end < 0:
            return False
        raw = data[start:end]
        head = self.heads.known.get(raw) or self.heads.read(raw)
        if head is None or not head.is_plain or head.size > self.body_limit_bytes:
            return False
        cycle: Any = self.cycle  # None until uvicorn's own way was taken once
        if cycle is not None and not cycle.response_complete:
            return False
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self._answering = post = Post(self, head, head.keeps, view)
        start = end + 4
        if len(data) == start + head.size:
            post.body = data[start:]
            self.workers.give(post)
        else:
            self._missing = head.size
            self._begun += 1
            if head.size > LONG_BYTES:
                self._take_room(len(data) - start, head.size)
            self._read_on(data[start:])
        return True

    def write_long(self, head: bytes, body: bytes) -> None:
        """Write a response without a copy of its body."""
        self._long_bytes = len(body)
        self.outgoing.flush()
        self.transport.writelines((head, body))
        if not self.flow.write_paused:
            self._long_bytes = 0

    def _take_room(self, size_bytes: int, whole_bytes: int = 0) -> None:
        if self._intake is None:
            self._intake = Intake(self)
        self._intake.came(size_bytes, whole_bytes)

    def _read_on(self, data: bytes) -> None:
        """Take a part of a POST's body, and answer it once it is whole."""
        missing, post = self._missing, self._answering
        if len(data) < missing or post is None:
            self._parts.append(data)
            self._missing -= len(data)
            if self._intake is not None and post is not None:
                self._intake.came(post.head.size - self._missing, post.head.size)
            return
        self._parts.append(data[:missing])
        post.body = b"".join(self._parts)
        self._parts, self._missing = [], 0
        if self._intake is not None:
            self._intake.is_whole()
        self.workers.give(post)
        if len(data) > missing:
            self.parse(data[missing:])

    @property
    def is_busy(self) -> bool:
        return self._answering is not None or super().is_busy

    def _reap(self) -> None:
        """Close a socket that is idle for too long, or whose client stopped in the middle of a request. One timer per
        socket and not per request: most requests come long before it would ring."""
        if self._is_stuck():
            self.transport.abort()
            return
        is_used = self.is_busy or self._reaped_part is not None
        left_s = self.timeout_keep_alive - (0 if is_used else self.loop.time() - self._idle_since_s)
        unread_bytes, before_bytes = self.transport.get_write_buffer_size(), self._reaped_bytes
        self._reaped_bytes = unread_bytes
        if left_s <= 0 and unread_bytes and unread_bytes != before_bytes:
            left_s = self.timeout_keep_alive  # it is still reading its last answer
        if left_s > 0:
            self._reaper = self.loop.call_later(left_s, self._reap)
        elif unread_bytes:
            self.transport.abort()  # closed, it would wait for the client for ever
        elif not self.transport.is_closing():
            self.transport.close()

    def _is_stuck(self) -> bool:
        """Whether nothing more has come of a request since the last look, though it would have been read."""
        is_whole = not (self._missing or self._parsing)
        part = None if is_whole else (self._begun, self._missing, self._body_bytes, self._unheard_bytes)
        before, self._reaped_part = self._reaped_part, part
        return part is not None and part == before and not self.flow.read_paused

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._answering is None:
            super()._start_asgi_task(cycle, app)
        else:  # pipelined behind a POST: responses go out in the order of the requests
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))


def link(answer: Answered, limit_bytes: int, tasks: Tasks) -> type[Link]:
    """The protocol for uvicorn's `http` option; `tasks` owns the answering."""

    def after(post: Post) -> None:
        if not post.ended:
            post.fail()

    class Bound(Link):
        workers = Workers(tasks, "post", answer, after)
        body_limit_bytes = limit_bytes
        heads = Heads()
        outgoing = Outgoing()

    return Bound
