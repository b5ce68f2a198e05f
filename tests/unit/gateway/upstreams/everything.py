"""Real upstreams of every kind, and connections to them, as a supervisor would make them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from hub_gateway.config.placeholders import Context
from hub_gateway.config.server_model import ServerConfig
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.dialer import Dialer
from hub_gateway.upstreams.pending import Answer, Listener, Reply
from hub_gateway.wire import meta, rewrite
from hub_gateway.wire.message import Message
from tests.support import processes

CALLER = meta.Caller(
    client_info_raw=b'{"name":"tester","version":"1"}',
    capabilities_raw=b'{"sampling":{},"elicitation":{"form":{}},"roots":{}}',
    log_level="debug",
)
CONTEXT = Context.from_environ(os.environ, Path.cwd())


def config(name: str = "up", **fields: Any) -> ServerConfig:
    """A server's config entry."""
    return ServerConfig(name=name, config_source="test", **fields)


@contextlib.contextmanager
def serving(transport: str, *arguments: str, module: str = processes.EVERYTHING, **fields: Any):
    """Give the config of a test server over `transport`: http and sse run until the block ends, stdio when dialed."""
    if transport == "stdio":
        line = processes.command(module, "--transport", "stdio", *arguments)
        yield config(command=line[0], args=tuple(line[1:]), cwd=str(processes.ROOT), **fields)
    else:
        with processes.serving(module, "--transport", transport, *arguments) as url:
            yield config(url=url, **fields)


class Ear:
    """A listener that keeps what it hears, and answers what it is asked with `reply`."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.relayed: list[Message] = []
        self.asked: list[Message] = []
        self.heard = asyncio.Event()
        self._reply = reply

    @property
    def session_id(self) -> str:
        return ""

    @property
    def whole(self) -> Listener:
        return self

    def relay(self, message: Message) -> None:
        self.relayed.append(message)
        self.heard.set()

    def ask(self, message: Message, answer: Answer) -> None:
        self.asked.append(message)
        self.heard.set()
        if self._reply is not None:
            answer(self._reply)


class Linked:
    """A connection with what it said unasked and why it was lost."""

    def __init__(self, dialer_config: ServerConfig, **options: Any) -> None:
        self.unasked: list[Message] = []
        self.told = asyncio.Event()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.dialer = Dialer(dialer_config, CONTEXT, self._unasked, **options)
        self.connection: Connection

    def _unasked(self, message: Message) -> None:
        self.unasked.append(message)
        self.told.set()

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
        """Call a tool and return the decoded result, or the decoded error under "error"."""
        return plain(await call(self.connection, tool, arguments, **options))


@contextlib.asynccontextmanager
async def linked(server: ServerConfig, **options: Any) -> AsyncIterator[Linked]:
    """Dial a server."""
    link = Linked(server, **options)
    link.connection = await link.dialer.dial(link.lost.set_result)
    try:
        yield link
    finally:
        await link.connection.close()


async def call(up: Any, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> Reply:
    """Call a tool over a connection or a supervisor."""
    params: rewrite.Members = {
        "name": Raw(msgspec.json.encode(tool)),
        "arguments": Raw(msgspec.json.encode(arguments or {})),
    }
    options = {"caller": CALLER, "timeout_s": 20.0, "name": tool, **options}
    return await up.request("tools/call", params, **options)


def plain(reply: Reply) -> Any:
    """The decoded result, or the decoded error under "error"."""
    return {"error": msgspec.json.decode(reply.error_raw)} if reply.error_raw else msgspec.json.decode(reply.result_raw)


def text(result: Any) -> str:
    """The text of a tool's result."""
    return result["content"][0]["text"]
