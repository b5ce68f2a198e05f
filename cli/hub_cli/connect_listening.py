"""A client's `subscriptions/listen`, kept open over as many streams of the hub as it takes.

Owns what a subscription is told when a stream was lost (2026-07-28 basic/patterns/subscriptions).
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from hub_cli.connect_call import Call, MayHaveRun, NotTaken, Patience, read
from hub_cli.connect_http import SILENCE_S, Endpoint, settle
from hub_cli.connect_stdio import Stdout
from hub_gateway.errors import HubError
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.wire import codec, meta
from hub_gateway.wire.message import Kind, Message

_log = logging.getLogger("hub_cli.connect")

LISTEN = "subscriptions/listen"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LOOK_AGAIN_S = (1.0, 2.0, 4.0, 8.0, 15.0)
_SHORT_S = 1.0
"""A stream that ended gracefully sooner than this after another one had is not a hub that restarts."""


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


class Listening:
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
