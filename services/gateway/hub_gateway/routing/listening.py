"""One open `subscriptions/listen` of a stateless client: what it wants, and the stream it is told on.

Owns the filter, what of it is honoured, and the order on the stream (2026-07-28 basic/patterns/subscriptions). Does not
know where what is told comes from.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from hub_gateway.errors import CallerError
from hub_gateway.routing.exchange import Exchange
from hub_gateway.routing.holds import Owned
from hub_gateway.upstreams.inbound import ACKNOWLEDGED
from hub_gateway.wire import codec, meta, rewrite


class Wanted(msgspec.Struct):
    """The filter as the client sends it."""

    toolsListChanged: bool = False
    promptsListChanged: bool = False
    resourcesListChanged: bool = False
    resourceSubscriptions: list[str] = []
    taskIds: list[str] = []


def wanted(exchange: Exchange) -> Wanted:
    """What a `subscriptions/listen` asks for.

    Raises:
        CallerError: its params are of another shape (2026-07-28 schema, SubscriptionsListenRequestParams).
    """
    if "notifications" not in exchange.params:
        raise CallerError("Invalid params of subscriptions/listen: notifications is missing")
    try:
        return msgspec.json.decode(exchange.params["notifications"], type=Wanted)
    except msgspec.MsgspecError as fault:
        raise CallerError(f"Invalid params of subscriptions/listen: notifications: {fault}") from fault


class Listening:
    """Its filter, and the exchange whose outlet is the stream."""

    def __init__(self, exchange: Exchange, asked: Wanted) -> None:
        self.exchange = exchange
        self.capabilities = {
            word
            for word, is_asked in (
                ("tools", asked.toolsListChanged),
                ("prompts", asked.promptsListChanged),
                ("resources", asked.resourcesListChanged),
            )
            if is_asked
        }
        self.subjects: dict[str, Owned] = {}
        """Resources and tasks by the URI or handle the client has for them."""
        self.far: list[str] = []
        """Handles of tasks that other replicas tell of."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._early: list[bytes] | None = []

    @property
    def meta_raw(self) -> bytes:
        """The `_meta` that names this subscription in every message on its stream."""
        return b'{"' + meta.SUBSCRIPTION_ID.encode() + b'":' + self.exchange.id_raw + b"}"

    def acknowledge(self) -> None:
        """Say what is honoured; what was to be told before follows now (§Acknowledgment: nothing goes before it)."""
        early, self._early = self._early or [], None
        self.tell(ACKNOWLEDGED, {"notifications": msgspec.Raw(self._honoured())})
        for message in early:
            self.pass_on(message)

    def tell(self, method: str, members: rewrite.Members) -> None:
        """Send a notification on the stream."""
        params = rewrite.join(meta.retagged(members, self.exchange.id_raw))
        self.pass_on(codec.notification(method, params))

    def pass_on(self, message: bytes) -> None:
        """Send a notification that names this subscription already."""
        if self._early is not None:
            self._early.append(message)
        elif self.exchange.outlet is not None:
            self.exchange.outlet(message)

    def _honoured(self) -> bytes:
        honoured: dict[str, Any] = {f"{word}ListChanged": True for word in sorted(self.capabilities)}
        for member, are_tasks in (("resourceSubscriptions", False), ("taskIds", True)):
            found = [subject for subject, owned in self.subjects.items() if owned.is_task is are_tasks]
            if found := [*found, *(self.far if are_tasks else ())]:
                honoured[member] = found
        return msgspec.json.encode(honoured)


class Far:
    """The part of a `subscriptions/listen` that another replica answers: the tasks that it has."""

    def __init__(self, listening: Listening, task_ids: list[str]) -> None:
        self._listening = listening
        self.acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.params: rewrite.Members = {
            **listening.exchange.params,
            "notifications": msgspec.Raw(msgspec.json.encode({"taskIds": task_ids})),
        }
        """What is asked of the other replica."""
        self.exchange = msgspec.structs.replace(listening.exchange, outlet=self._heard)

    def over(self) -> None:
        """The other replica will say no more."""
        if not self.acknowledged.done():
            self.acknowledged.set_result(None)

    def _heard(self, message: bytes) -> None:
        heard = codec.decode(message)
        if heard.method != ACKNOWLEDGED:
            self._listening.pass_on(message)  # the request has the same id there, so it is named already
            return
        honoured = rewrite.members(heard.params).get("notifications", msgspec.Raw(b"{}"))
        self._listening.far += msgspec.json.decode(honoured, type=Wanted).taskIds
        self.over()
