"""Handles of long-running tasks: they carry their server, so that any replica routes a poll to it.

Owns the public form of a task id, `safe(upstream)__id`, and its way back. Among replicas it is
`safe(upstream)__~replica~id` where the server knows a task by the connection it was made on: it is asked there.
Sources: 2025-11-25 basic/utilities/tasks, and the `io.modelcontextprotocol/tasks` extension of 2026-07-28. Does not
know what a task is doing.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from msgspec import Raw

from hub_gateway.catalog.names import DELIMITER
from hub_gateway.errors import CallerError, HubError
from hub_gateway.exposure.current import Current
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.routing.held import MissingCapability, declared
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.message import Message
from hub_gateway.wire.revisions import Era

_MARK = re.compile(r"^~([0-9a-f]{8})~")

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"

MAX_OWNERS = 10_000
"""Tasks whose session is remembered for status notifications; the oldest is forgotten first, and polls work without."""

MAX_EARLY = 256
"""Statuses kept that came before the answer that made their task: a stdio server may write both at once."""


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
    """Routes `tasks/*` and dresses task ids. Remembers which session started what, for notifications alone."""

    def __init__(self, fleet: Fleet, current: Current) -> None:
        self._fleet = fleet
        self._current = current
        self.replica = ""
        """The id of this process where it has replicas."""
        self._owners: dict[str, Session] = {}
        self._early: dict[str, bytes] = {}

    def created(self, exchange: Exchange, upstream_name: str, result_raw: bytes) -> bytes:
        """Return a call's result with public ids where it created a task; any other result as it is."""
        if result_raw.find(b'"taskId"') < 0:  # `in` makes an exception on its way, for bytes
            return result_raw
        members = rewrite.members(result_raw)
        if rewrite.text(members.get("resultType")) == "task":
            return self.public(upstream_name, result_raw, exchange.session)
        if "task" in exchange.params and "task" in members:
            task_raw = self.public(upstream_name, members["task"], exchange.session)
            return rewrite.replaced(result_raw, "task", task_raw)
        return result_raw

    async def forward(self, exchange: Exchange) -> Response:
        """Answer `tasks/get`, `tasks/result`, `tasks/update` and `tasks/cancel`: the handle says who is asked.

        Raises:
            MissingCapability: the client does not declare the extension.
            CallerError: the handle names no upstream.
        """
        needs_extension(exchange)
        task_id = exchange.text("taskId")
        owner = self.owner(task_id)
        shown = self._current.of(exchange.view_name).allowed.upstreams
        if owner is None or owner[0] not in shown or not self._is_of(task_id, exchange.view_name):
            raise CallerError(f"Unknown task: {task_id}")
        upstream_name, local_id = owner
        gone = self._made_by(task_id) not in ("", self.replica)
        if gone and self._fleet.get(upstream_name).is_stdio:
            raise CallerError(f"Unknown task: {task_id}: the replica whose server ran it is gone")
        params = {**exchange.params, "taskId": Raw(rewrite.encode_text(local_id))}
        supervisor = self._fleet.get(upstream_name)
        if exchange.session is not None and supervisor.isolated:
            supervisor = self._fleet.own_if_there(upstream_name, exchange.session.id)
        reply = await supervisor.request(
            exchange.message.method,
            params,
            caller=exchange.caller,
            listener=exchange,
            progress_token_raw=exchange.progress_token_raw,
            name=local_id,
        )
        if reply.error_raw:
            return exchange.error(reply.error_raw)
        return exchange.result(self.public(upstream_name, reply.result_raw, exchange.session))

    def owner(self, task_id: str) -> tuple[str, str] | None:
        """The upstream a handle names, and the task's id there; None where it names none."""
        split = self._current.exposure.catalog.split_prefix(task_id)
        return None if split is None else (split[0], _MARK.sub("", split[1]))

    def elsewhere(self, exchange: Exchange) -> str | None:
        """The replica to ask about the task of a request; None where it is this one, or any."""
        replica = self._made_by(rewrite.text(exchange.params.get("taskId")) or "")
        return replica if replica not in ("", self.replica) else None

    async def list_all(self, exchange: Exchange) -> Response:
        """Answer `tasks/list` of 2025-11-25 with the tasks of every upstream that lists them, on one page.

        An upstream that fails is left out: its tasks are still found by their handles. So are, where there are views,
        those of sessions that ended: whose they were nobody knows.
        """
        shown = self._current.of(exchange.view_name).allowed.upstreams
        able = [
            supervisor
            for supervisor in self._fleet.supervisors.values()
            if supervisor.name in shown
            and supervisor.connection is not None
            and supervisor.connection.era is Era.HANDSHAKE
            and "list" in (supervisor.connection.capabilities.get("tasks") or {})
        ]
        pages = await asyncio.gather(*(self._tasks_of(exchange, supervisor.name) for supervisor in able))
        unknown = not self._current.named
        tasks = [
            task_raw
            for page in pages
            for task_id, task_raw in page
            if self._is_of(task_id, exchange.view_name, unknown=unknown)
        ]
        return exchange.result(b'{"tasks":[' + b",".join(tasks) + b"]}")

    def status(self, upstream_name: str, message: Message) -> None:
        """Pass a task's status notification to the session that started it."""
        params = self.public(upstream_name, message.params, None)
        task_id = rewrite.text(rewrite.members(params).get("taskId")) or ""
        told = codec.notification(message.method, params)
        if (owner := self._owners.get(task_id)) is not None:
            owner.tell(told)
            return
        self._early[task_id] = told
        if len(self._early) > MAX_EARLY:
            del self._early[next(iter(self._early))]

    def forget(self, session: Session) -> None:
        """A session ended; polls of its tasks go on working from any other."""
        self._owners = {task_id: owner for task_id, owner in self._owners.items() if owner is not session}

    def public(self, upstream_name: str, object_raw: bytes | Raw, owner: Session | None) -> bytes:
        """Return an object with the ids of its task, and of the task it is related to, made public."""
        prefix = self._prefix(upstream_name)
        members = rewrite.members(object_raw)
        changed: dict[str, bytes | Raw] = {**members}
        if (local_id := rewrite.text(members.get("taskId"))) is not None:
            changed["taskId"] = rewrite.encode_text(prefix + local_id)
            if owner is not None:
                self._remember(prefix + local_id, owner)
        if "_meta" in members:
            meta = rewrite.members(members["_meta"])
            if RELATED in meta and (local_id := rewrite.text(rewrite.members(meta[RELATED]).get("taskId"))) is not None:
                related = rewrite.replaced(meta[RELATED], "taskId", rewrite.encode_text(prefix + local_id))
                changed["_meta"] = rewrite.replaced(members["_meta"], RELATED, related)
        return rewrite.join(changed)

    def _prefix(self, upstream_name: str) -> str:
        prefix = self._current.exposure.catalog.own_prefixes.get(upstream_name, upstream_name) + DELIMITER
        supervisor = self._fleet.supervisors.get(upstream_name)
        if not self.replica or supervisor is None:
            return prefix
        connection = supervisor.connection
        bound = supervisor.is_stdio or (connection is not None and connection.era is Era.HANDSHAKE)
        return f"{prefix}~{self.replica}~" if bound else prefix

    def _made_by(self, task_id: str) -> str:
        split = self._current.exposure.catalog.split_prefix(task_id)
        found = None if split is None else _MARK.match(split[1])
        return "" if found is None else found[1]

    def _is_of(self, task_id: str, view_name: str, *, unknown: bool = True) -> bool:
        """Whether who asks for this view may hear of a task: one that was made in another may be of a tool that this
        one hides. `unknown` is the answer for a task whose session is not known."""
        owner = self._owners.get(task_id)
        return unknown if owner is None else owner.view_name == view_name

    async def _tasks_of(self, exchange: Exchange, upstream_name: str) -> list[tuple[str, bytes]]:
        """The public ids and the tasks of one upstream."""
        found: list[tuple[str, bytes]] = []
        params: rewrite.Members = {}
        try:
            while True:
                reply = await self._fleet.get(upstream_name).request("tasks/list", params, caller=exchange.caller)
                page = rewrite.members(reply.result_raw)
                tasks = rewrite.items(page.get("tasks", Raw(b"[]")))
                public = [self.public(upstream_name, task, None) for task in tasks]
                found += [(rewrite.text(rewrite.members(task).get("taskId")) or "", task) for task in public]
                cursor = page.get("nextCursor")
                if cursor is None or not tasks:
                    return found
                params = {"cursor": cursor}
        except (HubError, msgspec.MsgspecError):
            return found

    def _remember(self, task_id: str, owner: Session) -> None:
        self._owners[task_id] = owner
        if (told := self._early.pop(task_id, None)) is not None:
            owner.tell(told)
        while len(self._owners) > MAX_OWNERS:
            del self._owners[next(iter(self._owners))]
