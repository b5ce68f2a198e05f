"""What ties the messages of one upstream to clients besides the calls under way: the task they are related to, and what
a client said just before. Implements `upstreams.pending.Ties`.
"""

from __future__ import annotations

import msgspec

from hub_gateway.routing.roots import Roots
from hub_gateway.routing.task_handles import TaskHandles
from hub_gateway.upstreams.pending import Listener
from hub_gateway.wire.message import Message


class UpstreamTies:
    """The ties of the upstream of that name."""

    def __init__(self, upstream_name: str, handles: TaskHandles, roots: Roots) -> None:
        self._name = upstream_name
        self._handles = handles
        self._roots = roots

    def of_task(self, message: Message) -> Listener | None:
        """The client that made the task which a message names, on its standing stream."""
        return self._handles.client_of(self._name, message.params)

    def of_nobody(self, message: Message) -> Listener | None:
        """Who said just before what a question outside any call is about."""
        return self._roots.asked(self._name, message)

    def outward(self, object_raw: bytes | msgspec.Raw) -> bytes | msgspec.Raw:
        """With the handle of the related task in the place of its id."""
        return self._handles.outward(self._name, object_raw)

    def inward(self, object_raw: bytes) -> bytes:
        """With the id of the related task in the place of its handle."""
        return self._handles.inward(self._name, object_raw)
