"""What clients want to be told of: changed lists and updated resources, in the words of both eras.

`resources/subscribe` and `resources/unsubscribe` of a session, `subscriptions/listen` of a stateless client (2026-07-28
basic/patterns/subscriptions). An upstream is subscribed to once, however many clients want the same resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from hub_common.tasks import Tasks
from hub_gateway.errors import CallerError, HubError, UnknownEntry
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.handshake import HUB
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire import codec, meta, rewrite
from hub_gateway.wire.message import Message
from hub_gateway.wire.revisions import Era


class Owned(NamedTuple):
    """A resource as its upstream knows it."""

    upstream_name: str
    uri: str
    session_id: str = ""
    """Whose own connection is meant, where the upstream is isolated; else empty."""


class _Wanted(msgspec.Struct):
    toolsListChanged: bool = False
    promptsListChanged: bool = False
    resourcesListChanged: bool = False
    resourceSubscriptions: list[str] = []


class Listening:
    """One open `subscriptions/listen`: its filter, and the exchange whose outlet is the stream."""

    def __init__(self, exchange: Exchange, wanted: _Wanted) -> None:
        self.exchange = exchange
        self.capabilities = {
            word
            for word, asked in (
                ("tools", wanted.toolsListChanged),
                ("prompts", wanted.promptsListChanged),
                ("resources", wanted.resourcesListChanged),
            )
            if asked
        }
        self.uris: dict[str, Owned] = {}
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def meta_raw(self) -> bytes:
        """The `_meta` that names this subscription in every message on its stream."""
        return b'{"' + meta.SUBSCRIPTION_ID.encode() + b'":' + self.exchange.id_raw + b"}"

    def tell(self, method: str, members: dict[str, bytes]) -> None:
        """Send a notification on the stream."""
        if self.exchange.outlet is not None:
            params = rewrite.join({"_meta": self.meta_raw, **members})
            self.exchange.outlet(codec.notification(method, params))


class Subscriptions:
    """Who wants to be told of what."""

    def __init__(self, fleet: Fleet, calls: Calls, kept: Callable[[Session], None]) -> None:
        self._fleet = fleet
        self._kept = kept
        self._calls = calls
        self._listening: set[Listening] = set()
        self._sessions: dict[Session, dict[str, Owned]] = {}
        self._unowned: set[Session] = set()
        self._held: dict[Owned, asyncio.Task[None]] = {}
        self._tasks = Tasks("subscriptions")

    async def listen(self, exchange: Exchange) -> Response:
        """Answer `subscriptions/listen`: acknowledge, then tell until the client goes or the hub stops."""
        try:
            wanted = msgspec.json.decode(exchange.params.get("notifications", b"{}"), type=_Wanted)
        except msgspec.MsgspecError as fault:
            raise CallerError(f"Invalid params of subscriptions/listen: notifications: {fault}") from fault
        if exchange.outlet is None:
            raise CallerError("subscriptions/listen needs a stream: accept text/event-stream")
        listening = Listening(exchange, wanted)
        for uri in wanted.resourceSubscriptions:
            if owners := self._calls.owners(self._calls.view(exchange), uri):
                listening.uris[uri] = Owned(*owners[0])
        self._listening.add(listening)
        try:
            listening.tell("notifications/subscriptions/acknowledged", {"notifications": _honoured(listening)})
            for owned in listening.uris.values():
                self._hold(owned)
            await listening.ended
        finally:
            self._listening.discard(listening)
            self._release(set(listening.uris.values()))
        return exchange.result(b'{"resultType":"complete","_meta":' + listening.meta_raw + b"}")

    async def subscribe(self, exchange: Exchange) -> Response:
        """Answer `resources/subscribe` of a session."""
        uri = exchange.text("uri")
        owners = self._calls.owners(self._calls.view(exchange), uri)
        if not owners or exchange.session is None:
            raise UnknownEntry(f"Unknown resource: {uri}")
        exchange.session.subscribed.add(uri)
        owned = self._sessions.setdefault(exchange.session, {})[uri] = self._owned(owners[0], exchange.session)
        self._hold(owned)
        self._kept(exchange.session)
        return exchange.result(b"{}")

    async def unsubscribe(self, exchange: Exchange) -> Response:
        """Answer `resources/unsubscribe` of a session; what was not subscribed is no error."""
        if exchange.session is not None:
            exchange.session.subscribed.discard(exchange.text("uri"))
            self._kept(exchange.session)
            owned = self._sessions.get(exchange.session, {}).pop(exchange.text("uri"), None)
            if owned is not None:
                self._release({owned})
        return exchange.result(b"{}")

    def revive(self, session: Session) -> None:
        """A session goes on in this process: subscribe to what it had subscribed to, now or when its server is back."""
        view = self._calls.session_view(session)
        known = self._sessions.setdefault(session, {})
        for uri in session.subscribed - known.keys():
            if owners := self._calls.owners(view, uri):
                owned = known[uri] = self._owned(owners[0], session)
                self._hold(owned)
            else:
                self._unowned.add(session)

    def swapped(self) -> None:
        """The lists are others now: a resource of a revived session may have its owner back."""
        unowned, self._unowned = self._unowned, set()
        for session in unowned:
            self.revive(session)

    def forget(self, session: Session) -> None:
        """A session ended: what only it wanted is given back. Its own connections end with it."""
        self._unowned.discard(session)
        owned = set(self._sessions.pop(session, {}).values())
        for own in [each for each in owned if each.session_id]:
            if (task := self._held.pop(own, None)) is not None:
                task.cancel()
        self._release({each for each in owned if not each.session_id})

    def list_changed(self, capability: str) -> None:
        """Tell every stateless listener that asked for it."""
        for listening in list(self._listening):
            if capability in listening.capabilities:
                listening.tell(f"notifications/{capability}/list_changed", {})

    def updated(self, upstream_name: str, message: Message, session_id: str = "") -> None:
        """Pass `notifications/resources/updated` to whoever subscribed, under the URI they asked with. With
        `session_id` it came on that session's own connection."""
        members = rewrite.members(message.params)
        local_uri = rewrite.text(members.get("uri"))
        owned = Owned(upstream_name, local_uri or "", session_id)
        for session, uris in list(self._sessions.items()):
            for uri in (uri for uri, owner in uris.items() if owner == owned):
                params = rewrite.replaced(message.params, "uri", rewrite.encode_text(uri))
                session.tell(codec.notification(message.method, params))
        for listening in list(self._listening):
            for uri in (uri for uri, owner in listening.uris.items() if owner == owned):
                rest = {key: bytes(value) for key, value in members.items() if key not in ("_meta", "uri")}
                listening.tell(message.method, {"uri": rewrite.encode_text(uri), **rest})

    def restore(self, upstream_name: str) -> None:
        """An upstream is back: subscribe again to what its clients still want."""
        for owned, task in list(self._held.items()):
            if owned.upstream_name == upstream_name and not owned.session_id:
                task.cancel()
                self._held[owned] = self._tasks.spawn(self._keep(owned), f"hold {upstream_name}")

    async def close(self) -> None:
        """End every listening stream with its result, and give back every subscription."""
        for listening in list(self._listening):
            if not listening.ended.done():
                listening.ended.set_result(None)
        await self._tasks.close()

    def _owned(self, owner: tuple[str, str], session: Session) -> Owned:
        return Owned(*owner, session.id if self._fleet.get(owner[0]).isolated else "")

    async def _supervisor(self, owned: Owned) -> Supervisor:
        """Who is subscribed at.

        Raises:
            UnknownUpstream, UpstreamBusy, UpstreamDown: as `Fleet.own`.
        """
        if owned.session_id:
            return await self._fleet.own(owned.upstream_name, owned.session_id)
        return self._fleet.get(owned.upstream_name)

    def _hold(self, owned: Owned) -> None:
        if owned not in self._held or self._held[owned].done():
            self._held[owned] = self._tasks.spawn(self._keep(owned), f"hold {owned.upstream_name}")

    def _release(self, given_back: set[Owned]) -> None:
        wanted = {owner for uris in self._sessions.values() for owner in uris.values()}
        wanted |= {owner for listening in self._listening for owner in listening.uris.values()}
        for owned in given_back - wanted:
            if (task := self._held.pop(owned, None)) is not None:
                task.cancel()
                self._tasks.spawn(self._unsubscribe(owned), f"release {owned.upstream_name}")

    async def _keep(self, owned: Owned) -> None:
        """Subscribe at the upstream in its era's words. In the stateless era the request itself is the subscription."""
        uri = owned.uri
        try:
            supervisor = await self._supervisor(owned)
            connection = supervisor.connection
            if connection is not None and connection.era is Era.STATELESS:
                params = rewrite.members(msgspec.json.encode({"notifications": {"resourceSubscriptions": [uri]}}))
                # Not a call: it lasts as long as it is wanted, and takes no place among the calls in flight.
                await connection.request(
                    "subscriptions/listen", params, caller=HUB, timeout_s=None, listener=_Updates(self, owned)
                )
            else:
                params = rewrite.members(msgspec.json.encode({"uri": uri}))
                await supervisor.request("resources/subscribe", params, caller=HUB)
        except HubError:
            return  # the supervisor has logged it, and `restore` tries again when the upstream is back

    async def _unsubscribe(self, owned: Owned) -> None:
        params = rewrite.members(msgspec.json.encode({"uri": owned.uri}))
        try:
            supervisor = await self._supervisor(owned)
            if supervisor.connection is None or supervisor.connection.era is Era.STATELESS:
                return
            await supervisor.request("resources/unsubscribe", params, caller=HUB)
        except HubError:
            return  # gone or refusing: either way it sends no more than can be dropped here


class _Updates:
    """Hears a stateless upstream's own `subscriptions/listen` stream."""

    def __init__(self, subscriptions: Subscriptions, owned: Owned) -> None:
        self._subscriptions = subscriptions
        self._owned = owned

    def relay(self, message: Message) -> None:
        """Take an update to whoever subscribed; the acknowledgement is for the hub alone."""
        if message.method == "notifications/resources/updated":
            self._subscriptions.updated(self._owned.upstream_name, message, self._owned.session_id)

    def ask(self, message: Message, answer: Any) -> None:
        """A stateless upstream sends no requests (2026-07-28 transports §Receiving Messages)."""


def _honoured(listening: Listening) -> bytes:
    honoured: dict[str, Any] = {f"{word}ListChanged": True for word in sorted(listening.capabilities)}
    if listening.uris:
        honoured["resourceSubscriptions"] = list(listening.uris)
    return msgspec.json.encode(honoured)
