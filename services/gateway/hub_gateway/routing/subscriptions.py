"""What clients want to be told of: changed lists, updated resources and the states of tasks, in the words of both eras.

`resources/subscribe` and `resources/unsubscribe` of a session, `subscriptions/listen` of a stateless client (2026-07-28
basic/patterns/subscriptions; SEP-2663 for tasks). Upstreams are subscribed to by `holds`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

import msgspec

from hub_common.tasks import Tasks
from hub_gateway.errors import CallerError, HubError, UnknownEntry
from hub_gateway.exposure.view import View
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.exchange import Bound, ElsewhereAnswer, Exchange, Response
from hub_gateway.routing.holds import Holds, Owned
from hub_gateway.routing.listening import Far, Listening, wanted
from hub_gateway.routing.task_handles import needs_extension
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.inbound import TASKS
from hub_gateway.upstreams.pending import Reply
from hub_gateway.upstreams.second_links import OF_SESSIONS
from hub_gateway.wire import codec, meta, rewrite
from hub_gateway.wire.message import Message

ACKNOWLEDGE_S = 5.0
"""How long an acknowledgement waits for the upstreams': what one has not answered by then is taken for honoured."""


_log = logging.getLogger(__name__)

_PARTS = frozenset("/?#")
"""What stands between a resource's URI and that of a part of it."""


class Subscriptions:
    """Who wants to be told of what.

    Args:
        fleet: whose servers are subscribed to.
        calls: what each client may see.
        kept: keeps what a session subscribed to.
        answer: the way to other replicas.
    """

    def __init__(
        self, fleet: Fleet, calls: Calls, kept: Callable[[Session], Awaitable[None]], answer: ElsewhereAnswer
    ) -> None:
        self._fleet = fleet
        self._answer = answer
        self._kept = kept
        self._calls = calls
        self._holds = Holds(fleet)
        self._listening: set[Listening] = set()
        self._sessions: dict[Session, dict[str, Owned]] = {}
        self._unowned: set[Session] = set()
        self._tasks = Tasks("subscriptions")

    async def listen(self, exchange: Exchange) -> Response:
        """Answer `subscriptions/listen`: acknowledge, then tell until the client goes or the hub stops."""
        asked = wanted(exchange)
        if exchange.outlet is None:
            raise CallerError("subscriptions/listen needs a stream: accept text/event-stream")
        if asked.taskIds:
            needs_extension(exchange)
        listening = Listening(exchange, asked)
        view, handles = self._calls.view(exchange), self._calls.handles
        wishes = {
            uri: [Owned(*owner) for owner in self._calls.owners(view, uri)] for uri in asked.resourceSubscriptions
        }
        far: dict[str, list[str]] = {}
        owners: dict[str, tuple[str, str] | None] = {}
        for task_id in asked.taskIds:
            owners[task_id] = handles.owner(exchange, task_id)
            replica = handles.replica_of(task_id)
            if owners[task_id] is not None and replica is not None:
                owners[task_id] = None  # here that id would be another task of another process
                far.setdefault(replica, []).append(task_id)
        wishes |= {task_id: [Owned(*owner, is_task=True)] for task_id, owner in owners.items() if owner is not None}
        self._listening.add(listening)
        takes = [
            self._tasks.spawn(self._taken(listening, subject, owned), "take")
            for subject, owned in wishes.items()
            if owned
        ]
        there = [Far(listening, task_ids) for task_ids in far.values()]
        tells = [
            self._tasks.spawn(self._told_by(replica, each), "far") for replica, each in zip(far, there, strict=True)
        ]
        try:
            if takes or there:
                await asyncio.wait((*takes, *(each.acknowledged for each in there)), timeout=ACKNOWLEDGE_S)
            listening.acknowledge()
            await listening.ended
        finally:
            self._listening.discard(listening)
            for telling in tells:
                telling.cancel()
            for taking in takes:
                if not taking.cancel() and not taking.cancelled() and (owned := taking.result()) is not None:
                    self._holds.drop(owned)
        return exchange.result(b'{"resultType":"complete","_meta":' + listening.meta_raw + b"}")

    async def subscribe(self, exchange: Exchange) -> Response:
        """Answer `resources/subscribe` of a session with what its upstream says."""
        uri = exchange.text("uri")
        bound = exchange.bound
        if bound is None:
            owners = self._calls.owners(self._calls.view(exchange), uri)
        else:
            owners = [(bound.upstream_name, bound.local_name or uri)]
        if not owners or exchange.session is None:
            raise UnknownEntry(f"Unknown resource: {uri}")
        refusal: Response | None = None
        for owner in owners:
            if self._fleet.get(owner[0]).isolated:
                response = await self._calls.homes.answered(exchange, Bound(*owner), exchange.params)
                if response is not None:
                    return response
            reply = await self._subscribed(exchange, exchange.session, uri, self._owned(owner, exchange.session))
            if not reply.error_raw:
                exchange.session.subscribed.add(uri)
                await self._kept(exchange.session)
                return exchange.result(reply.result_raw)
            refusal = refusal or exchange.error(reply.error_raw)
        assert refusal is not None
        return refusal

    async def unsubscribe(self, exchange: Exchange) -> Response:
        """Answer `resources/unsubscribe` of a session; what was not subscribed is no error."""
        if exchange.session is None:
            return exchange.result(b"{}")
        uri = exchange.text("uri")
        exchange.session.subscribed.discard(uri)
        await self._kept(exchange.session)
        owned = self._sessions.get(exchange.session, {}).pop(uri, None)
        reply = None if owned is None else await self._holds.give_back(owned)
        if reply is not None and reply.error_raw:
            return exchange.error(reply.error_raw)
        return exchange.result(b"{}" if reply is None else reply.result_raw)

    def unwanted(self, session: Session, uris: Iterable[str]) -> None:
        """A session unsubscribed from these, on another replica."""
        known = self._sessions.get(session, {})
        for uri in uris:
            if (owned := known.pop(uri, None)) is not None:
                self._holds.drop(owned)

    def revive(self, session: Session) -> None:
        """A session goes on in this process: subscribe to what it had subscribed to, now or when its server is back."""
        view = self._calls.session_view(session)
        known = self._sessions.setdefault(session, {})
        for uri in session.subscribed - known.keys():
            if owners := self._calls.owners(view, uri):
                owned = known[uri] = self._owned(owners[0], session)
                self._tasks.spawn(self._taken_again(owned), f"revive {owned.upstream_name}")
            else:
                self._unowned.add(session)

    def moved(self, session: Session, upstream_name: str) -> None:
        """A session's own connection comes to this replica, and knows nothing of what was subscribed to on the old
        one."""
        for owned in self._sessions.get(session, {}).values():
            if owned.session_id and owned.upstream_name == upstream_name:
                self._tasks.spawn(self._taken_again(owned), f"moved {upstream_name}")

    def swapped(self) -> None:
        """The lists are others now: a resource of a revived session may have its owner back."""
        unowned, self._unowned = self._unowned, set()
        for session in unowned:
            self.revive(session)

    def forget(self, session: Session) -> None:
        """A session ended: what only it wanted is given back. Its own connections end with it."""
        self._unowned.discard(session)
        for owned in self._sessions.pop(session, {}).values():
            if owned.session_id in ("", OF_SESSIONS):
                self._holds.drop(owned)
        self._holds.end_session(session.id)

    def end(self, view_names: Collection[str]) -> None:
        """End the listening streams of these views: nobody may have them any more."""
        for listening in list(self._listening):
            if listening.exchange.view_name in view_names and not listening.ended.done():
                listening.ended.set_result(None)

    def list_changed(self, capability: str, view_name: str = "") -> None:
        """Tell every stateless listener of that view that asked for it."""
        for listening in list(self._listening):
            if capability in listening.capabilities and listening.exchange.view_name == view_name:
                listening.tell(f"notifications/{capability}/list_changed", {})

    def updated(self, upstream_name: str, message: Message, session_id: str = "") -> None:
        """Pass `notifications/resources/updated` to whoever subscribed, under the URI they asked with. With
        `session_id` it came on that session's own connection, or on the one that sessions share."""
        heard = self._heard(upstream_name, session_id)
        members = meta.retagged(rewrite.members(message.params), b"")
        told = rewrite.text(members.get("uri")) or ""
        for session, uris in list(self._sessions.items()):
            for uri, part in _matching(uris, upstream_name, told, heard):
                if self._sees(self._calls.session_view(session), upstream_name, uri, uri + part):
                    params = {**members, "uri": msgspec.Raw(rewrite.encode_text(uri + part))}
                    session.tell(codec.notification(message.method, rewrite.join(params)))
        for listening in list(self._listening):
            for uri, part in _matching(listening.subjects, upstream_name, told, heard):
                if self._sees(self._calls.view(listening.exchange), upstream_name, uri, uri + part):
                    listening.tell(message.method, {**members, "uri": msgspec.Raw(rewrite.encode_text(uri + part))})

    def task_told(self, upstream_name: str, message: Message) -> None:
        """Pass `notifications/tasks` to whoever listens for that task, under its handle (SEP-2663 §Task Status
        Notifications)."""
        members = rewrite.members(message.params)
        owned = Owned(upstream_name, rewrite.text(members.get("taskId")) or "", is_task=True)
        public = rewrite.members(self._calls.handles.public(upstream_name, message.params, ""))
        for listening in list(self._listening):
            for handle in (handle for handle, owner in listening.subjects.items() if owner == owned):
                listening.tell(TASKS, {**public, "taskId": msgspec.Raw(rewrite.encode_text(handle))})

    def restore(self, upstream_name: str, session_id: str = "") -> None:
        """An upstream is back, or a session's own connection to it: subscribe again to what is still wanted there."""
        for each in self._heard(upstream_name, session_id):
            self._holds.restore(upstream_name, each)

    async def close(self) -> None:
        """End every listening stream with its result."""
        for listening in list(self._listening):
            if not listening.ended.done():
                listening.ended.set_result(None)
        await self._tasks.close()
        await self._holds.close()

    def _heard(self, upstream_name: str, session_id: str) -> tuple[str, ...]:
        """Whose subscriptions are held where those of this one are."""
        supervisor = None if session_id else self._fleet.supervisors.get(upstream_name)
        if supervisor is None or self._fleet.for_sessions(supervisor) is not supervisor:
            return (session_id,)
        return ("", OF_SESSIONS)

    def _sees(self, view: View, upstream_name: str, *uris: str) -> bool:
        """Whether who subscribed may still read all these; nothing hides what the catalog has nothing of."""
        owners = [{name for name, _ in self._calls.owners(view, uri)} for uri in set(uris)]
        if all(upstream_name in names for names in owners):
            return True
        return not any(entry.upstream_name == upstream_name for entry in view.catalog.entries)

    def _owned(self, owner: tuple[str, str], session: Session) -> Owned:
        supervisor = self._fleet.get(owner[0])
        if not supervisor.apart:
            return Owned(*owner)
        return Owned(*owner, session.id if supervisor.isolated else OF_SESSIONS)

    async def _subscribed(self, exchange: Exchange, session: Session, uri: str, owned: Owned) -> Reply:
        """Subscribe for a session. It is listed at once: an update may come with the answer."""
        known = self._sessions.setdefault(session, {})
        first = known.setdefault(uri, owned) is owned
        params = {**exchange.params, "uri": msgspec.Raw(rewrite.encode_text(owned.uri))}
        try:
            reply = await self._holds.take(owned, params, exchange.caller)
        except BaseException as fault:
            if isinstance(fault, HubError):
                self._holds.drop(owned)
            if first:
                known.pop(uri, None)
            raise
        if reply.error_raw and first:
            known.pop(uri, None)
        elif not (reply.error_raw or first):
            self._holds.drop(owned)  # it had subscribed before
        return reply

    async def _told_by(self, replica: str, far: Far) -> None:
        """Have another replica tell of its tasks for as long as the client listens, or as that replica lives."""
        try:
            await self._answer(far.exchange, replica, None, far.params)
        except HubError as fault:
            _log.debug("the tasks of replica %s are not told of: %s", replica, fault)
        finally:
            far.over()

    async def _taken(self, listening: Listening, subject: str, wishes: list[Owned]) -> Owned | None:
        """Take what a listener wants from whoever honours it; what all refuse is not acknowledged."""
        for owned in wishes:
            listening.subjects[subject] = owned
            params = {"uri": msgspec.Raw(rewrite.encode_text(owned.uri))}
            try:
                reply = await self._holds.take(owned, params, listening.exchange.caller)
            except HubError:
                return owned  # it is told again when it is back
            if not reply.error_raw:
                return owned
        listening.subjects.pop(subject, None)
        return None

    async def _taken_again(self, owned: Owned) -> None:
        is_own = owned.session_id not in ("", OF_SESSIONS)
        if is_own and not await self._calls.homes.is_here(owned.session_id, owned.upstream_name):
            return  # its home keeps it
        try:
            await self._holds.take(owned, {"uri": msgspec.Raw(rewrite.encode_text(owned.uri))})
        except HubError:
            return  # it is told again when it is back


def _matching(
    subjects: dict[str, Owned], upstream_name: str, told: str, heard: tuple[str, ...]
) -> list[tuple[str, str]]:
    """The public URIs, among those subscribed to, that an update of an upstream's URI is to be told under, each with
    what is to follow it.

    What an upstream tells may be a sub-resource of what was subscribed to (2025-11-25 schema,
    ResourceUpdatedNotificationParams); then it is told as it is.
    """
    own = [
        (uri, each.uri)
        for uri, each in subjects.items()
        if each.upstream_name == upstream_name and each.session_id in heard and not each.is_task
    ]
    if exact := [(uri, "") for uri, local in own if local == told]:
        return exact
    below = [(uri, told[len(local) :]) for uri, local in own if local and told.startswith(local)]
    return [(uri, rest) for uri, rest in below if uri[-1:] in _PARTS or rest[:1] in _PARTS][:1]
