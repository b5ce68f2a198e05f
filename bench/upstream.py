"""A very fast MCP server: `python -m bench.upstream (--port N | --stdio) --era handshake [--tools N]`.

Owns a server that costs so little that what stands before it is what is measured. It speaks one era only, so that no
translation between eras is measured by accident, and knows of HTTP and of MCP what the measurements need. The tool
`streamed` is answered by an event stream, and so is a call that asks for progress; `megabyte` gives 1 MiB, and
`megabytes` 16.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
from functools import cache
from typing import NamedTuple, cast

import msgspec
import uvloop
from msgspec import Raw

HANDSHAKE, STATELESS = "handshake", "stateless"
STATELESS_REVISION = "2026-07-28"

_INFO = b'{"name":"fast-upstream","version":"1.0"}'
_META = b'"_meta":{"io.modelcontextprotocol/serverInfo":' + _INFO + b"}"
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_DRESS = b',"resultType":"complete",' + _META
_FRESH = b',"ttlMs":60000,"cacheScope":"public"'
STREAMED, MEGABYTE, MEGABYTES = "streamed", "megabyte", "megabytes"
MEGABYTE_TEXT = "x" * 1_048_576
_NAMES = ("echo", STREAMED, MEGABYTE, MEGABYTES)
_PROGRESS_TOKEN = "progressToken"


class _Arguments(msgspec.Struct):
    text: Raw = Raw(b'""')


class _Params(msgspec.Struct):
    name: str = ""
    arguments: _Arguments = msgspec.field(default_factory=_Arguments)
    revision: str = msgspec.field(name="protocolVersion", default="")
    meta: dict[str, Raw] = msgspec.field(name="_meta", default_factory=dict[str, Raw])


class _Request(msgspec.Struct):
    method: str = ""
    id: Raw = Raw(b"")
    params: _Params = msgspec.field(default_factory=_Params)


_decode = msgspec.json.Decoder(_Request).decode


class Answer(NamedTuple):
    """A result or an error member, one of them empty."""

    result_raw: bytes = b""
    error_raw: bytes = b""


def definitions(count: int) -> bytes:
    """The array of `count` tools; the first are `echo`, `streamed`, `megabyte` and `megabytes`."""
    return msgspec.json.encode(
        [
            {
                "name": _NAMES[number] if number < len(_NAMES) else f"tool_{number}",
                "description": f"Gives back the text it is given. Variant {number} reads, writes, finds and lists.",
                "inputSchema": {
                    "type": "object",
                    "properties": {
                        "text": {"type": "string", "description": "What to give back"},
                        "count": {"type": "integer", "description": f"How often, at most {number + 1} times"},
                    },
                    "required": ["text"],
                },
            }
            for number in range(count)
        ]
    )


class Server:
    """What is answered, in one era."""

    def __init__(self, era: str, tools: int) -> None:
        self._stateless = era == STATELESS
        self._tools = b'{"tools":' + definitions(tools)
        self.session_line = b"" if self._stateless else b"mcp-session-id: " + secrets.token_hex(16).encode() + b"\r\n"

    def answer(self, request: _Request) -> Answer:
        """Answer a request, or say why it is none of this era's."""
        params = request.params
        if self._stateless:
            if _VERSION_KEY not in params.meta:
                return _fault(-32022, "Unsupported protocol version", {"supported": [STATELESS_REVISION]})
            dress, fresh = _DRESS, _FRESH
        else:
            dress = fresh = b""
        if request.method == "tools/call":
            head = b'{"content":[{"type":"text","text":'
            long = _LONG.get(params.name)
            text = params.arguments.text if long is None else _text_raw(long)
            return Answer(b"".join((head, text, b'}],"isError":false', dress, b"}")))
        if request.method == "tools/list":
            return Answer(b"".join((self._tools, dress, fresh, b"}")))
        if request.method == "server/discover" and self._stateless:
            head = b'{"supportedVersions":["' + STATELESS_REVISION.encode() + b'"],"capabilities":{"tools":{}}'
            return Answer(b"".join((head, dress, fresh, b"}")))
        if request.method == "initialize" and not self._stateless:
            head = b'{"protocolVersion":' + msgspec.json.encode(params.revision) + b',"capabilities":{"tools":{}}'
            return Answer(head + b',"serverInfo":' + _INFO + b"}")
        if request.method == "ping" and not self._stateless:
            return Answer(b"{}")
        return _fault(-32601, f"Method not found: {request.method}")


_LONG = {MEGABYTE: 1, MEGABYTES: 16}


@cache
def _text_raw(times: int) -> bytes:
    return msgspec.json.encode(times * MEGABYTE_TEXT)


def encoded(request: _Request, answer: Answer) -> bytes:
    """The response to a request."""
    member, raw = (b"error", answer.error_raw) if answer.error_raw else (b"result", answer.result_raw)
    return b"".join((b'{"jsonrpc":"2.0","id":', request.id, b',"', member, b'":', raw, b"}"))


def stream(request: _Request) -> list[bytes] | None:
    """The messages before the response, where it comes on an event stream; else None."""
    token_raw = request.params.meta.get(_PROGRESS_TOKEN)
    if token_raw is not None:
        head = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":'
        return [b"".join((head, token_raw, b',"progress":1,"total":2}}'))]
    return [] if request.params.name == STREAMED else None


def _fault(code: int, message: str, data: object = None) -> Answer:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return Answer(error_raw=msgspec.json.encode(error))


class Link(asyncio.Protocol):
    """One client's socket. A POST has its length in `Content-Length`; every other method gets 405."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket: asyncio.Transport
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head, start = buffer[:end], end + 4
            stop = start + _length(head)
            if len(buffer) < stop:
                return
            body = buffer[start:stop]
            self._buffer = buffer = buffer[stop:]
            self._respond(head, body)

    def _respond(self, head: bytes, body: bytes) -> None:
        if not head.startswith(b"POST"):
            ended = head.startswith(b"DELETE")
            self._socket.write(
                b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % (b"200 OK" if ended else b"405 Method Not Allowed")
            )
            return
        request = _decode(body)
        if not len(request.id):
            self._socket.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            return
        out = encoded(request, self._server.answer(request))
        if (before := stream(request)) is not None:
            events = b"".join([b"data: %b\r\n\r\n" % message for message in (*before, out)])
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            self._socket.write(b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(events), events))
            return
        session = self._server.session_line if request.method == "initialize" else b""
        self._socket.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
            % (session, len(out), out)
        )


def _length(head: bytes) -> int:
    lower = head.lower()
    start = lower.find(b"\r\ncontent-length:")
    if start < 0:
        return 0
    end = lower.find(b"\r\n", start + 2)
    return int(lower[start + 17 : end if end > 0 else None])


async def _serve(port: int, server: Server) -> None:
    listening = await asyncio.get_running_loop().create_server(lambda: Link(server), "127.0.0.1", port, backlog=1024)
    async with listening:
        await listening.serve_forever()


def _serve_stdio(server: Server) -> None:
    """Answer every line that came with one write, until the input ends."""
    rest = b""
    while data := os.read(0, 1 << 18):
        *lines, rest = (rest + data).split(b"\n")
        requests = [_decode(line) for line in lines if line]
        answers = [encoded(request, server.answer(request)) + b"\n" for request in requests if len(request.id)]
        out = memoryview(b"".join(answers))
        while out:
            out = out[os.write(1, out) :]


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="A very fast MCP server to put gateways in front of.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int)
    where.add_argument("--stdio", action="store_true")
    parser.add_argument("--era", choices=(HANDSHAKE, STATELESS), required=True)
    parser.add_argument("--tools", type=int, default=10)
    given = parser.parse_args()
    server = Server(given.era, given.tools)
    if given.stdio:
        _serve_stdio(server)
    else:
        uvloop.run(_serve(given.port, server))


if __name__ == "__main__":
    main()
