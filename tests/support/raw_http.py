"""An HTTP/1.1 client that shows the exact bytes: what was answered, in which order, and nothing decoded.

Owns requests, whole answers and SSE streams over a connection of their own. Knows no MCP beyond its header names.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 15.0
ACCEPT: Final = "application/json, text/event-stream"


@dataclass(frozen=True)
class Answer:
    """A whole answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body decoded, or the last message of it where the body is an SSE stream."""
        return json.loads(self.message_raw)

    @property
    def message_raw(self) -> bytes:
        """The bytes of the (last) JSON-RPC message in the body."""
        if "text/event-stream" not in self.headers.get("content-type", ""):
            return self.body
        return events_of(self)[-1]

    @property
    def before(self) -> list[bytes]:
        """The messages of an SSE body before the last one."""
        return events_of(self)[:-1] if "text/event-stream" in self.headers.get("content-type", "") else []


def event_data(block: bytes) -> bytes:
    """The data of one SSE event; its lines joined as the format says."""
    fields = (line.partition(b":") for line in block.split(b"\n"))
    return b"\n".join(value.removeprefix(b" ") for name, _, value in fields if name == b"data")


def events_of(answer: Answer) -> list[bytes]:
    """The data of every event of a whole SSE answer."""
    return [data for data in map(event_data, answer.body.replace(b"\r\n", b"\n").split(b"\n\n")) if data]


def event_id(block: bytes) -> str:
    """The id of one SSE event; empty where it has none."""
    ids = [line[3:].strip() for line in block.split(b"\n") if line.startswith(b"id:")]
    return ids[0].decode() if ids else ""


class Exchange:
    """One request under way: its status and headers are known, its body is still to be read."""

    def __init__(self, status: int, headers: dict[str, str], reader: asyncio.StreamReader) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it arrives, with any transfer coding taken off."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int((await self._reader.readline()).split(b";")[0], 16):
                yield await self._reader.readexactly(size)
                await self._reader.readexactly(2)
        elif (length := self.headers.get("content-length")) is not None:
            yield await self._reader.readexactly(int(length))
        elif self.status not in (202, 204):
            while data := await self._reader.read(65536):
                yield data

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def events(self) -> AsyncGenerator[bytes]:
        """The data of each SSE event as it arrives; comments and events without data are left out."""
        async for block in self.blocks():
            if data := event_data(block):
                yield data

    async def blocks(self) -> AsyncGenerator[bytes]:
        """Each SSE event, or comment, as it arrives."""
        buffer = b""
        async for chunk in self.chunks():
            buffer = (buffer + chunk).replace(b"\r\n", b"\n")
            while b"\n\n" in buffer:
                block, buffer = buffer.split(b"\n\n", 1)
                yield block


def _head(method: str, url: str, body: bytes, headers: Mapping[str, str] | None) -> bytes:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    fields = {"Host": parts.netloc, "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


@asynccontextmanager
async def opened(
    method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> AsyncGenerator[Exchange]:
    """Send a request and give the exchange once its head came; leaving the block hangs up."""
    async with opened_early(method, url, body, headers) as reader:
        async with asyncio.timeout(TIMEOUT_S):
            status_line = await reader.readline()
            answered: dict[str, str] = {}
            while (line := (await reader.readline()).decode("latin-1").strip()) != "":
                name, _, value = line.partition(":")
                answered[name.lower()] = value.strip()
        yield Exchange(int(status_line.split(b" ")[1]), answered, reader)


@asynccontextmanager
async def opened_early(
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    ahead_bytes: int = 1 << 26,
    missing_bytes: int = 0,
) -> AsyncGenerator[asyncio.StreamReader]:
    """Send a request and wait for nothing; leaving the block hangs up. Of the answer about twice `ahead_bytes` are
    taken from the socket before they are asked for; the last `missing_bytes` of the body are not sent."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=ahead_bytes)
    try:
        writer.write(_head(method, url, body, headers) + body[: len(body) - missing_bytes])
        await writer.drain()
        yield reader
    finally:
        writer.close()


async def send(
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Send a request and read the whole answer."""
    async with asyncio.timeout(timeout_s), opened(method, url, body, headers) as exchange:
        return Answer(exchange.status, exchange.headers, await exchange.body())


async def post(url: str, body: bytes, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S) -> Answer:
    """POST a JSON body as MCP clients do."""
    fields = {"Content-Type": "application/json", "Accept": ACCEPT, **(headers or {})}
    return await send("POST", url, body, fields, timeout_s)
