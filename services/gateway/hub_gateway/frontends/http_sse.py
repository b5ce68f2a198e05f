"""HTTP+SSE for clients of 2024-11-05: one stream for everything the hub says, and a second URL for what they say.

Owns the lines between the two (2024-11-05 transports §HTTP with SSE). Deprecated, and kept because old clients know
nothing else.
"""

from __future__ import annotations

import asyncio
import secrets
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from hub_common.tasks import Tasks
from hub_gateway.errors import HubError, TooLarge
from hub_gateway.frontends.access import Access, Denied, deny
from hub_gateway.frontends.guards import headers_of, read_body, send_body
from hub_gateway.frontends.streaming import KEEP_ALIVE_S, SSE_HEADERS, until_disconnect
from hub_gateway.routing.elsewhere import Elsewhere
from hub_gateway.routing.exchange import Exchange
from hub_gateway.routing.hello import Hello
from hub_gateway.routing.router import Router
from hub_gateway.routing.shared_sessions import SharedSessions
from hub_gateway.satellites.letters import PeerAbsent, PeerGone
from hub_gateway.sessions.outbox import Outbox
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.wire import codec
from hub_gateway.wire.codec import MalformedMessage
from hub_gateway.wire.errors import INVALID_REQUEST, error_object
from hub_gateway.wire.framing import KEEP_ALIVE, encode_event
from hub_gateway.wire.message import Kind, Message
from hub_gateway.wire.revisions import Era

MESSAGES_PATH = "/messages"
MAX_MESSAGES = 8192
MAX_BYTES = 64 * 1024 * 1024


class Line:
    """One open stream, and the session that `initialize` opens on it."""

    def __init__(self, replica: str, view_name: str, credential: str) -> None:
        # Any replica may get a POST: the id says who has the stream, and whose it is.
        self.id = f"{secrets.token_urlsafe(24)}.{replica}.{credential}.{view_name}"
        self.view_name = view_name
        self.credential = credential
        # Responses come this way too and none may be lost, so there is room for a slow reader's.
        self.outbox = Outbox("standing", max_messages=MAX_MESSAGES, max_bytes=MAX_BYTES, resumable=False)
        self.session: Session | None = None


class HttpSse:
    """Both URLs of the old transport."""

    def __init__(
        self,
        router: Router,
        hello: Hello,
        sessions: Sessions,
        access: Access,
        replicas: tuple[SharedSessions, Elsewhere],
        body_limit_bytes: int,
        tasks: Tasks,
    ) -> None:
        self._router = router
        self._shared, self._elsewhere = replicas
        self._elsewhere.serve_posts(self._posted)
        self._access = access
        self._hello = hello
        self._sessions = sessions
        self._body_limit_bytes = body_limit_bytes
        self._tasks = tasks
        self._lines: dict[str, Line] = {}

    async def stream(self, receive: Receive, send: Send, view_name: str = "", credential: str = "") -> None:
        """Answer the GET for a view that was got with this credential: say where to post, then everything else until
        the client goes."""
        line = Line(self._elsewhere.replica, view_name, credential)
        self._lines[line.id] = line
        writer = self._tasks.spawn(self._write(line, send), "http+sse")
        try:
            await until_disconnect(receive, writer, self._tasks)
        finally:
            del self._lines[line.id]
            if line.session is not None:
                self._sessions.close(line.session.id)

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a POST to the second URL: 202, and the response goes on the stream. Whoever posts has to be let into
        the view of the stream too, by the same token: its id alone is no key."""
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        line_id = query.get("sessionId", [""])[0]
        _, _, place = line_id.partition(".")
        replica, _, place = place.partition(".")
        credential, named, asked = place.partition(".")
        if not named or (replica == self._elsewhere.replica and line_id not in self._lines):
            await _refuse(line_id, send)
            return
        headers = headers_of(scope)
        try:
            view_name = self._access.view_name(asked, headers)
            if view_name != asked or self._access.credential(asked, headers) != credential:
                await _refuse(line_id, send)
                return
            body = await read_body(receive, headers, self._body_limit_bytes)
            if body is None:
                return
            message = codec.decode(body)
        except Denied as denied:
            await deny(send, denied)
            return
        except TooLarge as fault:
            await send_body(send, 413, codec.error(b"", fault.error_raw))
            return
        except MalformedMessage as fault:
            await send_body(send, 400, fault.reply)
            return
        try:
            if replica == self._elsewhere.replica:
                taken = self._take(line_id, message)
            else:
                taken = await self._elsewhere.post(replica, line_id, body)
        except PeerAbsent:
            taken = False
        except PeerGone as fault:
            await send_body(send, fault.http_status, codec.error(b"", fault.error_raw))
            return
        if not taken:
            await _refuse(line_id, send)
            return
        await send_body(send, 202, b"Accepted", b"text/plain")

    def _posted(self, line_id: str, body: bytes) -> bool:
        """Take what another replica brings, which has read it already."""
        return self._take(line_id, codec.decode(body))

    def _take(self, line_id: str, message: Message) -> bool:
        line = self._lines.get(line_id)
        if line is None:
            return False
        session = line.session
        if message.method == "initialize" and message.kind is Kind.REQUEST:
            self._initialize(line, message)
        elif session is None:
            if message.kind is Kind.REQUEST:
                line.outbox.put(codec.error(message.id, error_object(INVALID_REQUEST, "initialize comes first")))
        elif message.kind is Kind.REQUEST:
            self._sessions.find(session.id)
            self._tasks.spawn(self._answer(session, message), "http+sse answer")
        else:
            self._shared.take(session, message)
        return True

    def _initialize(self, line: Line, message: Message) -> None:
        if line.session is not None:
            line.outbox.put(codec.error(message.id, error_object(INVALID_REQUEST, "The session is open already")))
            return
        try:
            session, result_raw = self._hello.initialize(message, line.view_name, line.credential)
        except HubError as fault:
            line.outbox.put(codec.error(message.id, fault.error_raw))
            return
        session.standing = line.outbox
        session.single_stream = True
        session.attached = 1
        line.session = session
        line.outbox.put(codec.result(message.id, result_raw))

    async def _answer(self, session: Session, message: Message) -> None:
        exchange = Exchange(message, era=Era.HANDSHAKE, caller=session.caller, session=session, outlet=session.tell)
        task = asyncio.current_task()

        def cancel(reason: str | None) -> None:
            if task is not None:
                task.cancel(reason)

        session.running[exchange.id_raw] = cancel
        try:
            session.tell((await self._router.answer(exchange)).body)
        finally:
            if session.running.get(exchange.id_raw) is cancel:
                del session.running[exchange.id_raw]

    async def _write(self, line: Line, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        endpoint = f"{MESSAGES_PATH}?sessionId={line.id}".encode()
        await send({"type": "http.response.body", "body": encode_event(endpoint, name="endpoint"), "more_body": True})
        async for fresh in line.outbox.read(idle_s=KEEP_ALIVE_S):
            data = b"".join(encode_event(sent.message, name="message") for sent in fresh) or KEEP_ALIVE
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _refuse(line_id: str, send: Send) -> None:
    why = "Session not found: its stream is closed; connect again" if line_id else "No sessionId"
    await send_body(send, 404 if line_id else 400, codec.error(b"", error_object(INVALID_REQUEST, why)))
