"""Requests of a client that speaks 2026-07-28: each is a POST of its own, and its stream is the client's.

Owns the headers that mirror a request, and the `subscriptions/listen` streams that outlive a restart of the hub
(2026-07-28 basic/transports/streamable-http, basic/patterns/subscriptions).
"""

from __future__ import annotations

import asyncio
import logging
import re

import msgspec

from hub_cli.connect_call import Call, MayHaveRun, NotTaken, Patience, carry, read
from hub_cli.connect_http import SILENCE_S, Endpoint, settle
from hub_cli.connect_stdio import Stdout
from hub_gateway.errors import HubError
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.wire import codec, headers, meta, rewrite
from hub_gateway.wire.message import ABSENT, Kind, Message, own

_log = logging.getLogger("hub_cli.connect")

LISTEN = "subscriptions/listen"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_PLAIN = re.compile(r"[\x21-\x7e]+")
_LOOK_AGAIN_S = (1.0, 2.0, 4.0, 8.0, 15.0)
_SHORT_S = 1.0


def revision_of(message: Message) -> bytes | None:
    """The raw revision in a request's `_meta`, which is what makes it stateless; None where it has none."""
    if b"io.modelcontextprotocol" not in bytes(message.params):
        return None
    try:
        found = rewrite.members(rewrite.members(message.params).get("_meta", ABSENT)).get(meta.PROTOCOL_VERSION)
    except msgspec.MsgspecError:
        return None
    return None if found is None else own(found)


def headers_for(message: Message) -> dict[str, str]:
    """The headers that mirror a request (§Standard Request Headers). What a header cannot hold is left out: the hub
    says what is wrong with it."""
    found = {
        headers.PROTOCOL_VERSION: rewrite.text(revision_of(message)) or "",
        headers.METHOD: message.method,
    }
    found = {name: value for name, value in found.items() if _PLAIN.fullmatch(value)}
    if (member := headers.NAMED_METHODS.get(message.method)) is not None:
        try:
            named = rewrite.text(rewrite.members(message.params).get(member))
        except msgspec.MsgspecError:
            named = None
        if named is not None:
            found[headers.NAME] = headers.encode_value(named)
    return found


class Stateless:
    """Answers requests without a session."""

    def __init__(self, endpoint: Endpoint, stdout: Stdout, limit_s: float) -> None:
        self._endpoint = endpoint
        self._stdout = stdout
        self._limit_s = limit_s

    async def answer(self, call: Call, message: Message) -> None:
        """Answer one request. Cancelling closes its stream, which cancels it at the hub."""
        mirrored = headers_for(message)
        patience = Patience(self._limit_s)
        if call.method == LISTEN:
            await _Listening(self._endpoint, call, mirrored, patience, self._stdout).run()
        else:
            await carry(call, lambda: self._attempt(call, mirrored, patience), patience)

    async def _attempt(self, call: Call, mirrored: dict[str, str], patience: Patience) -> None:
        stream = EventStream(call.hear, None)
        began_s = asyncio.get_running_loop().time()
        try:
            response = await self._endpoint.post(mirrored, call.line, stream.feed)
        except MayHaveRun:
            patience.excuse(began_s)
            raise
        if not response.streamed:
            settle(call, response)
        elif stream.fault is not None:
            raise stream.fault
        elif not stream.answered:
            patience.excuse(began_s)
            raise MayHaveRun("The hub ended the stream before the answer came")


class _Listening:
    """One subscription of the client, over as many streams of the hub as it takes.

    The client sees one acknowledgement. When a stream was lost, what may have changed meanwhile is said to have
    changed. A graceful end is passed on only when the hub does not come back: it is how the hub restarts.
    """

    def __init__(
        self, endpoint: Endpoint, call: Call, mirrored: dict[str, str], patience: Patience, stdout: Stdout
    ) -> None:
        self._endpoint = endpoint
        self._call = call
        self._mirrored = mirrored
        self._patience = patience
        self._stdout = stdout
        self._loop = asyncio.get_running_loop()
        self._agreed: _Agreed | None = None
        """What the hub agreed to when it was asked first."""
        self._since_s: float | None = None
        """When the present stream was acknowledged."""
        self._lost = False
        self._looks = 0
        self._look_again_s: float | None = None
        """When a stream that lacks a resource is left for another one."""
        self._farewell: bytes | None = None

    async def run(self) -> None:
        """Keep the subscription until the client ends it, the hub refuses it, or is away for too long."""
        while not self._call.answered:
            self._since_s, why = None, "it ended the stream"
            try:
                await self._open()
            except (NotTaken, MayHaveRun) as fault:
                self._lost, why = True, str(fault)
            except HubError as fault:
                self._call.fail(f"The hub's answer is unusable: {fault}")
            if self._since_s is not None:
                self._patience.excuse(self._since_s)
            if self._call.answered or await self._patience.pause():
                continue
            if self._farewell is None or not self._call.hear(self._farewell):
                self._call.fail(f"The hub was away for more than {self._patience.limit_s:g} s: {why}")

    async def _open(self) -> None:
        stream, self._look_again_s = EventStream(self._hear, None), None

        def feed(chunk: bytes) -> bool:
            enough = stream.feed(chunk)
            silent_s = self._loop.time() + SILENCE_S
            until.reschedule(silent_s if self._look_again_s is None else min(silent_s, self._look_again_s))
            return enough

        try:
            async with asyncio.timeout(None) as until:
                response = await self._endpoint.post(self._mirrored, self._call.line, feed, own=True)
        except TimeoutError:
            self._lost = self._look_again_s is None
            return
        if not response.streamed:
            settle(self._call, response)
        elif stream.fault is not None:
            raise stream.fault
        else:
            self._lost = True

    def _hear(self, data: bytes, _stream: int | None) -> bool:
        message = read(data)
        if message is None:
            return False
        if message.method == _ACKNOWLEDGED:
            return self._acknowledged(message, data)
        if message.kind is Kind.RESPONSE and len(message.result) and self._since_s is not None:
            short = self._loop.time() - self._since_s < _SHORT_S
            if self._farewell is None or not short:
                self._farewell = bytes(data)
                return True
        return self._call.hear(data)

    def _acknowledged(self, message: Message, data: bytes) -> bool:
        self._since_s = self._loop.time()
        try:
            agreed = _acknowledgement.decode(message.params).notifications
        except msgspec.MsgspecError:
            agreed = _Agreed()
        if self._agreed is None:
            self._agreed = agreed
            return self._call.hear(data)
        if self._lost:
            self._lost = False
            _log.info("subscription %s is open again", self._call.id_raw.decode())
            params_raw = b'{"_meta":{"' + meta.SUBSCRIPTION_ID.encode() + b'":' + self._call.id_raw + b"}}"
            for method in self._agreed.changes():
                self._stdout.tell(codec.notification(method, params_raw))
        lacking = set(self._agreed.resourceSubscriptions) - set(agreed.resourceSubscriptions)
        if lacking:
            # A hub that has just started does not know every server's resources yet: it is asked again.
            pause_s = _LOOK_AGAIN_S[min(self._looks, len(_LOOK_AGAIN_S) - 1)]
            self._looks += 1
            self._look_again_s = self._loop.time() + pause_s
        else:
            self._looks = 0
        return False


class _Agreed(msgspec.Struct):
    """The filter in an acknowledgement (§Notification Filter)."""

    toolsListChanged: bool = False
    promptsListChanged: bool = False
    resourcesListChanged: bool = False
    resourceSubscriptions: list[str] = []

    def changes(self) -> list[str]:
        """The list changes agreed to, by their methods."""
        agreed = {
            "tools": self.toolsListChanged,
            "prompts": self.promptsListChanged,
            "resources": self.resourcesListChanged,
        }
        return [f"notifications/{word}/list_changed" for word, wanted in agreed.items() if wanted]


class _Acknowledgement(msgspec.Struct):
    notifications: _Agreed = msgspec.field(default_factory=_Agreed)


_acknowledgement = msgspec.json.Decoder(_Acknowledgement)
