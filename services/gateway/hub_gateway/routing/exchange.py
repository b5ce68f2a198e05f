"""One client message being answered, with all that is known of it.

Owns what an upstream may say while the call runs: progress and logs go to the client, its questions too. Knows no
transport; the frontend gave it an outlet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from hub_gateway.errors import CallerError
from hub_gateway.routing.owners import StandingClient
from hub_gateway.sessions.session import Session, log_level_at_least
from hub_gateway.upstreams.inbound import CANCELLED, LOG_MESSAGE
from hub_gateway.upstreams.pending import Answer, Listener, Reply
from hub_gateway.wire import codec, meta, rewrite
from hub_gateway.wire.errors import METHOD_NOT_FOUND, error_object, read_error
from hub_gateway.wire.message import Message, own
from hub_gateway.wire.revisions import HANDSHAKE_ONLY_NOTIFICATIONS, Era

Outlet = Callable[[bytes], None]
"""Takes a message that belongs to this call and is sent to the client before the answer."""


class Response(msgspec.Struct, frozen=True, gc=False):
    """An encoded response, and the code of its error where it is one."""

    body: bytes
    error_code: int | None = None


ElsewhereAnswer = Callable[["Exchange", str, "Bound | None", "rewrite.Members | None"], Awaitable[Response]]
"""Has a request answered by another replica (`Elsewhere.answer`)."""


class Bound(msgspec.Struct, frozen=True, array_like=True):
    """What a request is bound for, once that is resolved."""

    upstream_name: str
    """"" where a replica is asked for all that only it has."""
    local_name: str | None = None
    """The entry's own name, where the request is about one."""
    mirrored: list[tuple[str, str]] = []
    """Headers that say again what is among the arguments (2026-07-28 §Custom Headers from Tool Parameters)."""


class Exchange(msgspec.Struct, eq=False):
    """A request, who asks it, and the way back to the client while it runs. Implements `upstreams.connection.Listener`.

    The first five are given, and the view of who has no session; the others become known on the way.
    """

    message: Message
    """The request; its bytes live as long as the exchange."""
    era: Era
    """The client's, for this message."""
    caller: meta.Caller
    """Named to stateless upstreams."""
    session: Session | None
    """None in the stateless era."""
    outlet: Outlet | None
    """None where the client's transport has no way for messages before the answer; they are dropped then."""
    view_name: str = ""
    """The view of the config that is asked for; "" is the default. A session has its own."""
    credential: str = ""
    """Which token the view was got with, by a name of the hub's own; "" where it needs none. A session has its own."""
    headers: Mapping[bytes, bytes] | None = None
    """The headers of a stateless request over HTTP; None where the transport has none that mirror the body."""
    bound: Bound | None = None
    """Set where another replica has resolved the request, and brings it to the home of its session's own connection."""
    id_raw: bytes = b""
    params: rewrite.Members = {}
    progress_token_raw: bytes | None = None
    asked: dict[bytes, bytes] = {}
    """What the client was asked during this call: the id it has there, and the upstream's own."""

    def __post_init__(self) -> None:
        self.id_raw = own(self.message.id)
        if self.session is not None:
            self.view_name, self.credential = self.session.view_name, self.session.credential

    @property
    def requestor(self) -> str:
        """Who may go on with what this one began: whoever has the same view, by the same token where it needs one."""
        return f"{self.view_name}\0{self.credential}"

    @property
    def client(self) -> str | bytes:
        """Who shares turns with nobody else: a session, or the clients without one that call themselves the same."""
        return self.caller.client_info_raw if self.session is None else self.session.id

    @property
    def session_id(self) -> str:
        """The session of who asks; "" where there is none."""
        return "" if self.session is None else self.session.id

    @property
    def whole(self) -> Listener:
        """The client on its standing stream where it holds one, so that the end of this one of its calls ends nothing;
        else this exchange."""
        session = self.session
        if session is None or not (session.single_stream or session.standing.is_read or session.away is not None):
            return self
        return StandingClient(session)

    def cut(self, params: rewrite.Members, own_meta: rewrite.Members) -> None:
        """Take params and `_meta` that were cut open already."""
        self.params = params
        token = own_meta.get(meta.PROGRESS_TOKEN)
        self.progress_token_raw = None if token is None else own(token)

    def read(self) -> None:
        """Cut the params open, unless that was done.

        Raises:
            CallerError: `params` or its `_meta` is no object.
        """
        if self.params:
            return
        try:
            params = rewrite.members(self.message.params)
            meta_raw = params.get("_meta")
            if meta_raw is not None and bytes(meta_raw) == b"null":  # a member that was not left out where it is empty
                params, meta_raw = {key: raw for key, raw in params.items() if key != "_meta"}, None
            self.cut(params, {} if meta_raw is None else rewrite.members(meta_raw))
        except msgspec.MsgspecError as fault:
            raise CallerError(f"Invalid params of {self.message.method}: {fault}") from fault

    def text(self, member: str) -> str:
        """A required string among the params.

        Raises:
            CallerError: it is missing or no string.
        """
        value = rewrite.text(self.params.get(member))
        if value is None:
            raise CallerError(f"Invalid params of {self.message.method}: {member} must be a string")
        return value

    def relay(self, message: Message) -> None:
        """Pass on a notification that belongs to this call."""
        if self.outlet is None:
            return
        if message.method == CANCELLED:
            self._take_back(message)
            return
        if message.method == LOG_MESSAGE and not self._wants(message):
            return
        if self.session is None and message.method in HANDSHAKE_ONLY_NOTIFICATIONS:
            return
        self.outlet(codec.notification(message.method, message.params))

    def ask(self, message: Message, answer: Answer) -> None:
        """Pass on a request the upstream makes during this call, or answer it with the error the protocol names."""
        if self.session is None or self.outlet is None:
            answer(Reply(error_raw=error_object(METHOD_NOT_FOUND, f"The client cannot be asked: {message.method}")))
            return
        question = self.session.reverse.ask(
            message,
            lambda result_raw, error_raw: answer(Reply(result_raw, error_raw)),
            answer.progress,
            asker=answer.asker,
        )
        if question is not None:
            self.asked[question.id_raw] = own(message.id)
            self.outlet(question.message)

    def withdraw(self) -> None:
        """The call ends: tell the client of every question that nobody waits for any more."""
        for id_raw in self.asked:
            self._withdraw(id_raw, {"reason": b'"the call has ended"'})
        self.asked = {}

    def result(self, result_raw: bytes | msgspec.Raw) -> Response:
        """Answer with a result."""
        return Response(codec.result(self.id_raw, result_raw))

    def error(self, error_raw: bytes | msgspec.Raw) -> Response:
        """Answer with an error."""
        return Response(codec.error(self.id_raw, error_raw), read_error(error_raw).code)

    def _take_back(self, message: Message) -> None:
        """The upstream wants no answer any more; the client knows the question by another id."""
        try:
            params = rewrite.members(message.params)
        except msgspec.MsgspecError:
            return
        upstream_id_raw = bytes(params.pop("requestId", b""))
        for id_raw in [each for each, asked_raw in self.asked.items() if asked_raw == upstream_id_raw]:
            self._withdraw(id_raw, params)

    def _withdraw(self, id_raw: bytes, rest: Mapping[str, bytes | msgspec.Raw]) -> None:
        if self.session is not None and self.session.reverse.withdraw(id_raw) and self.outlet is not None:
            self.outlet(codec.notification(CANCELLED, rewrite.join({"requestId": id_raw, **rest})))

    def _wants(self, message: Message) -> bool:
        wanted = self.caller.log_level if self.session is None else self.session.log_level
        if self.session is None and wanted is None:
            return False  # 2026-07-28 utilities/logging: none unless the request asked for them
        try:
            level = rewrite.text(rewrite.members(message.params).get("level"))
        except msgspec.MsgspecError:
            return False
        return log_level_at_least(level, wanted)
