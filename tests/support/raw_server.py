"""An MCP server without any SDK whose bytes and manners are under control, over HTTP and stdio.

Owns delivery: plain answers, oddly cut SSE streams, noise, garbage, silence, half answers and a sudden end. What is
delivered is in `raw_messages`. `python -m tests.support.raw_server --transport http` prints its URL as the first line.
"""

import argparse
import asyncio
import contextlib
import os
import sys

from tests.support import raw_messages
from tests.support.raw_messages import Memory, Offer, Reply

NOISE = b'starting up...\n\n\xff\xfe broken utf-8\n[1,2,3]\n{"hello":"world"}\n42\n"text"\nnull\n'
GARBAGE = b"<html>this is no JSON</html>"
MODERN = "2026-07-28"


class Raw:
    """One server: what it offers, its fault, and what it remembers."""

    def __init__(self, offer: Offer, fault: str) -> None:
        self.offer = offer
        self.fault = fault
        self.memory = Memory()

    def take(self, raw: bytes, headers: dict[str, str] | None = None) -> Reply:
        """Keep the message as it came and decide on the answer."""
        self.memory.headers = headers or {}
        self.memory.seen = [*self.memory.seen[-19:], raw]
        reply = raw_messages.answer(raw_messages.decode(raw), self.offer, self.memory)
        if self.fault == "none" or not reply.body:
            return reply
        return Reply(reply.body, self.fault)


def end_now() -> None:
    """End like a crash: no flush, no farewell."""
    os._exit(66)


def lines(reply: Reply) -> list[bytes]:
    """The stdio lines of an answer, by its manner."""
    manner = reply.manner
    if manner == "crash":
        end_now()
    if manner == "hang":
        return []
    if manner == "garbage":
        return [GARBAGE + b"\n"]
    if manner == "noise":
        return [NOISE, reply.body + b"\n", NOISE]
    if manner == "wrong_id":
        return [b'{"jsonrpc":"2.0","id":987654,"result":{}}\n', reply.body + b"\n"]
    if manner == "cut":
        return [reply.body[: len(reply.body) // 2] + b"\n"]
    return [one_line(each) + b"\n" for each in (*(reply.before,) * reply.times, reply.body, reply.after) if each]


def one_line(message: bytes) -> bytes:
    """The message without line breaks, which stdio and an event cannot have; in a string they are escaped."""
    return message.replace(b"\r", b" ").replace(b"\n", b" ")


async def serve_stdio(server: Raw) -> None:
    """Answer line by line until the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=64 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    if server.fault == "noise":
        _write(NOISE)
    while line := await reader.readline():
        if not line.strip():
            continue
        reply = server.take(line.rstrip(b"\r\n"))
        if reply.body:
            for part in lines(reply):
                _write(part)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _head(status: str, *headers: str) -> bytes:
    return ("\r\n".join((f"HTTP/1.1 {status}", *headers)) + "\r\n\r\n").encode()


def _whole(status: str, content_type: str, body: bytes, *headers: str) -> bytes:
    return _head(status, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers) + body


def sse_chunks(body: bytes) -> list[bytes]:
    """An SSE stream with every liberty the format has, cut at odd places: each item is one HTTP chunk."""
    half = body.index(b',"structuredContent"')
    progress = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"raw"}}'
    stream = (
        b":comment\r\n\r\nretry: 10\n\n"
        + b"event: message\r\nid: raw-1\r\ndata: "
        + progress
        + b"\r\n\r\nevent:message\ndata:"
        + body[:half]
        + b"\ndata: "
        + body[half:]
        + b"\n\n"
    )
    return [stream[at : at + 7] for at in range(0, len(stream), 7)]


class Http:
    """One client connection of the HTTP side; keeps it alive between requests."""

    def __init__(self, server: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def run(self) -> None:
        """Serve until the client goes or an answer asks to close."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._exchange():
                await self._writer.drain()
            await self._writer.drain()
        self._writer.close()

    async def _exchange(self) -> bool:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *rest = head.split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in rest if line)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        method = request_line.split(" ")[0]
        if method != "POST":
            status = "200 OK" if method == "DELETE" else "405 Method Not Allowed"
            self._writer.write(_whole(status, "text/plain", b""))
            return True
        if self._refused(headers.get("mcp-protocol-version", "")):
            self._writer.write(_whole("400 Bad Request", "text/plain", b"Bad Request: unsupported protocol version"))
            return True
        return await self._deliver(self._server.take(body, headers))

    def _refused(self, asked: str) -> bool:
        return self._server.offer.era == "handshake" and asked == MODERN

    async def _deliver(self, reply: Reply) -> bool:
        """Write one answer in its manner; False ends the connection."""
        write, manner = self._writer.write, reply.manner
        if not reply.body:
            write(_whole("202 Accepted", "text/plain", b""))
        elif manner == "hang":
            await asyncio.Event().wait()
        elif manner == "crash":
            end_now()
        elif manner == "garbage":
            write(_whole("200 OK", "application/json", GARBAGE))
        elif manner == "cut":
            write(_whole("200 OK", "application/json", reply.body)[: -len(reply.body) // 2])
            await self._writer.drain()
            return False
        elif manner == "sse":
            write(_head("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"))
            for chunk in sse_chunks(reply.body):
                write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                await self._writer.drain()
            write(b"0\r\n\r\n")
        elif manner in ("event", "flood"):
            write(_head("200 OK", "Content-Type: text/event-stream", "Connection: close"))
            for _ in range(reply.times):
                write(b"data: " + one_line(reply.before) + b"\n\n")
                await self._writer.drain()
            write(b"data: " + one_line(reply.body) + b"\n\n")
            return False
        else:
            status = {"bad-request": "400 Bad Request", "not-found": "404 Not Found"}.get(manner, "200 OK")
            session = () if self._server.offer.era == "stateless" else ("Mcp-Session-Id: raw-session",)
            write(_whole(status, "application/json", reply.body, *session))
        return True


async def serve_http(server: Raw, port: int, *, until_eof: bool) -> None:
    """Listen on 127.0.0.1 and serve until killed, or until standard input ends."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Http(server, reader, writer).run()

    listening = await asyncio.start_server(connected, "127.0.0.1", port, limit=64 << 20)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/mcp", flush=True)
    if not until_eof:
        await listening.serve_forever()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    os._exit(0)


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", choices=("http", "stdio"), default="http")
    parser.add_argument("--era", choices=("both", "handshake", "stateless"), default="both")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tools", type=int, default=5, help="tools besides the special ones")
    parser.add_argument("--page", type=int, default=0, help="entries per page of every list; 0: one page")
    parser.add_argument("--endless", action="store_true", help="give the first page with a next cursor forever")
    parser.add_argument("--extras", action="store_true", help="list the tools for tasks, headers and floods too")
    parser.add_argument("--fault", choices=("none", "hang", "garbage", "noise", "crash"), default="none")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends (http)")
    arguments = parser.parse_args()
    offer = Offer(arguments.tools, arguments.page, arguments.era, arguments.endless, arguments.extras)
    server = Raw(offer, arguments.fault)
    if arguments.transport == "stdio":
        asyncio.run(serve_stdio(server))
    else:
        asyncio.run(serve_http(server, arguments.port, until_eof=arguments.until_eof))


if __name__ == "__main__":
    main()
