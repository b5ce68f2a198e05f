"""One raw conversation over any client transport: Streamable HTTP, HTTP+SSE and stdio (through `mcp-hub connect`).

Owns how a request travels and which of the messages that come is its answer. Bytes are sent and shown as they are.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urljoin

from tests.support import raw_http
from tests.support.clients import HANDSHAKE, READ_TIMEOUT_S, RawClient, hello, raw_session
from tests.support.inbox import Inbox, Received
from tests.support.stdio_client import connected

NO_LOG: Final = Path(os.devnull)
INITIALIZED: Final = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
EVENT_STREAM: Final = {"Accept": "text/event-stream"}


class Said(Protocol):
    """What a request was answered with, and what was said before."""

    @property
    def message_raw(self) -> bytes:
        """The response."""
        ...

    @property
    def before(self) -> list[bytes]:
        """The messages that came while it was waited for."""
        ...

    def json(self) -> Any:
        """The response decoded."""
        ...


class Speaker(Protocol):
    """A raw client of some transport and era."""

    inbox: Inbox
    """What a session is told unasked."""
    greeting: dict[str, Any]
    """What a session's `initialize` was answered with."""

    def body(self, method: str, params: Mapping[str, Any], client_id: object = None) -> bytes:
        """A request as bytes, its envelope included."""
        ...

    async def send(
        self, body: bytes, method: str, params: Mapping[str, Any], timeout_s: float = READ_TIMEOUT_S
    ) -> Said:
        """Send this request, whose method and params are said beside, and wait for its response."""
        ...

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, timeout_s: float = READ_TIMEOUT_S
    ) -> Said:
        """Send a request and wait for its response."""
        ...

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Said:
        """`tools/call` of this tool."""
        ...

    async def call_raw(self, name: str, arguments_raw: bytes) -> Said:
        """`tools/call` with arguments given as bytes."""
        ...


@dataclass(frozen=True)
class Line:
    """A response that came on a channel with everything else."""

    message_raw: bytes
    before: list[bytes]

    def json(self) -> Any:
        """The response decoded."""
        return json.loads(self.message_raw)


class LineSpeaker(RawClient):
    """Speaks on one channel, where requests and answers are told apart by their ids."""

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[None]],
        inbox: Inbox,
        *,
        stateless: bool,
        capabilities: Mapping[str, Any],
    ) -> None:
        super().__init__("", None if stateless else "", capabilities)
        self.inbox = inbox
        self._write = write

    async def send(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        body: bytes,
        method: str,
        params: Mapping[str, Any],
        timeout_s: float = READ_TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
    ) -> Line:
        """Write the request and wait for the response of its id."""
        assert not headers, "this channel has no headers"
        wanted, start = json.loads(body)["id"], len(self.inbox.lines)
        await self._write(body)

        def answers(message: Received) -> bool:
            return "method" not in message and message.get("id") == wanted

        place = await self.inbox.place_of(answers, start, timeout_s)
        return Line(self.inbox.lines[place], self.inbox.lines[start:place])

    async def shake_hands(self, revision: str) -> None:
        """Open the session."""
        self.greeting = (await self.send(hello(revision, self.capabilities), "initialize", {})).json()["result"]
        await self._write(INITIALIZED)


class HttpSpeaker(RawClient):
    """Speaks Streamable HTTP; a session hears its standing stream."""

    def __init__(self, url: str, session_id: str | None, capabilities: Mapping[str, Any]) -> None:
        super().__init__(url, session_id, capabilities)
        self.inbox = Inbox()


@asynccontextmanager
async def over_http(
    url: str, *, stateless: bool, capabilities: Mapping[str, Any], revision: str = HANDSHAKE
) -> AsyncGenerator[Speaker]:
    """A client over Streamable HTTP."""
    if stateless:
        yield HttpSpeaker(url, None, capabilities)
        return
    async with raw_session(url, revision, capabilities) as client:
        speaker = HttpSpeaker(url, client.session_id, capabilities)
        speaker.greeting, speaker.revision = client.greeting, client.revision
        fields = {**EVENT_STREAM, **client.headers("", {})}
        async with raw_http.opened("GET", url, headers=fields) as stream, _taking(speaker.inbox, stream.events()):
            yield speaker


@asynccontextmanager
async def over_sse(
    url: str, *, stateless: bool, capabilities: Mapping[str, Any], revision: str = HANDSHAKE, posts_to: str = ""
) -> AsyncGenerator[Speaker]:
    """A client over HTTP+SSE (2024-11-05 basic/transports), which has no stateless era; `posts_to` is another hub that
    gets what it posts."""
    assert not stateless
    async with raw_http.opened("GET", url, headers=EVENT_STREAM) as stream:
        events = stream.events()
        endpoint = urljoin(posts_to or url, (await anext(events)).decode())

        async def write(body: bytes) -> None:
            answer = await raw_http.post(endpoint, body)
            assert answer.status == 202, answer

        inbox = Inbox()
        async with _taking(inbox, events):
            speaker = LineSpeaker(write, inbox, stateless=False, capabilities=capabilities)
            await speaker.shake_hands(revision)
            yield speaker


@asynccontextmanager
async def over_stdio(
    url: str, *, stateless: bool, capabilities: Mapping[str, Any], revision: str = HANDSHAKE
) -> AsyncGenerator[Speaker]:
    """A client over stdio: `mcp-hub connect` is the process it starts."""
    async with connected(url, NO_LOG) as client:

        async def write(body: bytes) -> None:
            client.send_raw(body)

        speaker = LineSpeaker(write, client, stateless=stateless, capabilities=capabilities)
        if not stateless:
            await speaker.shake_hands(revision)
        yield speaker


@asynccontextmanager
async def _taking(inbox: Inbox, events: AsyncGenerator[bytes]) -> AsyncGenerator[None]:
    """Take events into the inbox for as long as the block."""
    pump = asyncio.ensure_future(inbox.take_all(events))
    try:
        yield
    finally:
        pump.cancel()
        with suppress(asyncio.CancelledError):
            await pump
