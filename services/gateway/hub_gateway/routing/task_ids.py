"""The public form of a task's id: `safe(upstream)__~replica.seal~id`.

Owns that form and its way back. It carries its server, so that any replica routes a poll to it; the replica where the
server knows a task by the connection it was made on; and a seal for who may use it, so that a handle that was made in
one view, or with one token, is nothing in another, also after a restart (2025-11-25 basic/utilities/tasks §Task
Isolation and Access Control).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hub_gateway.catalog.names import DELIMITER
from hub_gateway.exposure.current import Current
from hub_gateway.routing.seal import Seal
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.wire.revisions import Era

_FORM = re.compile(r"~([0-9a-f]{8})?\.([0-9a-f]{32})~", re.ASCII)


class TaskId(NamedTuple):
    """A handle, taken apart."""

    upstream_name: str
    local_id: str
    """The task's id at the upstream."""
    replica: str
    """The one that has the connection it was made on; "" for any."""
    seal: str


class TaskIds:
    """Makes handles and reads them.

    Args:
        fleet: whose servers the tasks are of.
        current: the prefixes of their names.
        seal: made by all replicas.
    """

    def __init__(self, fleet: Fleet, current: Current, seal: Seal) -> None:
        self._fleet = fleet
        self._current = current
        self._seal = seal
        self.replica = ""
        """The id of this process where it has replicas."""

    def public(self, upstream_name: str, local_id: str, requestor: str) -> str:
        """The handle of an upstream's task for who made it."""
        prefix = self._current.exposure.catalog.own_prefixes.get(upstream_name, upstream_name) + DELIMITER
        replica = self.replica if self._is_bound(upstream_name) else ""
        return f"{prefix}~{replica}.{self._seal.mark(_sealed(upstream_name, local_id, requestor))}~{local_id}"

    def read(self, task_id: str) -> TaskId | None:
        """A handle taken apart; None where it is none."""
        split = self._current.exposure.catalog.split_prefix(task_id)
        found = None if split is None else _FORM.match(split[1])
        if split is None or found is None:
            return None
        return TaskId(split[0], split[1][found.end() :], found[1] or "", found[2])

    def is_of(self, task: TaskId, requestor: str) -> bool:
        """Whether the handle was made for them."""
        return self._seal.is_mark(task.seal, _sealed(task.upstream_name, task.local_id, requestor))

    def _is_bound(self, upstream_name: str) -> bool:
        """Whether the server knows its tasks by the connection they were made on."""
        supervisor = self._fleet.supervisors.get(upstream_name)
        if not self.replica or supervisor is None:
            return False
        connection = supervisor.connection
        if supervisor.is_stdio or supervisor.apart:
            return True
        return connection is not None and connection.era is Era.HANDSHAKE


def _sealed(upstream_name: str, local_id: str, requestor: str) -> str:
    return f"task\0{upstream_name}\0{requestor}\0{local_id}"
