"""One session of the hub, as HTTP sees it: its headers, and its streams that can be taken up again.

Owns what 2025-11-25 transports §Session Management and §Resumability say of one exchange. When to make one, and what a
lost session means, is the conversation's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hub_cli.connect_call import Call, MayHaveRun, NotTaken, Patience
from hub_cli.connect_http import SILENCE_S, Endpoint, settle
from hub_gateway.upstreams.transports.event_stream import EventStream
from hub_gateway.upstreams.transports.http1 import Feed, Response
from hub_gateway.wire import headers

RETRY_S = 1.0
_MAX_RETRY_S = 30.0


class SessionEnded(NotTaken):
    """The hub does not know the session (HTTP 404): it took nothing, and another one has to be opened."""


class HubSession:
    """The session of this id. `session_id` is None where the server has none; then nothing can end it."""

    def __init__(self, endpoint: Endpoint, session_id: str | None, revision: str) -> None:
        self.session_id = session_id
        self._endpoint = endpoint
        named = {headers.SESSION_ID: session_id or "", headers.PROTOCOL_VERSION: revision}
        self._named = {name: value for name, value in named.items() if value}

    async def request(self, call: Call, patience: Patience) -> None:
        """Send a request and pass on what comes until its response, over as many sockets as the hub offers.

        Raises:
            SessionEnded, NotTaken: it did not run.
            MayHaveRun: its stream is lost.
            UpstreamGarbage: the answer is none.
        """
        stream, response = EventStream(call.hear, None), None
        began_s = asyncio.get_running_loop().time()
        call.posted = True
        try:
            response = await _listened(stream, lambda feed: self._endpoint.post(self._named, call.line, feed))
            self._check(response)
        except NotTaken:
            call.posted = False
            raise
        except MayHaveRun:
            patience.excuse(began_s)
            if stream.last_event_id is None:
                raise
        if response is not None and not response.streamed:
            settle(call, response)
        else:
            await self._resume(call, stream, patience)

    async def send(self, line: bytes) -> int:
        """Send what gets no response; the HTTP status. Raises what `request` raises."""
        response = await self._endpoint.post(self._named, line)
        self._check(response)
        return response.status

    async def listen(self, stream: EventStream) -> Response:
        """GET a stream: the standing one, or the one that has had an event. Raises what `request` raises."""
        sent = dict(self._named)
        if stream.last_event_id is not None:
            sent[headers.LAST_EVENT_ID] = stream.last_event_id
        response = await _listened(stream, lambda feed: self._endpoint.get(sent, feed))
        self._check(response)
        return response

    async def delete(self) -> None:
        """End it, where there is one. Raises what `request` raises."""
        if self.session_id is not None:
            await self._endpoint.delete(self._named)

    def _check(self, response: Response) -> None:
        if response.status == 404 and self.session_id is not None:
            raise SessionEnded("it has ended the session")

    async def _resume(self, call: Call, stream: EventStream, patience: Patience) -> None:
        """Carry on a call's stream that ended without the response."""
        while not (stream.answered or call.cancelled):
            if stream.fault is not None:
                raise stream.fault
            if stream.last_event_id is None:
                raise MayHaveRun("The hub ended the stream before the answer came")
            await pause_before(stream, 0)
            if not await patience.pause():
                raise MayHaveRun("The hub did not come back to carry the answer's stream on")
            stream.restart()
            began_s = asyncio.get_running_loop().time()
            try:
                response = await self.listen(stream)
            except SessionEnded as fault:
                raise Forgotten("The hub has ended the session and lost the answer's stream") from fault
            except (NotTaken, MayHaveRun):
                continue
            finally:
                if stream.heard:
                    patience.excuse(began_s)
            if not response.streamed and response.status < 500:
                raise MayHaveRun("The hub was restarted and lost the answer's stream")


class Forgotten(MayHaveRun):
    """The stream is lost with its session."""


async def pause_before(stream: EventStream, least_s: float) -> None:
    """Wait as long as the server wants before its stream is taken up again (§Sending Messages, 6)."""
    await asyncio.sleep(least_s if stream.retry_s is None else min(stream.retry_s, _MAX_RETRY_S))


async def _listened(stream: EventStream, exchange: Callable[[Feed], Awaitable[Response]]) -> Response:
    """Run an exchange. A stream that can be taken up again is given up when it falls silent: what lies between may have
    forgotten it."""
    loop = asyncio.get_running_loop()

    def feed(chunk: bytes) -> bool:
        enough = stream.feed(chunk)
        if stream.last_event_id is not None:
            until.reschedule(loop.time() + SILENCE_S)
        return enough

    try:
        async with asyncio.timeout(None) as until:
            return await exchange(feed)
    except TimeoutError as fault:
        raise MayHaveRun("The stream from the hub fell silent") from fault
