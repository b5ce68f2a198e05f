"""The conversation of a client that shook hands, kept over as many sessions of the hub as it takes.

Owns when a session is opened again and what is said to both sides then. Order among what the client sends without an id
is kept, and a request follows what was sent before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from hub_cli.connect_call import Call, MayHaveRun, NotTaken, Patience, carry, read
from hub_cli.connect_http import Endpoint, settle
from hub_cli.connect_hub_session import RETRY_S, Forgotten, HubSession, SessionEnded, pause_before
from hub_cli.connect_memory import Greeting, Memory, greeting_of
from hub_cli.connect_stdio import Stdout
from hub_common.tasks import Tasks
from hub_gateway.errors import HubError
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.wire import codec
from hub_gateway.wire.message import Kind, Message

_log = logging.getLogger("hub_cli.connect")

_CANCEL_AGAIN_S = (0.3, 1.0, 3.0)
"""A cancellation can overtake its request, which travels on another socket: it is sent again while the call goes on."""
_DELETE_S = 1.0
_FOREVER_S = float("inf")


class Session:
    """One handshake of the client. Whoever makes it closes it.

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
        self._memory = Memory(b"")
        self._at = HubSession(endpoint, None, "")
        self._ready = asyncio.Event()
        self._tail: asyncio.Task[None] | None = None
        self._asked = 0

    @property
    def batches(self) -> bool:
        """Whether the client may send several messages in one array."""
        return self._memory.greeting is not None and self._memory.greeting.batches

    # What the client says

    async def initialize(self, call: Call) -> None:
        """Answer the client's `initialize` and open the first session."""
        self._memory = Memory(call.line)
        patience = Patience(self._limit_s)
        call.noticed = self._greeted
        try:
            await carry(call, lambda: self._first(call), patience)
        finally:
            self._ready.set()  # also without a session: the hub then says what it thinks of the requests that follow

    async def answer(self, call: Call) -> None:
        """Answer a request in the session."""
        patience = Patience(self._limit_s)
        call.noticed = partial(self._memory.heard, call=call)
        try:
            if self._tail is not None:
                await asyncio.wait((self._tail,))
            await carry(call, lambda: self._attempt(call, patience), patience)
        finally:
            # A hub takes its questions back before it answers: what is open still is of one that is gone.
            for each in self._memory.forget(call):
                self._stdout.write(each)

    def send(self, line: bytes, message: Message) -> None:
        """Send a notification, or a response to a question of the hub, after whatever was sent before."""
        if message.kind is Kind.RESPONSE and not self._memory.answered(message):
            _log.info("an answer of the client is dropped: nobody waits for it any more")
        else:
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
        if established:
            try:
                async with asyncio.timeout(_DELETE_S):
                    await self._at.delete()
            except (NotTaken, MayHaveRun, HubError, TimeoutError) as fault:
                _log.info("the session was not ended: %s", fault)

    async def _first(self, call: Call) -> None:
        stream = EventStream(call.hear, None)
        response = await self._endpoint.post({}, call.line, stream.feed)
        if not response.streamed:
            settle(call, response)
        elif not stream.answered:
            raise MayHaveRun("The hub ended the stream before the answer came")
        if self._memory.greeting is not None:
            revision = self._memory.greeting.protocolVersion
            self._at = HubSession(self._endpoint, response.header(b"mcp-session-id"), revision)

    def _greeted(self, message: Message) -> None:
        self._memory.greeting = greeting_of(message)

    async def _attempt(self, call: Call, patience: Patience) -> None:
        if not await patience.wait(self._ready):
            raise NotTaken("it is away, and the session cannot be opened again")
        at = self._at
        try:
            await at.request(call, patience)
        except (SessionEnded, Forgotten):
            self._ended(at)
            raise

    async def _deliver(self, line: bytes, message: Message, previous: asyncio.Task[None] | None) -> None:
        """Send what has no id. Sending it twice does no harm, so it is sent until the hub has it."""
        patience, asked_by, what = Patience(self._limit_s), self._at, message.method or "a response"
        if previous is not None:
            await asyncio.wait((previous,))
        while await patience.wait(self._ready):
            at = self._at
            if message.kind is Kind.RESPONSE and at is not asked_by:
                return
            try:
                status = await at.send(line)
                if status == 429 or status >= 500:
                    raise NotTaken(f"HTTP {status}")
            except SessionEnded:
                self._ended(at)
            except (NotTaken, MayHaveRun, HubError) as fault:
                _log.debug("%s waits: %s", what, fault)
                if not await patience.pause():
                    break
            else:
                if status >= 300:
                    _log.warning("the hub refused %s: HTTP %d", what, status)
                elif message.method == "notifications/initialized" and not self._memory.initialized:
                    self._memory.initialized = line
                    self._tasks.spawn(self._listen(), "listen")
                return
        _log.warning("%s is lost: the hub is away", what)

    # What the hub says unasked

    async def _listen(self) -> None:
        """Keep the standing stream open, as long as the hub offers one."""
        at, stream = self._at, EventStream(self._unasked, None)
        while True:
            await self._ready.wait()
            if at is not self._at:
                at, stream = self._at, EventStream(self._unasked, None)
            try:
                response = await at.listen(stream)
            except SessionEnded:
                self._ended(at)
                continue
            except (NotTaken, MayHaveRun):
                response = None
            except HubError as fault:
                _log.warning("no stream for unasked messages: %s", fault)
                return
            if response is not None and not response.streamed and response.status < 500:
                if stream.last_event_id is None:
                    _log.info("the hub offers no stream for unasked messages: HTTP %d", response.status)
                    return
                stream = EventStream(self._unasked, None)
            await pause_before(stream, RETRY_S)
            stream.restart()

    def _unasked(self, data: bytes, _stream: int | None) -> bool:
        message = read(data)
        if message is None or message.kind is Kind.RESPONSE:
            return False
        self._memory.heard(message, None)
        (self._stdout.write if message.kind is Kind.REQUEST else self._stdout.tell)(data)
        if message.method == "notifications/resources/list_changed" and self._memory.unrestored:
            self._tasks.spawn(self._restore(), "restore")
        return False

    # Another session

    def _ended(self, at: HubSession) -> None:
        """The hub does not know the session: what was asked in it is void, and another one is opened."""
        if at is not self._at or not self._ready.is_set():
            return
        _log.warning("the hub has ended the session: opening another one")
        self._ready.clear()
        for each in self._memory.forget():
            self._stdout.write(each)
        self._tasks.spawn(self._renew(), "renew")

    async def _renew(self) -> None:
        patience = Patience(_FOREVER_S)
        while True:
            try:
                self._at, greeting = await self._again()
                break
            except (NotTaken, MayHaveRun, HubError) as fault:
                _log.debug("the session is not open yet: %s", fault)
            await patience.pause()
        told = self._memory.greeting or greeting
        if greeting.protocolVersion != told.protocolVersion:
            spoken = f"{greeting.protocolVersion} now and {told.protocolVersion} before"
            self._failed(f"the hub speaks {spoken}: the client has to shake hands anew")
            return
        self._ready.set()
        _log.warning("the session goes on")
        for word in told.changing():
            self._stdout.tell(codec.notification(f"notifications/{word}/list_changed"))

    async def _again(self) -> tuple[HubSession, Greeting]:
        """Open a session as the client did, and tell it what the last one knew."""
        memory, kept = self._memory, list[bytes]()
        call = Call(memory.hello, codec.decode(memory.hello), self._stdout, kept.append)
        response = await self._endpoint.post({}, call.line, EventStream(call.hear, None).feed)
        if not response.streamed:
            settle(call, response)
        greeting = greeting_of(codec.decode(kept[0])) if kept else None
        if greeting is None:
            raise NotTaken("it refuses to initialize")
        at = HubSession(self._endpoint, response.header(b"mcp-session-id"), greeting.protocolVersion)
        if memory.initialized:
            await at.send(memory.initialized)
        if memory.level_raw:
            await self._ask(at, "logging/setLevel", memory.level_raw)
        await self._resubscribe(at, set(memory.subscribed))
        return at, greeting

    async def _resubscribe(self, at: HubSession, uris: set[str]) -> None:
        """Subscribe again. A hub that has just started does not know every server's resources yet: what it refuses is
        tried again when it says that its resources have changed."""
        memory = self._memory
        for uri in uris & memory.subscribed.keys():
            memory.unrestored.add(uri)
            response = await self._ask(at, "resources/subscribe", memory.subscribed[uri])
            if len(response.result):
                memory.unrestored.discard(uri)

    async def _restore(self) -> None:
        try:
            await self._resubscribe(self._at, set(self._memory.unrestored))
        except (NotTaken, MayHaveRun, HubError) as fault:
            _log.debug("not all subscriptions are restored: %s", fault)

    async def _ask(self, at: HubSession, method: str, params_raw: bytes) -> Message:
        """Send a request of our own making and return its response, of which the client hears nothing."""
        self._asked += 1
        line, kept = codec.request(b'"mcp-hub-connect-%d"' % self._asked, method, params_raw), list[bytes]()
        await at.request(Call(line, codec.decode(line), self._stdout, kept.append), Patience(self._limit_s))
        if not kept:
            raise MayHaveRun(f"The hub did not answer {method}")
        return codec.decode(kept[0])
