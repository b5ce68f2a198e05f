"""An HTTP server whose every byte a test decides, in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field


@dataclass
class Request:
    """One request as it came. Header names are lower-case; `link` counts the sockets from 1."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    link: int


@dataclass
class Scripted:
    """A running server and what it saw."""

    port: int
    requests: list[Request] = field(default_factory=list[Request])
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    scheme: str = "http"
    links: int = 0
    listening: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The address of the endpoint."""
        return f"{self.scheme}://127.0.0.1:{self.port}/mcp"

    def stop(self) -> None:
        """Take no new sockets."""
        if self.listening is not None:
            self.listening.close()

    async def seen(self, count: int) -> list[Request]:
        """Wait until so many requests have come."""
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests


Write = Callable[[bytes], Awaitable[None]]
Play = Callable[[Request, Write], Awaitable[bool]]
"""Answers one request; False closes the socket after it."""


@contextlib.asynccontextmanager
async def scripted(play: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Run a server that answers as `play` says."""
    server = Scripted(0, scheme="https" if tls else "http")
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.links += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await _Conversation(server, server.links, reader, writer).run(play)
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server.listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.port = server.listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        server.stop()
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


class _Conversation:
    """One socket. While an answer is made the next byte is awaited: only so the end of the socket is noticed."""

    def __init__(
        self, server: Scripted, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._number = number
        self._reader = reader
        self._writer = writer
        self._ahead = b""

    async def run(self, play: Play) -> None:
        while True:
            request = await self._read()
            async with self._server.arrived:
                self._server.requests.append(request)
                self._server.arrived.notify_all()
            watch = asyncio.ensure_future(self._watch())
            try:
                if not await play(request, self._write):
                    return
            finally:
                watch.cancel()
                await asyncio.wait([watch])

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _watch(self) -> None:
        try:
            self._ahead = await self._reader.read(1)
        except ConnectionError:
            self._ahead = b""
        if not self._ahead:
            self._server.hung_up.set()

    async def _read(self) -> Request:
        ahead, self._ahead = self._ahead, b""
        head = (ahead + await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, target, headers, body, self._number)


def answer(body: bytes, *extra: str, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    """A whole response with a length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *extra]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
