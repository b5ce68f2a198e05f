"""A handshake upstream's questions, put to a client that has no session.

Owns calls that wait: when an upstream asks something during a call of a stateless client, the client gets an
`input_required` result, the call goes on waiting here, and the client's retry with the answers finds it again by its
sealed `requestState` (2026-07-28 basic/patterns/mrtr). The state names the replica that holds the call, so that a retry
finds it from any other. A call nobody comes back for is cancelled.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Raw

from hub_common.tasks import Tasks, Workers
from hub_gateway.errors import CallerError, UpstreamDown
from hub_gateway.routing.exchange import Exchange
from hub_gateway.routing.seal import Seal
from hub_gateway.sessions.reverse import NEEDS, can_answer, required
from hub_gateway.upstreams.inbound import PROGRESS
from hub_gateway.upstreams.pending import Answer, Listener, Reply
from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import METHOD_NOT_FOUND, MISSING_CLIENT_CAPABILITY, error_object
from hub_gateway.wire.message import Message, own

EXPIRE_S = 300.0
"""How long a call waits for its client to come back with answers."""

MAX_HELD = 1_000
"""Calls waiting at one time; the oldest is cancelled for the next one."""

MAY_ASK = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Requests that may be answered with questions (2026-07-28 basic/patterns/mrtr §Supported Requests); no other may."""

GONE = "the call it continues has ended, was continued already, or has expired; start again"

_PREFIX = "hub1."
_capabilities = msgspec.json.Decoder(dict[str, Any])

Request = Callable[[Listener], Awaitable[Reply]]


class MissingCapability(CallerError):
    """The upstream needs what the client did not declare (2026-07-28 basic §Per-request protocol fields)."""

    code = MISSING_CLIENT_CAPABILITY


class Held(msgspec.Struct, eq=False):
    """One call of a stateless client to a handshake upstream. Hears the upstream in the client's place."""

    exchange: Exchange
    request: Request
    """Makes the call."""
    turn: asyncio.Future[None] | None = None
    """Done when the upstream has asked something, or the call has ended; None where that ends the call."""
    questions: dict[str, tuple[str, bytes]] = {}
    answers: dict[str, Answer] = {}
    missing: dict[str, Any] | None = None
    """The capabilities the upstream needs and the client lacks."""
    outcome: Reply | Exception | None = None
    """How the call ended; None while it is under way. A fault is for whoever waits for the call then."""
    task: asyncio.Task[Any] | None = None
    """Makes the call, and others before and after it; None before it has begun and once it has ended."""
    unwanted: bool = False
    """Nobody waits for the call any more."""
    expiry: asyncio.TimerHandle | None = None
    _count: int = 0

    @property
    def session_id(self) -> str:
        """None: the client has no session."""
        return ""

    @property
    def whole(self) -> Listener:
        """Itself."""
        return self

    def relay(self, message: Message) -> None:
        """Progress and logs go to whichever request of the client is open now, progress under that one's token."""
        if message.method == PROGRESS:
            token_raw = self.exchange.progress_token_raw
            if token_raw is None:
                return
            message.params = Raw(rewrite.replaced(message.params, "progressToken", token_raw))
        self.exchange.relay(message)

    def ask(self, message: Message, answer: Answer) -> None:
        """Keep a question for the client."""
        needed = NEEDS.get(message.method) if self.exchange.message.method in MAY_ASK else None
        if needed is None:
            answer(Reply(error_raw=error_object(METHOD_NOT_FOUND, f"The client cannot be asked: {message.method}")))
            return
        if not can_answer(declared(self.exchange), message.method, message.params):
            self.missing = required(message.method, message.params)
        else:
            self._count += 1
            key = f"{needed}-{self._count}"
            self.questions[key] = (message.method, _as_asked_now(own(message.params)))
            self.answers[key] = answer
        self.wake()

    def wake(self) -> None:
        """There is something to tell the client."""
        if self.turn is not None:
            if not self.turn.done():
                self.turn.set_result(None)
        elif self.task is not None:
            self.task.cancel()

    def result_raw(self, request_state: str) -> bytes:
        """The `InputRequiredResult` for the open questions."""
        asked = {
            key: rewrite.join({"method": rewrite.encode_text(method), "params": params_raw or b"{}"})
            for key, (method, params_raw) in self.questions.items()
        }
        return rewrite.join(
            {
                "resultType": b'"input_required"',
                "inputRequests": rewrite.join(asked),
                "requestState": rewrite.encode_text(request_state),
            }
        )

    async def make(self) -> None:
        """Make the call, whose end is told as a question is."""
        if self.unwanted:
            return
        self.task = asyncio.current_task()
        try:
            self.outcome = await self.request(self)
        except Exception as fault:
            self.outcome = fault
        finally:
            self.task = None  # it makes another call after this one
            if self.outcome is None:
                self.outcome = UpstreamDown("the hub is stopping")
            self.wake()

    def drop(self) -> None:
        """Nobody waits for the call any more: cancel it."""
        self.unwanted = True
        if self.task is not None:
            self.task.cancel()
        if self.expiry is not None:
            self.expiry.cancel()

    def take(self, responses: rewrite.Members) -> None:
        """Give the upstream the answers there are; questions without one stay open."""
        for key in [key for key in self.questions if key in responses]:
            del self.questions[key]
            self.answers.pop(key)(Reply(own(responses[key])))


class Holding:
    """All calls that wait on this gateway. Whoever makes it closes it.

    Args:
        replica: id of this process among the replicas.
        seal: made by them all.
        expire_s: how long a call waits for its client.
        limit: calls waiting at one time.
    """

    def __init__(self, replica: str, seal: Seal, expire_s: float = EXPIRE_S, limit: int = MAX_HELD) -> None:
        self._replica = replica
        self._seal = seal
        self._expire_s = expire_s
        self._limit = limit
        self._waiting: dict[str, Held] = {}
        self._tasks = Tasks("held")
        self._workers = Workers[Held](self._tasks, "call", Held.make)

    def owns(self, exchange: Exchange) -> bool:
        """Whether a request says that it is the retry of a call that waits here."""
        return exchange.session is None and "requestState" in exchange.params

    def elsewhere(self, exchange: Exchange) -> str | None:
        """The replica that holds the call which a request continues; None where it is this one, or no such request."""
        state = rewrite.text(exchange.params.get("requestState"))
        place = None if state is None else self._place(state)
        return None if place is None or place[0] == self._replica else place[0]

    async def call(self, exchange: Exchange, request: Request) -> Reply:
        """Make a call whose upstream may ask.

        Raises:
            MissingCapability: it asked for what the client did not declare; the call is cancelled.
        """
        held = Held(exchange, request)
        if not _can_be_asked(exchange):
            return await _unheld(held)
        held.turn = asyncio.get_running_loop().create_future()
        self._workers.give(held)
        return await self._outcome(held, held.turn)

    async def resume(self, exchange: Exchange) -> Reply:
        """Take a client's answers to the call that waits for them.

        Raises:
            CallerError: the state is forged, expired, or another request's.
            MissingCapability: as `call`.
        """
        place = self._place(exchange.text("requestState"))
        if place is None:
            raise CallerError("Invalid requestState: it was not made by this hub")
        _, token = place
        held = self._waiting.get(token)
        if held is None:
            raise CallerError(f"Invalid requestState: {GONE}")
        if _asked(held.exchange) != _asked(exchange) or not _same_arguments(held.exchange, exchange):
            # The call goes on with what was asked first: its result is no answer to anything else.
            raise CallerError("Invalid requestState: it belongs to another request")
        try:
            responses = rewrite.members(exchange.params.get("inputResponses", Raw(b"")))
        except msgspec.MsgspecError as fault:
            raise CallerError("Invalid params: inputResponses must be an object") from fault
        for key in held.questions:
            if key in responses and bytes(responses[key])[:1] != b"{":  # no result: the upstream might hear nothing
                raise CallerError(f"Invalid params: inputResponses.{key} must be an object")
        del self._waiting[token]
        if held.expiry is not None:
            held.expiry.cancel()
        held.exchange = exchange
        held.turn = asyncio.get_running_loop().create_future()
        held.take(responses)
        if held.questions or held.outcome is not None:
            held.wake()
        return await self._outcome(held, held.turn)

    async def close(self) -> None:
        """Cancel every call that waits."""
        for held in self._waiting.values():
            if held.expiry is not None:
                held.expiry.cancel()
        self._waiting.clear()
        await self._tasks.close()

    async def _outcome(self, held: Held, turn: asyncio.Future[None]) -> Reply:
        """Wait for the call's end or for a question, whichever comes first."""
        try:
            await turn
        except asyncio.CancelledError:
            held.drop()
            raise
        outcome = held.outcome
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            return outcome
        if held.missing is not None:
            held.drop()
            raise lacking(held.missing)
        return Reply(held.result_raw(self._hold(held)))

    def _hold(self, held: Held) -> str:
        while len(self._waiting) >= self._limit:
            self._drop(next(iter(self._waiting)))
        token = secrets.token_urlsafe(18)
        self._waiting[token] = held
        held.expiry = asyncio.get_running_loop().call_later(self._expire_s, self._drop, token)
        return self._seal.sealed(f"{_PREFIX}{self._replica}.{token}")

    def _drop(self, token: str) -> None:
        held = self._waiting.pop(token, None)
        if held is not None:
            held.drop()

    def _place(self, state: str) -> tuple[str, str] | None:
        """The replica and the token that a state names; None where the hub did not make it."""
        text = self._seal.opened(state) if state.startswith(_PREFIX) else None
        if text is None:
            return None
        replica, _, token = text.removeprefix(_PREFIX).partition(".")
        return replica, token


async def _unheld(held: Held) -> Reply:
    """Make a call in the task of its request: it never lasts beyond that, since its client can be asked nothing."""
    held.task = task = asyncio.current_task()
    try:
        return await held.request(held)
    except asyncio.CancelledError:
        if held.missing is None or task is None or task.uncancel():
            raise
        raise lacking(held.missing) from None
    finally:
        held.task = None


def _can_be_asked(exchange: Exchange) -> bool:
    """Whether a question may come of a request: its client declared that it answers some."""
    if exchange.message.method not in MAY_ASK or exchange.caller.capabilities_raw == b"{}":
        return False
    capabilities = declared(exchange)
    return any(needed in capabilities for needed in NEEDS.values())


def lacking(missing: dict[str, Any]) -> MissingCapability:
    """The error for a client that does not declare these capabilities."""
    return MissingCapability(
        f"The server needs the client capability {', '.join(missing)}", {"requiredCapabilities": missing}
    )


def _as_asked_now(params_raw: bytes) -> bytes:
    """A question without what only sessions have: the id by which a visit is told to be over (2026-07-28 changelog,
    minor change 11), and a token for progress, which no message goes back with."""
    if b'"elicitationId"' not in params_raw and b'"progressToken"' not in params_raw:
        return params_raw
    params = rewrite.members(params_raw)
    params.pop("elicitationId", None)
    if (meta_raw := params.get("_meta")) is not None:
        meta = rewrite.members(meta_raw)
        meta.pop("progressToken", None)
        params["_meta"] = Raw(rewrite.join(meta))
        if not meta:
            del params["_meta"]
    return rewrite.join(params)


def _asked(exchange: Exchange) -> tuple[str, str, bytes]:
    params = exchange.params
    return exchange.requestor, exchange.message.method, bytes(params.get("name") or params.get("uri") or b"")


def _same_arguments(one: Exchange, other: Exchange) -> bool:
    """Whether two requests have the same arguments, however they spell them."""
    raws = [bytes(each.params.get("arguments", b"{}")) for each in (one, other)]
    try:
        return raws[0] == raws[1] or msgspec.json.decode(raws[0]) == msgspec.json.decode(raws[1])
    except msgspec.DecodeError:
        return False


def declared(exchange: Exchange) -> dict[str, Any]:
    """The capabilities a stateless client declared on this request."""
    try:
        return _capabilities.decode(exchange.caller.capabilities_raw)
    except msgspec.MsgspecError:
        return {}
