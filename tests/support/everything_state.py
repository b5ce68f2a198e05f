"""What the everything server remembers while it runs: waiting calls, open conversations and its log threshold.

Owns the process-wide state that tools change and tests observe. Knows nothing of transports or of tool definitions.
"""

import contextlib
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ToolsListChanged

OBSERVE_TIMEOUT_S: Final = 10.0
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


@dataclass
class Gate:
    """One `slow` call that waits to be released; its state only moves forward from `new`."""

    state: str = "new"
    arrived: int = 0
    released: anyio.Event = field(default_factory=anyio.Event)
    changed: anyio.Condition = field(default_factory=anyio.Condition)

    async def move(self, state: str) -> None:
        """Set the state and wake everyone who waits in `reach`."""
        async with self.changed:
            self.state = state
            self.changed.notify_all()

    async def wait(self) -> None:
        """Hold until released; a cancellation of the caller is recorded as the state `cancelled`."""
        await self.move("waiting")
        try:
            await self.released.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.move("cancelled")
            raise
        await self.move("released")

    async def reach(self, state: str) -> str:
        """The state once it equals `state`, or whatever it is when `OBSERVE_TIMEOUT_S` is over."""
        with anyio.move_on_after(OBSERVE_TIMEOUT_S):
            async with self.changed:
                while self.state != state:
                    await self.changed.wait()
        return self.state

    async def meet(self, parties: int) -> None:
        """Hold until `parties` callers are here, so that their calls are certain to overlap."""
        async with self.changed:
            self.arrived += 1
            self.changed.notify_all()
            with anyio.move_on_after(OBSERVE_TIMEOUT_S):
                while self.arrived < parties:
                    await self.changed.wait()


def conversation(ctx: Any) -> str:
    """What tells conversations apart over HTTP; over stdio there is one."""
    return "" if ctx.request is None else str(ctx.request.headers.get("mcp-session-id", ""))


class State:
    """Everything the tools share; one per server process. `name` tells servers with the same tools apart."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bus = InMemorySubscriptionBus()
        self.gates: dict[str, Gate] = {}
        self.sessions: list[ServerSession] = []
        self.subscribed: set[str] = set()
        self.thresholds: dict[str, str] = {}
        """By conversation."""

    def gate(self, key: str) -> Gate:
        """The gate of that key, made on first use."""
        return self.gates.setdefault(key, Gate())

    def logs(self, ctx: Any, level: str) -> bool:
        """Whether a log entry of this level passes the threshold that the conversation set by `logging/setLevel`."""
        return LEVELS.index(level) >= LEVELS.index(self.thresholds.get(conversation(ctx), "debug"))

    async def joined(self, ctx: Any, _params: types.NotificationParams) -> None:
        """Remember a handshake conversation, so that later changes are announced on its standalone stream."""
        self.sessions.append(ctx.session)

    async def roots_changed(self, _ctx: Any, _params: types.NotificationParams) -> None:
        """Move the gate `roots` on: a client said that its roots changed."""
        await self.gate("roots").move("changed")

    async def announce(self, event: ServerEvent) -> None:
        """Tell every handshake conversation and every `subscriptions/listen` stream about a change."""
        await self.bus.publish(event)
        for session in tuple(self.sessions):
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._notify(session, event)

    async def _notify(self, session: ServerSession, event: ServerEvent) -> None:
        if isinstance(event, ToolsListChanged):
            await session.send_tool_list_changed()
        elif isinstance(event, PromptsListChanged):
            await session.send_prompt_list_changed()
        elif isinstance(event, ResourcesListChanged):
            await session.send_resource_list_changed()
        elif event.uri in self.subscribed:
            await session.send_resource_updated(event.uri)
