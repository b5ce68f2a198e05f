"""What this replica cannot answer itself because another one holds it: the request goes there, and all that is said in
answer comes back through here.

Owns the journeys between two replicas. A request of a client is answered on the replica that holds what it is about as
if the client had asked there; only who holds it is known elsewhere (`held`, `task_handles`, `sessions`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import msgspec

from hub_gateway.errors import CallerError
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.satellites.peers import PeerGone, Peers, Say
from hub_gateway.sessions.registry import Sessions
from hub_gateway.wire import codec
from hub_gateway.wire.meta import Caller
from hub_gateway.wire.revisions import Era

ANSWER = "answer"
_BEFORE, _LAST = b"b", b"l"
"""How a part of an answer begins: a message that comes before the response, or the response itself."""

Answered = Callable[[Exchange], Awaitable[Response]]


class _Asked(msgspec.Struct, frozen=True, array_like=True):
    """A request as it goes to another replica."""

    message: bytes
    stateless: bool
    session_id: str
    caller: Caller
    headers: dict[bytes, bytes] | None
    streams: bool
    """Whether the client takes messages before the response."""


_asked = msgspec.msgpack.Decoder(_Asked)
_response = msgspec.msgpack.Decoder(Response)


class Elsewhere:
    """The way to what other replicas hold, and their way to what this one does."""

    def __init__(self, peers: Peers, sessions: Sessions) -> None:
        self._peers = peers
        self._sessions = sessions

    def serve(self, answered: Answered) -> None:
        """Answer the requests that other replicas bring, with this."""

        async def answer(body: bytes, say: Say) -> None:
            await self._answer(_asked.decode(body), answered, say)

        self._peers.when_asked(ANSWER, answer)

    async def resume(self, exchange: Exchange, replica: str) -> Response:
        """Answer the retry of a call that waits on another replica.

        Raises:
            CallerError: it does not wait there any more; where the replica died meanwhile the call may have run.
        """
        try:
            return await self.answer(exchange, replica)
        except PeerGone as fault:
            raise CallerError(f"Invalid requestState: {fault}; start again") from fault

    async def answer(self, exchange: Exchange, replica: str) -> Response:
        """Have a request answered by another replica; cancelling cancels it there.

        Raises:
            PeerGone: it is not there, or did not answer to the end.
        """
        message, session = exchange.message, exchange.session
        asked = _Asked(
            codec.request(exchange.id_raw, message.method, message.params),
            exchange.era is Era.STATELESS,
            "" if session is None else session.id,
            exchange.caller,
            None if exchange.headers is None else dict(exchange.headers),
            exchange.outlet is not None,
        )
        async with aclosing(self._peers.ask(replica, ANSWER, msgspec.msgpack.encode(asked))) as parts:
            async for part in parts:
                if part[:1] == _LAST:
                    return _response.decode(part[1:])
                if exchange.outlet is not None:
                    exchange.outlet(part[1:])
        raise PeerGone("the other replica gave no answer")

    async def _answer(self, asked: _Asked, answered: Answered, say: Say) -> None:
        session = await self._sessions.known(asked.session_id) if asked.session_id else None
        exchange = Exchange(
            codec.decode(asked.message),
            era=Era.STATELESS if asked.stateless else Era.HANDSHAKE,
            caller=asked.caller,
            session=session,
            outlet=(lambda message: say(_BEFORE + message)) if asked.streams else None,
        )
        exchange.headers = asked.headers
        say(_LAST + msgspec.msgpack.encode(await answered(exchange)))
