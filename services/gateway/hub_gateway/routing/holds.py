"""What the hub is subscribed to at its upstreams: each resource and task once, however many clients want it.

Owns the subscriptions at upstreams in the words of both eras, and that the last one who wants a subject gives it back.
Does not know who wants it (`subscriptions`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import Raw

from hub_common.tasks import Tasks
from hub_gateway.errors import HubError, UpstreamDown, UpstreamError, UpstreamTimeout
from hub_gateway.upstreams.backoff import Backoff
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.handshake import ON_BEHALF
from hub_gateway.upstreams.inbound import ACKNOWLEDGED
from hub_gateway.upstreams.pending import Answer, Listener, Reply
from hub_gateway.upstreams.second_links import OF_SESSIONS
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire import meta, rewrite
from hub_gateway.wire.errors import RESOURCE_NOT_FOUND_HANDSHAKE, error_object
from hub_gateway.wire.message import Message
from hub_gateway.wire.revisions import Era

_DONE = Reply(b"{}")
_ACKNOWLEDGE_S = 30.0
"""How long a stateless upstream may take to acknowledge a subscription."""

_STEADY_S = 5.0


class Owned(NamedTuple):
    """A resource or a task as its upstream knows it."""

    upstream_name: str
    uri: str
    """The URI, or the task's id."""
    session_id: str = ""
    """Whose own connection is meant, where the upstream is isolated; `OF_SESSIONS` for the second link of one of both
    eras; else empty."""
    is_task: bool = False


class _Hold:
    """One subject: how many want it, and whether the upstream has been told."""

    def __init__(self) -> None:
        self.wanted = 0
        self.taken = False
        self.turn = asyncio.Lock()
        """Subscribing and giving back reach the upstream one after the other."""
        self.stream: asyncio.Task[None] | None = None
        """The `subscriptions/listen` of a stateless upstream, which is the subscription itself."""


class Holds:
    """All subscriptions at upstreams. Whoever makes it closes it."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._holds: dict[Owned, _Hold] = {}
        self._tasks = Tasks("holds")

    async def take(self, owned: Owned, params: rewrite.Members, caller: meta.Caller = ON_BEHALF) -> Reply:
        """Want a subject, and return what its upstream said: a result, or its own error, after which it is not held.

        Args:
            owned: the subject; each `take` that ended with a result is ended by one `give_back`.
            params: of `resources/subscribe` with the upstream's own URI; a stateless upstream has other ones.
            caller: named to a stateless upstream.

        Raises:
            HubError: the upstream is down, late or not there. It is held all the same where it is only down or late,
                and the upstream is told when it is back; `give_back` is due.
        """
        hold = self._holds.setdefault(owned, _Hold())
        hold.wanted += 1
        try:
            async with hold.turn:
                reply = _DONE if hold.taken else await self._subscribe(owned, hold, params, caller)
        except HubError:
            raise
        except BaseException:
            self._later(owned, lambda: self._released(owned, hold))
            raise
        if reply.error_raw:
            await self._released(owned, hold)
        return reply

    async def give_back(self, owned: Owned) -> Reply:
        """Want a subject no longer, and return what the upstream said where this was the last one to want it."""
        hold = self._holds.get(owned)
        return _DONE if hold is None else await self._released(owned, hold)

    def drop(self, owned: Owned) -> None:
        """As `give_back`, for whom nobody waits."""
        self._later(owned, lambda: self.give_back(owned))

    def end_session(self, session_id: str) -> None:
        """A session ended, and its own connections with it: nothing is left to be given back on them."""
        for owned in [each for each in self._holds if each.session_id == session_id]:
            stream = self._holds.pop(owned).stream
            if stream is not None:
                stream.cancel()

    def restore(self, upstream_name: str, session_id: str = "") -> None:
        """An upstream is back, or a session's own connection to it: subscribe again to what is still wanted there."""
        for owned, hold in list(self._holds.items()):
            if owned.upstream_name == upstream_name and owned.session_id == session_id and hold.wanted:
                self._later(owned, partial(self._again, owned, hold))

    async def close(self) -> None:
        """Leave everything as it is."""
        await self._tasks.close()

    def _later(self, owned: Owned, work: Callable[[], Awaitable[object]]) -> None:
        self._tasks.spawn(_quietly(work), f"hold {owned.upstream_name}")

    async def _released(self, owned: Owned, hold: _Hold) -> Reply:
        hold.wanted -= 1
        async with hold.turn:
            if hold.wanted:
                return _DONE
            taken, hold.taken = hold.taken, False
            try:
                return await self._unsubscribe(owned, hold) if taken else _DONE
            finally:
                # Known until it is given back: who wants it meanwhile subscribes after that.
                if not hold.wanted and self._holds.get(owned) is hold:
                    del self._holds[owned]

    async def _again(self, owned: Owned, hold: _Hold) -> None:
        async with hold.turn:
            if hold.wanted:
                hold.taken = False
                await self._subscribe(owned, hold, {"uri": Raw(rewrite.encode_text(owned.uri))}, ON_BEHALF)

    async def _supervisor(self, owned: Owned) -> Supervisor:
        shared = self._fleet.get(owned.upstream_name)
        if not owned.session_id or (owned.session_id == OF_SESSIONS and shared.isolated):
            return shared
        return await self._fleet.own(owned.upstream_name, owned.session_id)

    async def _subscribe(self, owned: Owned, hold: _Hold, params: rewrite.Members, caller: meta.Caller) -> Reply:
        supervisor = await self._supervisor(owned)
        connection = supervisor.connection
        if connection is not None and connection.era is Era.STATELESS:
            reply = await self._listen(owned, hold, connection, caller)
        elif owned.is_task:
            return Reply(error_raw=_unknown(owned))
        else:
            if hold.stream is not None:
                hold.stream.cancel()
                hold.stream = None
            reply = await supervisor.request("resources/subscribe", params, caller=caller)
        hold.taken = not reply.error_raw
        return reply

    async def _unsubscribe(self, owned: Owned, hold: _Hold) -> Reply:
        if hold.stream is not None:
            hold.stream.cancel()
            hold.stream = None
            return _DONE
        try:
            supervisor = await self._supervisor(owned)
            params = {"uri": Raw(rewrite.encode_text(owned.uri))}
            return await supervisor.request("resources/unsubscribe", params, caller=ON_BEHALF)
        except HubError:
            return _DONE  # it is gone, and the subscription with it

    async def _listen(self, owned: Owned, hold: _Hold, connection: Connection, caller: meta.Caller) -> Reply:
        """Subscribe at a stateless upstream: the request lasts as long as the subscription does (2026-07-28 basic/
        patterns/subscriptions)."""
        if hold.stream is not None:
            hold.stream.cancel()
        listening = _Listening(owned)
        hold.stream = self._tasks.spawn(_keep(connection, listening, caller), f"listen {owned.upstream_name}")
        done, _ = await asyncio.wait((listening.answered,), timeout=_ACKNOWLEDGE_S)
        if not done:
            raise UpstreamTimeout(f"{owned.upstream_name}: it does not acknowledge a subscription")
        outcome = listening.answered.result()
        if isinstance(outcome, HubError):
            raise outcome
        return outcome


class _Listening:
    """Hears the first thing a stateless upstream says to one `subscriptions/listen`. What it tells of the subject goes
    the way of everything unasked."""

    def __init__(self, owned: Owned) -> None:
        self.owned = owned
        self.answered: asyncio.Future[Reply | HubError] = asyncio.get_running_loop().create_future()

    @property
    def params(self) -> rewrite.Members:
        """What is asked of the upstream."""
        word = "taskIds" if self.owned.is_task else "resourceSubscriptions"
        return {"notifications": Raw(msgspec.json.encode({word: [self.owned.uri]}))}

    @property
    def session_id(self) -> str:
        """None: it is the hub's own."""
        return ""

    @property
    def whole(self) -> Listener:
        """Itself."""
        return self

    def relay(self, message: Message) -> None:
        """Take the acknowledgement: what it leaves out the upstream does not honour (§Acknowledgment)."""
        if message.method == ACKNOWLEDGED:
            honoured = _honoured(message, "taskIds" if self.owned.is_task else "resourceSubscriptions")
            self.settle(_DONE if self.owned.uri in honoured else Reply(error_raw=_unknown(self.owned)))

    def ask(self, message: Message, answer: Answer) -> None:
        """A stateless upstream sends no requests (2026-07-28 transports §Receiving Messages)."""

    @property
    def is_acknowledged(self) -> bool:
        """Whether the upstream has honoured the subscription."""
        return self.answered.done() and self.answered.result() == _DONE

    def settle(self, outcome: Reply | HubError) -> None:
        """Set how the subscription was answered; the first answer stands."""
        if not self.answered.done():
            self.answered.set_result(outcome)


async def _keep(connection: Connection, listening: _Listening, caller: meta.Caller) -> None:
    """Hold the stream open, and open it again where it breaks while the connection lives; once it was acknowledged,
    also where that is refused for now."""
    loop = asyncio.get_running_loop()
    pause = Backoff(1.0, 30.0, random.random)
    while connection.gone is None:
        opened_s = loop.time()
        try:
            reply = await connection.request(
                "subscriptions/listen", listening.params, caller=caller, timeout_s=None, listener=listening
            )
        except UpstreamError as fault:
            listening.settle(fault)
        else:
            if reply.error_raw and not listening.is_acknowledged:
                listening.settle(reply)
                return
            listening.settle(Reply(error_raw=_unknown(listening.owned)))  # ended before it was acknowledged
        if loop.time() - opened_s >= _STEADY_S:
            pause.reset()
        await asyncio.sleep(pause.next_s())
    listening.settle(UpstreamDown(connection.gone))


async def _quietly(work: Callable[[], Awaitable[object]]) -> None:
    """A fault is the supervisor's to tell; what is still wanted is subscribed again when the upstream is back."""
    try:
        await work()
    except HubError:
        return


def _honoured(message: Message, word: str) -> list[str]:
    try:
        filters = rewrite.members(rewrite.members(message.params).get("notifications", Raw(b"{}")))
        return msgspec.json.decode(filters.get(word, b"[]"), type=list[str])
    except msgspec.MsgspecError:
        return []


def _unknown(owned: Owned) -> bytes:
    if owned.is_task:
        return error_object(RESOURCE_NOT_FOUND_HANDSHAKE, f"No status is told of the task {owned.uri}")
    text = f"{owned.upstream_name} tells no updates of {owned.uri}"
    return error_object(RESOURCE_NOT_FOUND_HANDSHAKE, text, {"uri": owned.uri})
