"""The conversation of a client that shook hands, kept over as many sessions of the hub as it takes.

Owns what has to be said again to a hub that was restarted: the client's own `initialize`, its log level and its
subscriptions (2025-11-25 basic/lifecycle, transports §Session Management, §Resumability). Order among what the client
sends without an id is kept; a request follows what was sent before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from hub_cli.connect_call import Call, Key, MayHaveRun, NotTaken, Patience, carry, key_of, read
from hub_cli.connect_http import Endpoint, settle
from hub_cli.connect_stdio import Stdout
from hub_common.tasks import Tasks
from hub_gateway.errors import HubError
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.upstreams.transports.http1 import Response
from hub_gateway.wire import codec, headers, rewrite
from hub_gateway.wire.message import Kind, Message, own
from hub_gateway.wire.revisions import BATCHING_REVISIONS

_log = logging.getLogger("hub_cli.connect")

_CANCEL_AGAIN_S = (0.3, 1.0, 3.0)
"""A cancellation can overtake its request, which travels on another socket: it is sent again while the call goes on."""
_RETRY_S = 1.0
_MAX_RETRY_S = 30.0
_DELETE_S = 1.0
_FOREVER_S = float("inf")


class _Hello(msgspec.Struct):
    """What is looked at in an `InitializeResult`."""

    protocolVersion: str = ""
    capabilities: dict[str, Any] = {}


class Session:
    """One handshake of the client.

    Args:
        endpoint: opened by whoever made it.
        stdout: where messages to the client go.
        limit_s: how long a message waits for a hub that is away.
        failed: called with a reason when the conversation cannot go on.
    """

    def __init__(self, endpoint: Endpoint, stdout: Stdout, limit_s: float, failed: Callable[[str], None]) -> None:
        self._endpoint = endpoint
        self._stdout = stdout
        self._limit_s = limit_s
        self._failed = failed
        self._tasks = Tasks("connect.session")
        self._ready = asyncio.Event()
        self._id: str | None = None
        self._revision = ""
        self._told: _Hello | None = None
        """What the client was answered, which every later session must keep to."""
        self._tail: asyncio.Task[None] | None = None
        self._questions: set[Key] = set()
        self._asked = 0
        # To be said again
        self._hello = b""
        self._initialized = b""
        self._level_raw = b""
        self._subscribed: dict[str, bytes] = {}
        self._unrestored: set[str] = set()

    @property
    def batches(self) -> bool:
        """Whether the client may send several messages in one array."""
        return self._revision in BATCHING_REVISIONS

    # What the client says

    async def initialize(self, call: Call) -> None:
        """Answer the client's `initialize` and open the first session."""
        self._hello = call.line
        patience = Patience(self._limit_s)
        call.noticed = self._greeted
        try:
            await carry(call, lambda: self._first(call), patience)
        finally:
            self._ready.set()  # also without a session: the hub then says what it thinks of the requests that follow

    async def answer(self, call: Call) -> None:
        """Answer a request in the session."""
        patience = Patience(self._limit_s)
        call.noticed = partial(self._notice, call)
        if self._tail is not None:
            await asyncio.wait((self._tail,))
        await carry(call, lambda: self._attempt(call, patience), patience)

    def send(self, line: bytes, message: Message) -> None:
        """Send a notification, or a response to a question of the hub, after whatever was sent before."""
        if message.kind is Kind.RESPONSE:
            key = key_of(own(message.id))
            if key not in self._questions:
                _log.info("an answer of the client is dropped: its question ended with the hub's session")
                return
            self._questions.discard(key)
        self._tail = self._tasks.spawn(self._deliver(line, message, self._tail), "send")

    async def cancel(self, call: Call, line: bytes, message: Message) -> None:
        """Pass on the cancellation of a call that the hub may have, until the call has ended."""
        for pause_s in _CANCEL_AGAIN_S:
            self.send(line, message)
            try:
                async with asyncio.timeout(pause_s):
                    await call.ended.wait()
                    return
            except TimeoutError:
                continue

    async def settled(self) -> None:
        """Wait until what the client sent without an id is out."""
        while self._tail is not None and not self._tail.done():
            await asyncio.wait((self._tail,))

    async def close(self) -> None:
        """End the session at the hub, if it can be reached now."""
        established = self._ready.is_set()
        await self._tasks.close()
        if established and self._id is not None:
            try:
                async with asyncio.timeout(_DELETE_S):
                    await self._endpoint.delete(self._headers(self._id))
            except (NotTaken, MayHaveRun, HubError, TimeoutError) as fault:
                _log.info("the session was not ended: %s", fault)

    # One message to the hub

    async def _first(self, call: Call) -> None:
        stream = EventStream(call.hear, None)
        response = await self._endpoint.post({}, call.line, stream.feed)
        if not response.streamed:
            settle(call, response)
        elif not stream.answered:
            raise MayHaveRun("The hub ended the stream before the answer came")
        if self._told is not None:
            self._id = response.header(b"mcp-session-id")

    async def _attempt(self, call: Call, patience: Patience) -> None:
        if not await patience.wait(self._ready):
            raise NotTaken("it is away, and the session cannot be opened again")
        session_id, stream = self._id, EventStream(call.hear, None)
        began_s = asyncio.get_running_loop().time()
        response: Response | None = None
        call.posted = True
        try:
            response = await self._endpoint.post(self._headers(session_id), call.line, stream.feed)
        except NotTaken:
            call.posted = False
            raise
        except MayHaveRun:
            patience.excuse(began_s)
            if stream.last_event_id is None:
                raise
        if response is None or response.streamed:
            await self._resume(call, stream, session_id, patience)
        elif response.status == 404 and session_id is not None:
            call.posted = False
            self._ended(session_id)
            raise NotTaken("it ended the session")
        else:
            settle(call, response)

    async def _resume(self, call: Call, stream: EventStream, session_id: str | None, patience: Patience) -> None:
        """Carry on a call's stream that ended without the response."""
        while not (stream.answered or call.cancelled):
            if stream.fault is not None:
                raise stream.fault
            if stream.last_event_id is None:
                raise MayHaveRun("The hub ended the stream before the answer came")
            if stream.retry_s is not None:
                await asyncio.sleep(min(stream.retry_s, _MAX_RETRY_S))
            if not await patience.pause():
                raise MayHaveRun("The hub did not come back to carry the answer's stream on")
            stream.restart()
            began_s = asyncio.get_running_loop().time()
            try:
                response = await self._endpoint.get(self._headers(session_id, stream.last_event_id), stream.feed)
            except (NotTaken, MayHaveRun):
                continue
            finally:
                if stream.heard:
                    patience.excuse(began_s)
            if not response.streamed and response.status < 500:
                if response.status == 404 and session_id is not None:
                    self._ended(session_id)
                raise MayHaveRun("The hub was restarted, or has forgotten the answer's stream")

    async def _deliver(self, line: bytes, message: Message, previous: asyncio.Task[None] | None) -> None:
        """Send what has no id. Sending it twice does no harm, so it is sent until the hub has it."""
        patience, asked_in = Patience(self._limit_s), self._id
        if previous is not None:
            await asyncio.wait((previous,))
        while await patience.wait(self._ready):
            if message.kind is Kind.RESPONSE and self._id != asked_in:
                return
            session_id = self._id
            try:
                response = await self._endpoint.post(self._headers(session_id), line)
            except (NotTaken, MayHaveRun, HubError) as fault:
                _log.info("%s waits: %s", message.method or "a response", fault)
                if not await patience.pause():
                    break
                continue
            if response.status == 404 and session_id is not None:
                self._ended(session_id)
                continue
            if response.status >= 300:
                _log.warning("the hub refused %s: HTTP %d", message.method or "a response", response.status)
            elif message.method == "notifications/initialized" and not self._initialized:
                self._initialized = line
                self._tasks.spawn(self._listen(), "listen")
            return
        _log.warning("%s is lost: the hub is away", message.method or "a response")

    def _headers(self, session_id: str | None, last_event_id: str | None = None) -> dict[str, str]:
        found = {
            headers.PROTOCOL_VERSION: self._revision,
            headers.SESSION_ID: session_id,
            headers.LAST_EVENT_ID: last_event_id,
        }
        return {name: value for name, value in found.items() if value}

    # What the hub says

    def _greeted(self, message: Message) -> None:
        if len(message.result):
            self._told = _hello_of(message)
            self._revision = self._told.protocolVersion

    def _notice(self, call: Call, message: Message) -> None:
        """Remember what a later session has to be told."""
        if message.kind is Kind.REQUEST:
            self._questions.add(key_of(own(message.id)))
        if message.kind is not Kind.RESPONSE or not len(message.result):
            return
        if call.method == "logging/setLevel":
            self._level_raw = call.params_raw
        elif call.method in ("resources/subscribe", "resources/unsubscribe"):
            uri = rewrite.text(rewrite.members(call.params_raw).get("uri")) or ""
            self._unrestored.discard(uri)
            if call.method == "resources/subscribe":
                self._subscribed[uri] = call.params_raw
            else:
                self._subscribed.pop(uri, None)

    def _unasked(self, data: bytes, _stream: int | None) -> bool:
        """Take a message of the standing stream."""
        message = read(data)
        if message is None or message.kind is Kind.RESPONSE:
            return False
        if message.kind is Kind.REQUEST:
            self._questions.add(key_of(own(message.id)))
            self._stdout.write(data)
            return False
        self._stdout.tell(data)
        if message.method == "notifications/resources/list_changed" and self._unrestored:
            self._tasks.spawn(self._resubscribe(set(self._unrestored)), "resubscribe")
        return False

    async def _listen(self) -> None:
        """Keep the standing stream open, as long as the hub offers one."""
        session_id, stream, delay_s = self._id, EventStream(self._unasked, None), _RETRY_S
        while True:
            await self._ready.wait()
            if session_id != self._id:
                session_id, stream = self._id, EventStream(self._unasked, None)
            try:
                response = await self._endpoint.get(self._headers(session_id, stream.last_event_id), stream.feed)
            except (NotTaken, MayHaveRun):
                response = None
            except HubError as fault:
                _log.warning("no stream for unasked messages: %s", fault)
                return
            if response is not None and not response.streamed:
                if response.status == 404 and session_id is not None:
                    self._ended(session_id)
                    continue
                if response.status < 500 and stream.last_event_id is None:
                    _log.info("the hub offers no stream for unasked messages: HTTP %d", response.status)
                    return
                if response.status < 500:
                    stream = EventStream(self._unasked, None)
            await asyncio.sleep(_RETRY_S if stream.retry_s is None else min(stream.retry_s, _MAX_RETRY_S))
            stream.restart()

    # Another session

    def _ended(self, session_id: str) -> None:
        """The hub does not know the session: what was asked in it is void, and another one is opened."""
        if session_id != self._id or not self._ready.is_set():
            return
        _log.info("the hub ended the session: opening another one")
        self._ready.clear()
        for _, value in self._questions:
            why = msgspec.json.encode({"requestId": value, "reason": "The hub was restarted"})
            self._stdout.write(codec.notification("notifications/cancelled", why))
        self._questions.clear()
        self._tasks.spawn(self._renew(), "renew")

    async def _renew(self) -> None:
        patience = Patience(_FOREVER_S)
        while True:
            try:
                again = await self._again()
                break
            except (NotTaken, MayHaveRun, HubError) as fault:
                _log.info("the session is not open yet: %s", fault)
            await patience.pause()
        if self._told is not None and again.protocolVersion != self._told.protocolVersion:
            told, now = self._told.protocolVersion, again.protocolVersion
            self._failed(f"the hub speaks {now} now and spoke {told} before: the client has to shake hands anew")
            return
        self._ready.set()
        _log.info("the session goes on")
        for word in ("tools", "prompts", "resources"):
            offered = self._told.capabilities.get(word) if self._told is not None else None
            if isinstance(offered, dict) and offered.get("listChanged") is True:
                self._stdout.tell(codec.notification(f"notifications/{word}/list_changed"))

    async def _again(self) -> _Hello:
        """Open a session as the client did, and tell it what the last one knew."""
        message, response = await self._ask(self._hello, {})
        if not len(message.result):
            raise NotTaken(f"it refuses to initialize: {bytes(message.error).decode(errors='replace')[:200]}")
        hello = _hello_of(message)
        self._id = response.header(b"mcp-session-id")
        if self._initialized:
            await self._endpoint.post(self._headers(self._id), self._initialized)
        if self._level_raw:
            await self._ask(self._request("logging/setLevel", self._level_raw), self._headers(self._id))
        await self._resubscribe(set(self._subscribed))
        return hello

    async def _resubscribe(self, uris: set[str]) -> None:
        """Subscribe again. A hub that has just started does not know every server's resources yet: what it refuses is
        tried again when it says that its resources have changed."""
        for uri in uris:
            if (params_raw := self._subscribed.get(uri)) is not None:
                self._unrestored.add(uri)
                message, _ = await self._ask(self._request("resources/subscribe", params_raw), self._headers(self._id))
                if len(message.result):
                    self._unrestored.discard(uri)

    def _request(self, method: str, params_raw: bytes) -> bytes:
        self._asked += 1
        return codec.request(b'"mcp-hub-connect-%d"' % self._asked, method, params_raw)

    async def _ask(self, line: bytes, own_headers: dict[str, str]) -> tuple[Message, Response]:
        """Send a request of our own making and return its response, of which the client hears nothing."""
        kept: list[bytes] = []
        call = Call(line, codec.decode(line), kept.append, self._stdout.tell)
        stream = EventStream(call.hear, None)
        response = await self._endpoint.post(own_headers, line, stream.feed)
        if response.status == 404:
            raise NotTaken("it ended the session at once")
        if not response.streamed:
            settle(call, response)
        if not kept:
            raise MayHaveRun("The hub ended the stream before the answer came")
        return codec.decode(kept[0]), response


def _hello_of(message: Message) -> _Hello:
    try:
        return msgspec.json.decode(message.result, type=_Hello)
    except msgspec.MsgspecError:
        return _Hello()
