"""Upstreams with state: a connection of its own for each client session (`isolation: "session"`).

Owns those connections: made when a session first calls, ended with the session, bounded in number. The shared
connection of the same upstream stays: its lists are the catalog's. Knows no session but its id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hub_common.tasks import Tasks
from hub_gateway.config.placeholders import Context
from hub_gateway.config.server_model import ServerConfig
from hub_gateway.errors import UpstreamBusy, UpstreamDown
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.oauth.credential import Credential
from hub_gateway.upstreams.pending import Owner, Ties
from hub_gateway.upstreams.status import Observe
from hub_gateway.upstreams.supervisor import Ears, Supervisor
from hub_gateway.wire.message import Message

MAX_PER_UPSTREAM = 64
"""Connections beside the shared one; the next session is refused, since none of the others may be taken from it."""

_FINAL = frozenset({"invalid", "unauthorized", "stopped"})

Told = Callable[[str, str, Message], None]
"""Takes the upstream's name, the session's id and a notification of that session's own connection."""


Owners = Callable[[str], Owner | None]
"""The client of a session by the session's id; None where there is no such session."""


class _Own:
    """One connection of one session."""

    def __init__(self, supervisor: Supervisor, changed: asyncio.Event) -> None:
        self.supervisor = supervisor
        self.changed = changed
        self.link: Connection | None = None
        """The last one there was."""


class Isolation:
    """All connections that belong to a session. Its maker closes it.

    Args:
        context: what placeholders are resolved with.
        told: hears what comes unasked on them.
        observe: told of every request.
        owners: who is asked what an upstream wants to know of a session's client.
        limit: connections beside the shared one, for each upstream.
        ties: what else ties messages of the upstream of that name to clients.
        relinked: takes the upstream's name and the session's id where that session's connection was lost and is another
            one now.
    """

    def __init__(
        self,
        context: Context,
        told: Told,
        observe: Observe | None,
        owners: Owners | None = None,
        limit: int = MAX_PER_UPSTREAM,
        ties: Callable[[str], Ties] | None = None,
        relinked: Callable[[str, str], None] | None = None,
    ) -> None:
        self._ties = ties
        self._relinked = relinked
        self._limit = limit
        self._context = context
        self._told = told
        self._owners = owners
        self._observe = observe
        self._own: dict[tuple[str, str], _Own] = {}
        self._tasks = Tasks("isolation")

    async def supervisor(self, config: ServerConfig, session_id: str, credential: Credential | None) -> Supervisor:
        """The session's own supervisor of an upstream, connected with the access that all share.

        Raises:
            UpstreamBusy: there are too many already.
            UpstreamDown: it does not connect in time.
        """
        own = self._own.get((config.name, session_id)) or self._open(config, session_id, credential)
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                while own.supervisor.connection is None and own.supervisor.status.state not in _FINAL:
                    own.changed.clear()
                    await own.changed.wait()
        except TimeoutError:
            raise UpstreamDown(f"{config.name}: this session's own connection is not up yet") from None
        return own.supervisor

    def existing(self, name: str, session_id: str) -> Supervisor | None:
        """The supervisor of a session's own connection to one upstream; None where it has none."""
        own = self._own.get((name, session_id))
        return None if own is None else own.supervisor

    def owned_by(self, session_id: str) -> list[Supervisor]:
        """The supervisors of a session's own connections."""
        return [own.supervisor for (_, owner), own in self._own.items() if owner == session_id]

    def adopt(self, config: ServerConfig) -> None:
        """Take a config that differs in nothing the connections depend on."""
        for (name, _), own in self._own.items():
            if name == config.name:
                own.supervisor.adopt(config)

    def end_session(self, session_id: str) -> None:
        """End the connections of a session that ended."""
        self._end([key for key in self._own if key[1] == session_id], "its session ended")

    def end(self, name: str, session_id: str) -> None:
        """End a session's own connection to one upstream, where it has one."""
        if (name, session_id) in self._own:
            self._end([(name, session_id)], "another replica has taken it over")

    def end_upstream(self, name: str, reason: str) -> None:
        """End the connections of an upstream that is gone, stopped or configured anew; sessions get new ones when they
        call."""
        self._end([key for key in self._own if key[0] == name], reason)

    async def close(self) -> None:
        """End every connection."""
        own, self._own = self._own, {}
        await asyncio.gather(*(each.supervisor.stop("the hub is stopping") for each in own.values()))
        await self._tasks.close()

    def _open(self, config: ServerConfig, session_id: str, credential: Credential | None) -> _Own:
        if sum(name == config.name for name, _ in self._own) >= self._limit:
            raise UpstreamBusy(f"{config.name}: {self._limit} sessions have connections of their own already")
        changed = asyncio.Event()

        def unasked(name: str, message: Message) -> None:
            self._told(name, session_id, message)

        def status_changed(name: str) -> None:
            changed.set()
            link = own.supervisor.connection
            if link is not None and link is not own.link:
                before, own.link = own.link, link
                if before is not None and self._relinked is not None:
                    self._relinked(name, session_id)

        owner = None if self._owners is None else self._owners(session_id)
        ears = Ears(status_changed, unasked, self._observe, owner, self._ties)
        supervisor = Supervisor(config, self._context, ears, credential)
        own = self._own[config.name, session_id] = _Own(supervisor, changed)
        own.supervisor.start()
        return own

    def _end(self, keys: list[tuple[str, str]], reason: str) -> None:
        for key in keys:
            own = self._own.pop(key)
            own.changed.set()
            self._tasks.spawn(own.supervisor.stop(reason), f"end {key[0]}")
