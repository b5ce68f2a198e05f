"""The tasks of the raw server: 2025-11-25 tasks and the `io.modelcontextprotocol/tasks` extension of 2026-07-28.

Owns their states and the exact bytes of what is said of them. A task works until it is asked for its result
(handshake), or given its input (stateless); then it is completed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

EXTENSION: Final = "io.modelcontextprotocol/tasks"
CAPABILITY: Final = b'"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}'
EXTENSIONS: Final = b'"extensions":{"io.modelcontextprotocol/tasks":{}}'
MORE: Final = b'"x-n":1E5'
"""A member nobody knows, in a form no encoder would choose."""

Params = dict[str, msgspec.Raw]


@dataclass
class Tasks:
    """Every task of one server by id."""

    states: dict[str, str] = field(default_factory=dict[str, str])
    inputs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    listeners: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """The ids of the `subscriptions/listen` requests that want to hear of a task, by the task's id."""

    def create(self, params: Params, *, modern: bool) -> bytes | None:
        """The members of the result that says that a task was made; None where the client wants none."""
        declared = b"" if "_meta" not in params else bytes(params["_meta"])
        if (EXTENSION.encode() not in declared) if modern else ("task" not in params):
            return None
        task_id = f"task/{len(self.states) + 1}"
        self.states[task_id] = "working"
        task = self._told(task_id, modern=modern)
        return b'"resultType":"task",' + task if modern else b'"task":{%b},"x-beside":{"taskId":"not an id"}' % task

    def status(self, task_id: str) -> bytes:
        """The notification that tells the state of a task (2025-11-25)."""
        params = b"{" + self._told(task_id, modern=False) + b"}"
        return b'{"jsonrpc":"2.0","method":"notifications/tasks/status","params":' + params + b"}"

    def listen(self, request_id: bytes, params: Params) -> bytes:
        """The acknowledgement of a `subscriptions/listen`, which honours the tasks there are."""
        wanted = msgspec.json.decode(params["notifications"], type=dict[str, Any]).get("taskIds", [])
        honoured = [task_id for task_id in wanted if task_id in self.states]
        self.listeners |= dict.fromkeys(honoured, request_id)
        return _told_to(
            request_id, "subscriptions/acknowledged", b'"notifications":{"taskIds":%b}' % msgspec.json.encode(honoured)
        )

    def news(self, task_id: str) -> bytes:
        """What who listens for a task is told now; empty where nobody does."""
        request_id = self.listeners.get(task_id)
        return b"" if request_id is None else _told_to(request_id, "tasks", self._told(task_id, modern=True))

    def answer(self, method: str, params: Params, *, modern: bool) -> bytes | None:
        """The members of the result of a `tasks/` method; None where no such task is known."""
        if method == "tasks/list":
            tasks = b",".join(b"{%b}" % self._told(task_id, modern=False) for task_id in self.states)
            return b'"tasks":[' + tasks + b"]"
        task_id = str(msgspec.json.decode(params.get("taskId", msgspec.Raw(b'""'))))
        if task_id not in self.states:
            return None
        if method == "tasks/cancel":
            self.states[task_id] = "cancelled"
            return MORE if modern else self._told(task_id, modern=False)
        if method == "tasks/update":
            self.inputs[task_id] = bytes(params.get("inputResponses", b"{}"))
            self.states[task_id] = "completed"
            return MORE
        if method == "tasks/result":
            self.states[task_id] = "completed"
            related = b'{"io.modelcontextprotocol\\/related-task":{"taskId":"%b",%b},%b}' % (
                task_id.encode(),
                MORE,
                MORE,
            )
            return b'"content":[{"type":"text","text":"done"}],"_meta":' + related
        return self._told(task_id, modern=modern)

    def _told(self, task_id: str, *, modern: bool) -> bytes:
        """The members of a task."""
        times = b'"createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z"'
        limits = b'"ttlMs":60000,"pollIntervalMs":50' if modern else b'"ttl":60000,"pollInterval":50'
        head = b'"taskId":"%b","status":"%b"' % (task_id.encode(), self.states[task_id].encode())
        done = b""
        if modern and self.states[task_id] == "completed":
            done = b',"result":{"content":[{"type":"text","text":"done"}],"input":%b}' % self.inputs.get(task_id, b"{}")
        return b",".join((MORE, head, times, limits)) + done


def _told_to(request_id: bytes, word: str, members: bytes) -> bytes:
    """A notification on the stream of one `subscriptions/listen`."""
    meta = b'"_meta":{"io.modelcontextprotocol/subscriptionId":%b}' % request_id
    return b'{"jsonrpc":"2.0","method":"notifications/%b","params":{%b,%b}}' % (word.encode(), meta, members)
