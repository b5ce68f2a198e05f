"""What this replica cannot answer itself because another one holds it: the request goes there, and all that is said in
answer comes back through here.

Owns the journeys between two replicas. A request of a client is answered on the replica that holds what it is about as
if the client had asked there; only who holds it is known elsewhere (`held`, `task_handles`, `sessions`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager

import msgspec

from hub_gateway.errors import CallerError
from hub_gateway.routing.exchange import Bound, Exchange, Response
from hub_gateway.routing.shared_sessions import SharedSessions
from hub_gateway.satellites.letters import PeerAbsent, PeerGone, PeerSilent
from hub_gateway.satellites.lines import Say
from hub_gateway.satellites.peers import Peers
from hub_gateway.sessions.outbox import Sent, event_id
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session, replica_in
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.meta import Caller
from hub_gateway.wire.revisions import Era

ANSWER = "answer"
READ = "read"
POSTED = "posted"
IDLE_S = 15.0
ALL_S = 5.0
"""How long an answer of all replicas waits for each of them."""

_BEFORE, _LAST = b"b", b"l"
"""How a part of an answer begins: a message that comes before the response, or the response itself."""

Answered = Callable[[Exchange], Awaitable[Response]]


class _Asked(msgspec.Struct, frozen=True, array_like=True):
    """A request as it goes to another replica."""

    message: bytes
    stateless: bool
    session_id: str
    view_name: str
    credential: str
    caller: Caller
    headers: dict[bytes, bytes] | None
    streams: bool
    """Whether the client takes messages before the response."""
    bound: Bound | None = None


class _Reading(msgspec.Struct, frozen=True, array_like=True):
    """A stream that a client takes up, and the place after which it goes on."""

    session_id: str
    stream_id: str
    after: int


class _Posted(msgspec.Struct, frozen=True, array_like=True):
    """What a client of HTTP+SSE posted, and the line it belongs to."""

    line_id: str
    body: bytes


TakePosted = Callable[[str, bytes], bool]
"""Takes what was posted for a line; False where that is closed."""


class FarStream:
    """A stream of a session that another replica keeps, as `Outbox` is one that is kept here. Its reader closes it by
    ending to read."""

    def __init__(self, stream_id: str, parts: AsyncGenerator[bytes]) -> None:
        self.stream_id = stream_id
        self._parts = parts

    def event_id(self, place: int) -> str:
        """The id of the event at a place, as the other replica has it."""
        return event_id(self.stream_id, place)

    async def read(self) -> AsyncGenerator[list[Sent]]:
        """Yield what comes; an empty list now and then while nothing does. Where the other replica dies the stream
        ends, and the client may take it up again."""
        async with aclosing(self._parts):
            try:
                async for part in self._parts:
                    yield _fresh.decode(part)
            except PeerGone:
                return


_asked = msgspec.msgpack.Decoder(_Asked)
_reading = msgspec.msgpack.Decoder(_Reading)
_posted = msgspec.msgpack.Decoder(_Posted)
_fresh = msgspec.msgpack.Decoder(list[Sent])
_response = msgspec.msgpack.Decoder(Response)


class Elsewhere:
    """The way to what other replicas hold, and their way to what this one does."""

    def __init__(self, peers: Peers, sessions: Sessions, shared: SharedSessions) -> None:
        self._peers = peers
        self._sessions = sessions
        self._shared = shared
        self._answering = 0

    @property
    def is_answering(self) -> bool:
        """Whether a request that another replica brought is under way."""
        return self._answering > 0

    def serve(self, answered: Answered) -> None:
        """Answer the requests that other replicas bring, with this."""

        async def answer(body: bytes, say: Say) -> None:
            await self._answer(_asked.decode(body), answered, say)

        self._peers.when_asked(ANSWER, answer)
        self._peers.when_asked(READ, lambda body, say: self._read(_reading.decode(body), say))

    @property
    def replica(self) -> str:
        """The id of this replica."""
        return self._peers.id

    def serve_posts(self, take: TakePosted) -> None:
        """Give what other replicas bring for the lines of HTTP+SSE to `take`."""

        async def answer(body: bytes, say: Say) -> None:
            posted = _posted.decode(body)
            if take(posted.line_id, posted.body):
                say(_LAST)

        self._peers.when_asked(POSTED, answer)

    async def post(self, replica: str, line_id: str, body: bytes) -> bool:
        """Bring what a client of HTTP+SSE posted to the replica that holds its stream; False where that is closed.

        Raises:
            PeerAbsent: the replica is not there.
            PeerGone: it cannot be reached, or did not say whether it has taken it.
        """
        posted = msgspec.msgpack.encode(_Posted(line_id, body))
        async with aclosing(self._peers.ask(replica, POSTED, posted)) as parts:
            return [part async for part in parts] == [_LAST]

    async def take_up(self, session: Session, stream_id: str, after: int) -> FarStream | None:
        """The stream of that id after a place, where another replica keeps it and lives; else None.

        Raises:
            PeerGone: it cannot be known, since there is no way to that replica now.
        """
        replica = replica_in(stream_id)
        if replica is None or replica == self._peers.id:
            return None
        asked = msgspec.msgpack.encode(_Reading(session.id, stream_id, after))
        parts = self._peers.ask(replica, READ, asked)
        try:
            await anext(parts)
        except (PeerAbsent, PeerSilent, StopAsyncIteration):
            return None
        return FarStream(stream_id, parts)

    async def resume(self, exchange: Exchange, replica: str) -> Response:
        """Answer the retry of a call that waits on another replica.

        Raises:
            CallerError: it does not wait there any more; where the replica died meanwhile the call may have run.
        """
        try:
            return await self.answer(exchange, replica)
        except PeerGone as fault:
            raise CallerError(f"Invalid requestState: {fault}; start again") from fault

    async def answer(
        self, exchange: Exchange, replica: str, bound: Bound | None = None, params: rewrite.Members | None = None
    ) -> Response:
        """Have a request answered by another replica; cancelling cancels it there.

        Args:
            exchange: the request.
            replica: who answers it.
            bound: the upstream it was resolved to, where only that is wanted of the other.
            params: what is sent to that upstream; without it what the client sent.

        Raises:
            PeerGone: it is not there, or did not answer to the end.
        """
        message, session = exchange.message, exchange.session
        asked = _Asked(
            codec.request(exchange.id_raw, message.method, message.params if params is None else rewrite.join(params)),
            exchange.era is Era.STATELESS,
            "" if session is None else session.id,
            exchange.view_name,
            exchange.credential,
            exchange.caller,
            None if exchange.headers is None else dict(exchange.headers),
            exchange.outlet is not None,
            bound,
        )
        async with aclosing(self._peers.ask(replica, ANSWER, msgspec.msgpack.encode(asked))) as parts:
            async for part in parts:
                if part[:1] == _LAST:
                    return _response.decode(part[1:])
                if exchange.outlet is not None:
                    exchange.outlet(part[1:])
        raise PeerGone("the other replica gave no answer")

    async def answers(self, exchange: Exchange) -> list[Response]:
        """What every other replica answers of what is its own; one that does not in a moment is left out."""

        async def asked(replica: str) -> Response | None:
            try:
                async with asyncio.timeout(ALL_S):
                    return await self.answer(exchange, replica, Bound(""))
            except (PeerGone, TimeoutError):
                return None

        found = await asyncio.gather(*map(asked, self._peers.others))
        return [response for response in found if response is not None]

    async def _read(self, asked: _Reading, say: Say) -> None:
        """Say a stream to another replica; nothing at all where there is none."""
        session = self._sessions.here(asked.session_id)
        stream = None if session is None else session.stream(asked.stream_id)
        if session is None or stream is None:
            return
        say(_BEFORE)
        with self._shared.holding(session, stream):
            async for fresh in stream.read(asked.after, idle_s=IDLE_S):
                say(msgspec.msgpack.encode(fresh))

    async def _answer(self, asked: _Asked, answered: Answered, say: Say) -> None:
        session = await self._sessions.known(asked.session_id) if asked.session_id else None
        exchange = Exchange(
            codec.decode(asked.message),
            era=Era.STATELESS if asked.stateless else Era.HANDSHAKE,
            caller=asked.caller,
            session=session,
            outlet=(lambda message: say(_BEFORE + message)) if asked.streams else None,
            view_name=asked.view_name,
            credential=asked.credential,
            headers=asked.headers,
            bound=asked.bound,
        )
        self._answering += 1
        try:
            with _in_use(session):
                say(_LAST + msgspec.msgpack.encode(await answered(exchange)))
        finally:
            self._answering -= 1


@contextmanager
def _in_use(session: Session | None) -> Generator[None]:
    """While this lasts, the session is not idle here, though its client waits elsewhere."""
    if session is None:
        yield
        return
    session.attached += 1
    try:
        yield
    finally:
        session.attached -= 1
