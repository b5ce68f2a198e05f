"""Long-running tasks: whatever is asked of one is asked of its server, on whatever replica, by who may ask.

Owns the ways of `tasks/*`, and which session made what, for all that is told of a task unasked. The form of a handle is
`task_ids`'. Sources: 2025-11-25 basic/utilities/tasks, and the `io.modelcontextprotocol/tasks` extension of 2026-07-28.
Does not know what a task is doing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from hub_common.store import Store, StoreUnavailable
from hub_common.tasks import Tasks
from hub_gateway.errors import CallerError, HubError
from hub_gateway.exposure.current import Current
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.routing.held import MissingCapability, declared
from hub_gateway.routing.owners import StandingClient
from hub_gateway.routing.task_ids import TaskIds
from hub_gateway.routing.translate import error_for, result_for
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.pages import pages
from hub_gateway.upstreams.pending import Answer, Listener, Reply
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.capabilities import TASKS
from hub_gateway.wire.message import Message
from hub_gateway.wire.meta import RELATED_TASK, RELATED_TASK_END
from hub_gateway.wire.revisions import Era

EXTENSION = TASKS

MAX_OWNERS = 10_000
"""Tasks whose session is remembered for what is told of them; the oldest is forgotten first, and polls work without."""

MAKERS, MAKERS_KEPT_S = "task-makers", 86_400.0
"""Space of the store: who made a task, for lists alone, since handles carry it; and how long that is known."""

MAX_EARLY = 256
"""Statuses kept that came before the answer that made their task: a stdio server may write both at once."""

RESULT_S = 86_400.0
"""How long the result of a task may be waited for: a server that blocks until the task has ended is not late
(2025-11-25 basic/utilities/tasks §Result Retrieval)."""

_log = logging.getLogger(__name__)

_Task = tuple[str, str]
"""The upstream's name, and the task's id there."""


class _Owner(NamedTuple):
    session: Session
    requestor: str


class TaskCall:
    """Hears the upstream during a call that may become a task, and of the task ever after: then on the standing stream
    of its client. Implements `upstreams.pending.Listener`."""

    def __init__(self, exchange: Exchange, session: Session) -> None:
        self._exchange: Exchange | None = exchange
        self._session = session

    def end(self) -> None:
        """The call is answered."""
        self._exchange = None

    @property
    def session_id(self) -> str:
        """The session that called."""
        return self._session.id

    @property
    def whole(self) -> Listener:
        """Who hears now."""
        return StandingClient(self._session) if self._exchange is None else self._exchange.whole

    def relay(self, message: Message) -> None:
        """Pass a notification on."""
        self._now.relay(message)

    def ask(self, message: Message, answer: Answer) -> None:
        """Pass a question on."""
        self._now.ask(message, answer)

    @property
    def _now(self) -> Listener:
        return StandingClient(self._session) if self._exchange is None else self._exchange


def needs_extension(exchange: Exchange) -> None:
    """Check that a client without a session declared the tasks extension.

    Raises:
        MissingCapability: it did not (SEP-2663 §Protocol Errors).
    """
    extensions = declared(exchange).get("extensions")
    if exchange.session is None and not (isinstance(extensions, dict) and EXTENSION in extensions):
        needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MissingCapability(f"The client does not declare the extension {EXTENSION}", needed)


class TaskHandles:
    """Routes `tasks/*` and dresses task ids."""

    def __init__(self, fleet: Fleet, current: Current, ids: TaskIds, store: Store) -> None:
        self._fleet = fleet
        self._store = store
        self._current = current
        self.ids = ids
        self._owners: dict[_Task, _Owner] = {}
        self._early: dict[_Task, Message] = {}
        self._keeping = Tasks("task-makers")

    def created(self, exchange: Exchange, upstream_name: str, result_raw: bytes) -> bytes:
        """Return a call's result with public ids where it created a task; any other result as it is."""
        if result_raw.find(b'"taskId"') < 0:  # `in` makes an exception on its way, for bytes
            return result_raw
        try:
            members = rewrite.members(result_raw)
            task_members = rewrite.members(members.get("task", b"")) if "task" in exchange.params else {}
        except msgspec.MsgspecError:
            return result_raw  # no result of the protocol's, which its client sees
        if rewrite.text(members.get("resultType")) == "task":
            self._remember(exchange, upstream_name, members)
            return self.public(upstream_name, result_raw, exchange.requestor)
        if task_members:
            self._remember(exchange, upstream_name, task_members)
            task_raw = self.public(upstream_name, members["task"], exchange.requestor)
            return rewrite.replaced(result_raw, "task", task_raw)
        return result_raw

    async def forward(self, exchange: Exchange) -> Response:
        """Answer `tasks/get`, `tasks/result`, `tasks/update` and `tasks/cancel`: the handle says who is asked.

        Raises:
            MissingCapability: the client does not declare the extension.
            CallerError: the handle names no upstream, or is not theirs who ask.
        """
        needs_extension(exchange)
        task_id = exchange.text("taskId")
        owner = self.owner(exchange, task_id)
        if owner is None:
            raise CallerError(f"Unknown task: {task_id}")
        upstream_name, local_id = owner
        if self.elsewhere(exchange) is not None and self._fleet.get(upstream_name).is_stdio:
            raise CallerError(f"Unknown task: {task_id}: the replica whose server ran it is gone")
        local_raw = Raw(rewrite.encode_text(local_id))
        self._remember(exchange, upstream_name, {"taskId": local_raw})  # what it asks may come before the answer
        supervisor = self._fleet.get(upstream_name)
        if exchange.session is not None and supervisor.apart:
            supervisor = self._fleet.own_if_there(upstream_name, exchange.session.id)
        method, connection = exchange.message.method, supervisor.connection
        era, info = (exchange.era, b"") if connection is None else (connection.era, connection.server_info_raw)
        reply = await supervisor.request(
            method,
            self.addressed(upstream_name, {**exchange.params, "taskId": local_raw}),
            caller=exchange.caller,
            timeout_s=RESULT_S if method == "tasks/result" else None,
            listener=exchange,
            progress_token_raw=exchange.progress_token_raw,
            name=local_id,
        )
        if reply.error_raw:
            return exchange.error(error_for(exchange.era, era, method, reply.error_raw))
        result_raw = self.public(upstream_name, reply.result_raw, exchange.requestor)
        return exchange.result(result_for(exchange.era, era, method, result_raw, info))

    def owner(self, exchange: Exchange, task_id: str) -> _Task | None:
        """The upstream a handle names, and the task's id there; None where whoever asks has no such task."""
        task = self.ids.read(task_id)
        if task is None or task.upstream_name not in self._current.of(exchange.view_name).allowed.upstreams:
            return None
        return (task.upstream_name, task.local_id) if self.ids.is_of(task, exchange.requestor) else None

    def elsewhere(self, exchange: Exchange) -> str | None:
        """The replica to ask about the task of a request; None where it is this one, or any."""
        return self.replica_of(rewrite.text(exchange.params.get("taskId")) or "")

    def replica_of(self, task_id: str) -> str | None:
        """The other replica that a handle was made on; None where it is this one, or any."""
        task = self.ids.read(task_id)
        return None if task is None or task.replica in ("", self.ids.replica) else task.replica

    async def list_all(self, exchange: Exchange, others: Sequence[Response]) -> Response:
        """Answer `tasks/list` of 2025-11-25 with the tasks of every upstream that lists them, on one page, after what
        other replicas answered of their own processes. To another replica this one answers with those alone.

        What an upstream that fails did not list is left out: those tasks are still found by their handles.
        """
        shown = self._current.of(exchange.view_name).allowed.upstreams
        able = [
            supervisor
            for supervisor in map(self._fleet.for_sessions, self._fleet.supervisors.values())
            if supervisor.name in shown
            and (exchange.bound is None or supervisor.is_stdio)
            and supervisor.connection is not None
            and supervisor.connection.era is Era.HANDSHAKE
            and _lists_tasks(supervisor.connection.capabilities)
        ]
        pages = [_listed(response) for response in others]
        pages += await asyncio.gather(*(self._tasks_of(exchange, supervisor) for supervisor in able))
        return exchange.result(b'{"tasks":[' + b",".join(task_raw for page in pages for task_raw in page) + b"]}")

    async def close(self) -> None:
        """Keep nothing more."""
        await self._keeping.close()

    def status(self, upstream_name: str, message: Message) -> None:
        """Pass a task's status notification to the session that started it."""
        task = (upstream_name, rewrite.text(rewrite.members(message.params).get("taskId")) or "")
        if (owner := self._owners.get(task)) is not None:
            owner.session.tell(
                codec.notification(message.method, self.public(upstream_name, message.params, owner.requestor))
            )
            return
        self._early[task] = Message(method=message.method, params=message.params.copy())
        if len(self._early) > MAX_EARLY:
            del self._early[next(iter(self._early))]

    def forget(self, session: Session) -> None:
        """A session ended; polls of its tasks go on working from any other."""
        self._owners = {task: owner for task, owner in self._owners.items() if owner.session is not session}

    def client_of(self, upstream_name: str, params_raw: bytes | Raw) -> Listener | None:
        """The client that made the task which a message is related to; None where that is not known."""
        local_id = rewrite.text(_related(params_raw).get("taskId"))
        owner = None if local_id is None else self._owners.get((upstream_name, local_id))
        return None if owner is None else StandingClient(owner.session)

    def outward(self, upstream_name: str, object_raw: bytes | Raw) -> bytes | Raw:
        """What an upstream says, related to a task by the handle that its client has."""
        local_id = rewrite.text(_related(object_raw).get("taskId"))
        if local_id is None:
            return object_raw
        owner = self._owners.get((upstream_name, local_id))
        return _relate(object_raw, self.ids.public(upstream_name, local_id, "" if owner is None else owner.requestor))

    def inward(self, upstream_name: str, object_raw: bytes | Raw) -> bytes:
        """What a client says, related to a task by the id that its upstream knows."""
        task = self.ids.read(rewrite.text(_related(object_raw).get("taskId")) or "")
        if task is None or task.upstream_name != upstream_name:
            return bytes(object_raw)
        return _relate(object_raw, task.local_id)

    def addressed(self, upstream_name: str, params: rewrite.Members) -> rewrite.Members:
        """The params of a client's request, as `inward`."""
        meta_raw = params.get("_meta")
        if meta_raw is None or bytes(meta_raw).find(RELATED_TASK_END) < 0:
            return params
        return rewrite.members(self.inward(upstream_name, rewrite.join(params)))

    def public(self, upstream_name: str, object_raw: bytes | Raw, requestor: str) -> bytes:
        """Return an object with the ids of its task, and of the task it is related to, as handles of theirs."""
        members = rewrite.members(object_raw)
        if (local_id := rewrite.text(members.get("taskId"))) is not None:
            public = rewrite.encode_text(self.ids.public(upstream_name, local_id, requestor))
            object_raw = rewrite.join({**members, "taskId": public})
        if (local_id := rewrite.text(_related(object_raw).get("taskId"))) is not None:
            object_raw = _relate(object_raw, self.ids.public(upstream_name, local_id, requestor))
        return bytes(object_raw)

    async def _may_hear(self, exchange: Exchange, tasks: list[_Task]) -> set[_Task]:
        """Those of the tasks that an upstream lists which are theirs who ask. Where there are views, one whose maker is
        not known any more is nobody's."""
        makers = {task: owner.requestor for task in tasks if (owner := self._owners.get(task)) is not None}
        unknown = {_key(task): task for task in tasks if task not in makers}
        if unknown:
            try:
                for key, raw in (await self._store.get_many(MAKERS, unknown)).items():
                    makers[unknown[key]] = raw.decode()
            except StoreUnavailable as fault:
                _log.debug("not heard whose %d tasks are: %s", len(unknown), fault)
        anyone = None if self._current.named else exchange.requestor
        return {task for task in tasks if makers.get(task, anyone) == exchange.requestor}

    async def _tasks_of(self, exchange: Exchange, supervisor: Supervisor) -> list[bytes]:
        """The tasks of one upstream that may be listed: of a session's own connection where it has one. Where a page
        fails, those of the pages before it."""
        found: list[bytes] = []
        upstream_name = supervisor.name
        if supervisor.isolated and exchange.session is not None:
            supervisor = self._fleet.own_if_there(upstream_name, exchange.session.id)

        def ask(params: rewrite.Members) -> Awaitable[Reply]:
            return supervisor.request("tasks/list", params, caller=exchange.caller)

        try:
            async with aclosing(pages(ask, "tasks")) as listed:
                async for page in listed:
                    found += await self._theirs(exchange, upstream_name, page.items)
        except (HubError, msgspec.MsgspecError) as fault:
            _log.debug("%s: not all of its tasks are listed: %s", upstream_name, fault)
        return found

    async def _theirs(self, exchange: Exchange, upstream_name: str, tasks: Sequence[Raw]) -> list[bytes]:
        """Those of the tasks on one page that are theirs who ask, under their handles."""
        named = [(upstream_name, rewrite.text(rewrite.members(each).get("taskId")) or "") for each in tasks]
        theirs = await self._may_hear(exchange, named)
        return [
            self.public(upstream_name, task_raw, exchange.requestor)
            for task, task_raw in zip(named, tasks, strict=True)
            if task in theirs
        ]

    def _remember(self, exchange: Exchange, upstream_name: str, task_members: rewrite.Members) -> None:
        local_id = rewrite.text(task_members.get("taskId"))
        if exchange.session is None or local_id is None:
            return
        task, owner = (upstream_name, local_id), _Owner(exchange.session, exchange.requestor)
        if self._owners.get(task) != owner:
            self._owners[task] = owner
            self._keeping.spawn(self._keep(task, owner.requestor), "keep")
        if (told := self._early.pop(task, None)) is not None:
            self.status(upstream_name, told)
        while len(self._owners) > MAX_OWNERS:
            del self._owners[next(iter(self._owners))]

    async def _keep(self, task: _Task, requestor: str) -> None:
        try:
            await self._store.put(MAKERS, _key(task), requestor.encode(), MAKERS_KEPT_S)
        except StoreUnavailable as fault:
            _log.debug("%s: whose a task is was not kept: %s", task[0], fault)


def _lists_tasks(capabilities: Mapping[str, Any]) -> bool:
    settings: object = capabilities.get("tasks")
    return isinstance(settings, dict) and "list" in settings


def _listed(response: Response) -> list[bytes]:
    """The tasks that another replica lists; none where it could not."""
    if response.error_code is not None:
        return []
    result = rewrite.members(rewrite.members(response.body)["result"])
    return [bytes(task_raw) for task_raw in rewrite.items(result["tasks"])]


def _key(task: _Task) -> str:
    return hashlib.sha256("\0".join(task).encode()).hexdigest()


def _related(object_raw: bytes | Raw) -> rewrite.Members:
    """The members of what ties an object to a task; none where it is tied to none."""
    try:
        meta = rewrite.members(rewrite.members(object_raw).get("_meta", b""))
        return rewrite.members(meta.get(RELATED_TASK, b""))
    except msgspec.MsgspecError:
        return {}


def _relate(object_raw: bytes | Raw, task_id: str) -> bytes:
    """An object that `_related` has found tied, tied to another id."""
    meta_raw = rewrite.members(object_raw)["_meta"]
    related = rewrite.replaced(rewrite.members(meta_raw)[RELATED_TASK], "taskId", rewrite.encode_text(task_id))
    return rewrite.replaced(object_raw, "_meta", rewrite.replaced(meta_raw, RELATED_TASK, related))
