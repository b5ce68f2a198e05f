"""A client of `mcp-hub connect` that writes lines itself and shows the lines it got.

Owns the child process. Every line of the child's standard output must be a message.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.clients import HANDSHAKE, INFO, STATELESS
from tests.support.hub import COMMAND
from tests.support.inbox import WAIT_S, Inbox, Received
from tests.support.processes import ROOT

LIMIT_BYTES: Final = 1 << 26
ENVELOPE: Final = {
    "io.modelcontextprotocol/protocolVersion": STATELESS,
    "io.modelcontextprotocol/clientInfo": INFO,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class StdioClient(Inbox):
    """The client's end of the pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self.process = process

    async def pump(self) -> None:
        """Read until the output ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            await self.take(line.rstrip(b"\n"))

    def send_raw(self, line: bytes) -> None:
        """Write one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")

    def send(self, method: str, params: Mapping[str, Any] | None = None, client_id: object = None) -> None:
        """Write a request, or a notification where there is no id."""
        identity = {} if client_id is None else {"id": client_id}
        self.send_raw(
            json.dumps({"jsonrpc": "2.0", **identity, "method": method, "params": dict(params or {})}).encode()
        )

    async def response(self, client_id: object) -> Received:
        """The response of that id; there must be only one by now."""
        await self.until(lambda message: "method" not in message and message.get("id") == client_id)
        (only,) = [each for each in self.messages if "method" not in each and each.get("id") == client_id]
        return only

    async def ask(
        self, method: str, params: Mapping[str, Any] | None = None, client_id: object = None, *, stateless: bool = False
    ) -> Received:
        """Send a request and wait for its response."""
        identity = f"id-{len(self.messages)}-{method}" if client_id is None else client_id
        self.send(method, enveloped(params) if stateless else params, identity)
        return await self.response(identity)

    async def shake_hands(self, revision: str = HANDSHAKE, capabilities: Mapping[str, Any] | None = None) -> Received:
        """`initialize` and `notifications/initialized`; the response."""
        params = {"protocolVersion": revision, "capabilities": capabilities or {}, "clientInfo": INFO}
        response = await self.ask("initialize", params)
        self.send("notifications/initialized")
        return response

    async def exit_code(self) -> int:
        """Wait for the end of the process."""
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()

    async def hang_up(self) -> int:
        """End the input and wait for the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.exit_code()


def enveloped(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The params of a stateless request."""
    given = dict(params or {})
    return {**given, "_meta": {**ENVELOPE, **given.get("_meta", {})}}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """The params of `tools/call`."""
    return {"name": name, "arguments": arguments}


@asynccontextmanager
async def connected(url: str, log: Path, *options: str) -> AsyncGenerator[StdioClient]:
    """Run `mcp-hub connect`; it is killed at the end unless it has ended."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            str(COMMAND),
            "connect",
            "--url",
            url,
            *options,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=LIMIT_BYTES,
        )
    client = StdioClient(process)
    pump = asyncio.ensure_future(client.pump())
    try:
        yield client
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with asyncio.timeout(WAIT_S):
            await pump
