"""Requests of a client that speaks 2026-07-28: each is a POST of its own, and its stream is the client's.

Owns the headers that mirror a request, and the `subscriptions/listen` streams that outlive a restart of the hub
(2026-07-28 basic/transports/streamable-http, basic/patterns/subscriptions).
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import msgspec

from hub_cli.connect_call import Call, MayHaveRun, NotTaken, Patience, Tell, carry
from hub_cli.connect_http import Endpoint, settle
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.wire import codec, headers, meta, rewrite
from hub_gateway.wire.message import ABSENT, Kind, Message, own

_log = logging.getLogger("hub_cli.connect")

LISTEN = "subscriptions/listen"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LIST_CHANGES = {f"{word}ListChanged": f"notifications/{word}/list_changed" for word in ("tools", "prompts", "resources")}
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

    def __init__(self, endpoint: Endpoint, tell: Tell, limit_s: float) -> None:
        self._endpoint = endpoint
        self._tell = tell
        self._limit_s = limit_s

    async def answer(self, call: Call, message: Message) -> None:
        """Answer one request. Cancelling closes its stream, which cancels it at the hub."""
        mirrored = headers_for(message)
        patience = Patience(self._limit_s)
        if call.method == LISTEN:
            await _Listening(self._endpoint, call, mirrored, patience, self._tell).run()
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
    changed. A graceful end is the client's to know only when the hub does not come back.
    """

    def __init__(
        self, endpoint: Endpoint, call: Call, mirrored: dict[str, str], patience: Patience, tell: Tell
    ) -> None:
        self._endpoint = endpoint
        self._call = call
        self._mirrored = mirrored
        self._patience = patience
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._first: dict[str, Any] | None = None
        """What the hub agreed to when it was asked first."""
        self._acknowledged_s: float | None = None
        """When the present stream was acknowledged."""
        self._lacking = False
        self._looks = 0
        self._farewell: bytes | None = None

    async def run(self) -> None:
        """Keep the subscription until the client ends it, the hub refuses it, or is away for too long."""
        while True:
            self._acknowledged_s, why = None, ""
            try:
                await self._open()
            except (NotTaken, MayHaveRun) as fault:
                why = str(fault)
            if self._call.answered:
                return
            if self._acknowledged_s is not None:
                self._patience.excuse(self._acknowledged_s)
            if not await self._patience.pause():
                if self._farewell is None or not self._call.hear(self._farewell):
                    self._call.fail(f"The hub was away for longer than {self._patience.limit_s:g} s: {why}")
                return

    async def _open(self) -> None:
        stream = EventStream(self._hear, None)
        patience_s = _LOOK_AGAIN_S[min(self._looks, len(_LOOK_AGAIN_S) - 1)]
        try:
            async with asyncio.timeout(None) as again:
                self._again = lambda: again.reschedule(self._loop.time() + patience_s)
                response = await self._endpoint.post(self._mirrored, self._call.line, stream.feed, own=True)
        except TimeoutError:
            self._looks += 1
            return
        if not response.streamed:
            settle(self._call, response)
        elif stream.fault is not None:
            _log.warning("a subscription's stream: %s", stream.fault)

    def _hear(self, data: bytes, _stream: int | None) -> bool:
        message = codec.decode(data)
        if message.method == _ACKNOWLEDGED:
            return self._acknowledged(message, data)
        if message.kind is Kind.RESPONSE and self._acknowledged_s is not None and len(message.result):
            lived_s = self._loop.time() - self._acknowledged_s
            if self._farewell is None or lived_s >= _SHORT_S:
                self._farewell = bytes(data)
                return True
        return self._call.hear(data)
