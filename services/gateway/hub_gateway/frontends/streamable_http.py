"""Streamable HTTP for clients of both eras on one URL.

Owns the HTTP side of 2025-03-26 to 2025-11-25 (sessions, POST, GET, DELETE) and of 2026-07-28 (stateless POST): which
era a request belongs to, its headers and its status. What the messages mean is `routing`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import aclosing

import msgspec
from starlette.types import Receive, Scope, Send

from hub_common.tasks import Tasks
from hub_gateway.errors import HubError, TooLarge
from hub_gateway.frontends.access import Access, Denied, deny
from hub_gateway.frontends.answering import Answering, Watches
from hub_gateway.frontends.asked import SESSION_ID, Asked, contradictions, read_asked
from hub_gateway.frontends.guards import Headers, headers_of, read_body, send_body
from hub_gateway.frontends.http_sse import HttpSse
from hub_gateway.frontends.posts import Post
from hub_gateway.frontends.stateless import Refusal, http_status, open_exchange, says_stateless
from hub_gateway.frontends.streaming import KEEP_ALIVE_S, SSE_HEADERS, begins_with_an_id, until_disconnect
from hub_gateway.routing.elsewhere import Elsewhere, FarStream
from hub_gateway.routing.exchange import Exchange, Outlet, Response
from hub_gateway.routing.hello import Hello
from hub_gateway.routing.router import Router
from hub_gateway.routing.shared_sessions import SharedSessions
from hub_gateway.satellites.letters import PeerGone
from hub_gateway.sessions.call_streams import answered_by
from hub_gateway.sessions.outbox import Outbox, parse_event_id
from hub_gateway.sessions.registry import Sessions, SessionUnknown
from hub_gateway.sessions.session import STANDING, Session
from hub_gateway.wire import codec
from hub_gateway.wire.codec import MalformedMessage
from hub_gateway.wire.errors import INVALID_REQUEST, SERVER_ERROR, error_object
from hub_gateway.wire.framing import KEEP_ALIVE, encode_event
from hub_gateway.wire.message import Kind, Message, own
from hub_gateway.wire.revisions import BATCHING_REVISIONS, HANDSHAKE_REVISIONS, STATELESS_REVISIONS, Era

RETRY_AFTER_S = b"2"
"""When a client may ask again for a session that is not known, or a stream kept elsewhere, while the store is away."""

MAX_BATCH = 1_000
"""Messages in one batch: each request among them runs at the same time."""


class StreamableHttp:
    """The MCP endpoint as an ASGI application.

    Args:
        replicas: the ways to what the other replicas have of a session.
        body_limit_bytes: longer bodies get 413.
        tasks: owns the writers of streams.
    """

    def __init__(
        self,
        router: Router,
        hello: Hello,
        sessions: Sessions,
        access: Access,
        replicas: tuple[SharedSessions, Elsewhere],
        http_sse: HttpSse,
        body_limit_bytes: int,
        tasks: Tasks,
    ) -> None:
        self._router = router
        self._shared, self._elsewhere = replicas
        self._access = access
        self._hello = hello
        self._sessions = sessions
        self._http_sse = http_sse
        self._body_limit_bytes = body_limit_bytes
        self._tasks = tasks
        self._watches = Watches()

    @property
    def is_answering(self) -> bool:
        """Whether a call is under way."""
        return bool(self._watches)

    def stop(self) -> None:
        """The gateway stops: every call that is still running, or comes, is answered with an error that says so."""
        self._watches.end("The hub is stopping")

    async def __call__(self, scope: Scope, receive: Receive, send: Send, asked: str = "") -> None:
        """Answer one HTTP request to the MCP endpoint, or to the URL of the view that is asked for."""
        headers = headers_of(scope)
        method = scope["method"]
        try:
            view_name = self._access.view_name(asked, headers)
        except Denied as denied:
            await deny(send, denied)
            return
        if method == "POST":
            await self._post(scope, headers, view_name, receive, send)
        elif headers.get(b"mcp-protocol-version", b"").decode("latin-1") in STATELESS_REVISIONS:
            await send_body(send, 405, b"", extra=[(b"allow", b"POST")])
        elif method == "GET":
            await self._get(headers, view_name, receive, send)
        elif method == "DELETE":
            await self._delete(headers, view_name, send)
        else:
            await send_body(send, 405, b"", extra=[(b"allow", b"GET, POST, DELETE")])

    def post(self, post: Post, asked: Asked) -> Awaitable[None]:
        """Answer one POST whose body is there."""
        headers = post.head.fields
        try:
            view_name = self._access.view_name(post.view, headers)
        except Denied as denied:
            return deny(post, denied)
        return self._take(headers, asked, view_name, post.body, post.receive, post)

    async def _post(self, scope: Scope, headers: Headers, view_name: str, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, headers, self._body_limit_bytes)
        except TooLarge as fault:
            await send_body(send, 413, codec.error(b"", fault.error_raw))
            return
        if body is not None:
            asked = read_asked(headers, contradicted=contradictions(scope))
            await self._take(headers, asked, view_name, body, receive, send)

    # From here to `Answering.answer` nothing is a coroutine that need not be: each is woken on the way of each answer.

    def _take(
        self, headers: Headers, asked: Asked, view_name: str, body: bytes, receive: Receive, send: Send
    ) -> Awaitable[None]:
        try:
            message = codec.decode(body)
        except MalformedMessage as fault:
            if codec.is_batch(body):
                return self._batch(headers, asked, view_name, body, receive, send)
            return send_body(send, 400, fault.reply)
        if asked.stateless or (asked.stateless is None and says_stateless(message)):
            return self._stateless(headers, asked, view_name, message, receive, send)
        if message.method == "initialize" and message.is_request:
            return self._initialize(message, view_name, self._access.credential(view_name, headers), send)
        session = self._sessions.find(asked.session_id) if asked.revision_fits_session else None
        if session is not None and self._is_its(session, headers, view_name):
            return self._in_session(session, message, asked, receive, send)
        return self._in_some_session(headers, asked, view_name, message, receive, send)

    def _stateless(
        self, headers: Headers, asked: Asked, view_name: str, message: Message, receive: Receive, send: Send
    ) -> Awaitable[None]:
        if not message.is_request:
            # The revision defines no client notification over HTTP, and forbids responses; both are taken and dropped.
            return send_body(send, 202 if message.kind is Kind.NOTIFICATION else 400, b"")
        answering = Answering(receive, send, None, asked.streams, self._tasks, self._watches)
        try:
            credential = self._access.credential(view_name, headers)
            exchange = open_exchange(headers, asked, message, answering.outlet, view_name, credential)
        except Refusal as fault:
            return send_body(send, 400, fault.reply)
        return answering.answer(exchange, self._router.answer(exchange, asked.traceparent), http_status)

    async def _initialize(self, message: Message, view_name: str, credential: str, send: Send) -> None:
        id_raw = own(message.id)
        try:
            session, result_raw = self._hello.initialize(message, view_name, credential)
        except HubError as fault:
            await send_body(send, fault.http_status, codec.error(id_raw, fault.error_raw))
            return
        await self._sessions.commit(session)
        extra = [(SESSION_ID, session.id.encode())]
        await send_body(send, 200, codec.result(id_raw, result_raw), extra=extra)

    def _is_its(self, session: Session, headers: Headers, view_name: str) -> bool:
        """Whether a session is of this view and was opened with the credential of this request."""
        return session.view_name == view_name and session.credential == self._access.credential(view_name, headers)

    async def _session(
        self, headers: Headers, view_name: str, send: Send, message: Message | None = None
    ) -> Session | None:
        """The session a request names, which has to be of the view it is for; None after the refusal was sent."""
        id_raw = own(message.id) if message is not None and message.is_request else b""
        session_id = headers.get(SESSION_ID, b"").decode("latin-1")
        try:
            session = self._sessions.find(session_id) or await self._sessions.recall(session_id)
        except SessionUnknown as fault:
            body = codec.error(id_raw, fault.error_raw)
            await send_body(send, fault.http_status, body, extra=[(b"retry-after", RETRY_AFTER_S)])
            return None
        if session is None or not self._is_its(session, headers, view_name):
            why = "Session not found: it ended or expired; initialize again" if session_id else "No Mcp-Session-Id"
            status = 404 if session_id else 400
            await send_body(send, status, codec.error(id_raw, error_object(INVALID_REQUEST, why)))
            return None
        revision = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
        if revision and revision not in HANDSHAKE_REVISIONS:
            why = f"Unsupported MCP-Protocol-Version in a session: {revision[:40]}"
            await send_body(send, 400, codec.error(id_raw, error_object(INVALID_REQUEST, why)))
            return None
        return session

    async def _in_some_session(
        self, headers: Headers, asked: Asked, view_name: str, message: Message, receive: Receive, send: Send
    ) -> None:
        session = await self._session(headers, view_name, send, message)
        if session is not None:
            await self._in_session(session, message, asked, receive, send)

    def _in_session(
        self, session: Session, message: Message, asked: Asked, receive: Receive, send: Send
    ) -> Awaitable[None]:
        if not message.is_request:
            self._shared.take(session, message)
            return send_body(send, 202, b"")
        answering = Answering(receive, send, session, asked.streams, self._tasks, self._watches)
        exchange = Exchange(message, era=Era.HANDSHAKE, caller=session.caller, session=session, outlet=answering.outlet)
        return answering.answer(exchange, self._router.answer(exchange, asked.traceparent), _ok)

    async def _batch(
        self, headers: Headers, asked: Asked, view_name: str, body: bytes, receive: Receive, send: Send
    ) -> None:
        """Several messages in one array: allowed to sessions of 2025-03-26, and gone since. What is said and asked
        before the answers goes on the stream of the POST, as with a single request."""
        session = await self._session(headers, view_name, send)
        if session is None:
            return
        try:
            if session.revision not in BATCHING_REVISIONS:
                raise MalformedMessage(INVALID_REQUEST, f"Invalid Request: {session.revision} has no batches")
            parts = codec.decode_batch(body)
            if len(parts) > MAX_BATCH:
                raise MalformedMessage(INVALID_REQUEST, f"Invalid Request: more than {MAX_BATCH} messages in a batch")
        except MalformedMessage as fault:
            await send_body(send, 400, fault.reply)
            return
        answering = Answering(receive, send, session, asked.streams, self._tasks, self._watches)
        whole = Exchange(Message(jsonrpc="2.0"), era=Era.HANDSHAKE, caller=session.caller, session=session, outlet=None)
        await answering.answer(whole, self._answers(session, parts, asked, answering), _ok)

    async def _answers(
        self, session: Session, parts: Sequence[msgspec.Raw], asked: Asked, answering: Answering
    ) -> Response:
        """The answers to a batch, in one array; on a stream each by itself, which fewer clients misread."""
        outlet = answering.outlet

        async def one(raw: msgspec.Raw) -> bytes | None:
            answer = await self._one_of_batch(session, raw, asked, outlet)
            if answer is None or outlet is None or not answering.is_stream:
                return answer
            return outlet(answer)

        answers = [answer for answer in await asyncio.gather(*map(one, parts)) if answer is not None]
        if not answers:  # nothing is left to be said
            answering.cancel()
            await asyncio.sleep(0)
        if outlet is None or not answering.is_stream:
            return Response(b"[" + b",".join(answers) + b"]")
        for answer in answers[:-1]:
            outlet(answer)
        return Response(answers[-1])

    async def _one_of_batch(
        self, session: Session, raw: msgspec.Raw, asked: Asked, outlet: Outlet | None
    ) -> bytes | None:
        try:
            message = codec.decode(raw)
        except MalformedMessage as fault:
            return fault.reply
        if not message.is_request:
            self._shared.take(session, message)
            return None
        exchange = Exchange(message, era=Era.HANDSHAKE, caller=session.caller, session=session, outlet=outlet)
        answered = self._tasks.spawn(self._router.answer(exchange, asked.traceparent), "batch")
        cancel = session.running[exchange.id_raw] = answered.cancel
        try:
            await asyncio.wait((answered,))
            return None if answered.cancelled() else answered.result().body
        finally:
            answered.cancel()
            if session.running.get(exchange.id_raw) is cancel:
                del session.running[exchange.id_raw]

    async def _get(self, headers: Headers, view_name: str, receive: Receive, send: Send) -> None:
        if not read_asked(headers).streams:
            await send_body(send, 406, b"")
            return
        if SESSION_ID not in headers:
            await self._http_sse.stream(receive, send, view_name, self._access.credential(view_name, headers))
            return
        session = await self._session(headers, view_name, send)
        if session is None:
            return
        stream: Outbox | FarStream = session.standing
        after: int | None = None
        if (last := headers.get(b"last-event-id")) is not None:
            position = parse_event_id(last.decode("latin-1"))
            try:
                found = await self._taken_up(session, position)
            except PeerGone as fault:
                if not last.startswith(STANDING.encode()):
                    body = codec.error(b"", fault.error_raw)
                    await send_body(send, fault.http_status, body, extra=[(b"retry-after", RETRY_AFTER_S)])
                    return
                found = None
            if found is None and last.startswith(STANDING.encode()):
                # Of another life of this session: nothing of it is left to be sent again, so the stream begins anew.
                found, position = session.standing, (session.standing.stream_id, 0)
            if found is None or position is None:
                await self._say_lost(send, "" if position is None else position[0])
                return
            stream, after = found, position[1]
        writer = self._tasks.spawn(self._write(session, stream, after, send), "stream")
        await until_disconnect(receive, writer, self._tasks)

    async def _say_lost(self, send: Send, stream_id: str) -> None:
        """Answer for a stream that nobody keeps. Its call is told on a stream too: an SDK's client that is refused one
        goes on waiting for the response."""
        id_raw = answered_by(stream_id)
        if id_raw is None:
            why = "Last-Event-ID names no stream of this session, or the replica that kept it is gone"
            await send_body(send, 400, codec.error(b"", error_object(INVALID_REQUEST, why)))
            return
        why = "The answer is lost: the hub that kept it restarted or is gone; whether the request has run is not known"
        lost = encode_event(codec.error(id_raw, error_object(SERVER_ERROR, why)))
        await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        await send({"type": "http.response.body", "body": lost})

    async def _taken_up(self, session: Session, position: tuple[str, int] | None) -> Outbox | FarStream | None:
        """The stream that an event id names, here or on another replica. Raises what `Elsewhere.take_up` raises."""
        if position is None:
            return None
        return session.stream(position[0]) or await self._elsewhere.take_up(session, *position)

    async def _write(self, session: Session, stream: Outbox | FarStream, after: int | None, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        # What was read before is not sent again to who comes back with this first id.
        begun = after or (stream.unread_from if after is None and isinstance(stream, Outbox) else 0)
        named = begins_with_an_id(session)
        first = encode_event(b"", event_id=stream.event_id(begun)) if named else KEEP_ALIVE
        await send({"type": "http.response.body", "body": first, "more_body": True})
        with self._shared.holding(session, stream):
            if isinstance(stream, Outbox):
                sending = stream.read(stream.unread_from if after is None else after, idle_s=KEEP_ALIVE_S)
            else:
                sending = stream.read()
            async with aclosing(sending):
                async for fresh in sending:
                    events = [encode_event(sent.message, event_id=stream.event_id(sent.place)) for sent in fresh]
                    data = b"".join(events) or KEEP_ALIVE
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _delete(self, headers: Headers, view_name: str, send: Send) -> None:
        session = await self._session(headers, view_name, send)
        if session is not None:
            await self._sessions.end(session.id)
            await send_body(send, 200, b"")


def _ok(response: Response) -> int:
    return 200
