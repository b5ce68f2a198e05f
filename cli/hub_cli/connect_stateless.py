"""Requests of a client that speaks 2026-07-28: each is a POST of its own, and its stream is the client's.

Owns the headers that mirror a request (2026-07-28 basic/transports/streamable-http).
"""

from __future__ import annotations

import asyncio
import logging
import re

import msgspec

from hub_cli.connect_call import Call, MayHaveRun, Patience, carry
from hub_cli.connect_http import Endpoint, settle
from hub_cli.connect_listening import LISTEN, Listening
from hub_cli.connect_mirrors import Mirrors
from hub_cli.connect_stdio import Stdout
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.upstreams.transports.http1 import Response
from hub_gateway.wire import codec, headers, meta, rewrite
from hub_gateway.wire.errors import HEADER_MISMATCH, read_error
from hub_gateway.wire.message import ABSENT, Message, own

_log = logging.getLogger("hub_cli.connect")

_PLAIN = re.compile(r"[\x21-\x7e]+")
_MAX_PAGES = 1_000


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
        self._mirrors = Mirrors()

    async def answer(self, call: Call, message: Message) -> None:
        """Answer one request. Cancelling closes its stream, which cancels it at the hub."""
        mirrored = headers_for(message)
        patience = Patience(self._limit_s)
        if call.method == LISTEN:
            await Listening(self._endpoint, call, mirrored, patience, self._stdout).run()
        else:
            if call.method == "tools/list":
                call.noticed = self._mirrors.learn
            await carry(call, lambda: self._attempt(call, mirrored, patience), patience)

    async def _attempt(self, call: Call, mirrored: dict[str, str], patience: Patience) -> None:
        stream = EventStream(call.hear, None)
        began_s = asyncio.get_running_loop().time()
        try:
            response = await self._post(call, mirrored, stream)
            if response.status == 400 and call.method == "tools/call" and _is_mismatch(response.body):
                # Refused, so it has not run: the client does not know the tool's headers, or they have changed.
                await self._learn(call, mirrored)
                response = await self._post(call, mirrored, stream)
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

    async def _post(self, call: Call, mirrored: dict[str, str], stream: EventStream) -> Response:
        params = self._mirrors.headers(call.params_raw) if call.method == "tools/call" else {}
        return await self._endpoint.post({**mirrored, **params}, call.line, stream.feed)

    async def _learn(self, call: Call, mirrored: dict[str, str]) -> None:
        """List the tools as the client of this call would."""
        params: dict[str, bytes] = {"_meta": own(rewrite.members(call.params_raw).get("_meta", msgspec.Raw(b"{}")))}
        named = {name: value for name, value in mirrored.items() if name != headers.NAME}
        for _ in range(_MAX_PAGES):
            line, kept = codec.request(b'"mcp-hub-connect"', "tools/list", rewrite.join(params)), list[bytes]()
            listing = Call(line, codec.decode(line), self._stdout, kept.append)
            stream = EventStream(listing.hear, None)
            response = await self._endpoint.post({**named, headers.METHOD: "tools/list"}, line, stream.feed)
            if not response.streamed:
                settle(listing, response)
            page = self._mirrors.learn(codec.decode(kept[0])) if kept else None
            if page is None or page.nextCursor is None:
                return
            params["cursor"] = rewrite.encode_text(page.nextCursor)


def _is_mismatch(body: bytes) -> bool:
    try:
        return read_error(codec.decode(body).error).code == HEADER_MISMATCH
    except codec.MalformedMessage:
        return False
