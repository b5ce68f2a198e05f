"""All upstreams of the config.

Owns which supervisors there are, and what becomes of them when the document is another. Knows nothing of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from hub_gateway.config.model import Document
from hub_gateway.config.placeholders import Context
from hub_gateway.config.server_model import InvalidServer, ServerConfig
from hub_gateway.errors import UnknownUpstream
from hub_gateway.upstreams.dev_reload import DevReload
from hub_gateway.upstreams.isolation import Isolation, Owners, Told
from hub_gateway.upstreams.oauth.authorizations import Authorizations
from hub_gateway.upstreams.pending import Ties
from hub_gateway.upstreams.second_links import SecondLinks
from hub_gateway.upstreams.starts import Starts
from hub_gateway.upstreams.status import Observe
from hub_gateway.upstreams.supervisor import Ears, Supervisor
from hub_gateway.wire.message import Message

_CONNECT_FIELDS = (
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "headers",
    "oauth",
    "type",
    "disabled",
    "connect_timeout_s",
    "isolation",
    "era",
    "connection_pool",
    "dev",
)


class Changes(NamedTuple):
    """Names by what `apply` did with them. `modified` ones were connected anew; `unchanged` ones did not notice."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    modified: tuple[str, ...]
    unchanged: tuple[str, ...]


class Fleet:
    """The supervisors by name, in the order of the config. Empty until the first `apply`; its maker closes it."""

    def __init__(
        self,
        context: Context,
        changed: Callable[[str], None],
        unasked: Callable[[str, Message], None],
        observe: Observe | None = None,
        told: Told | None = None,
        authorizations: Authorizations | None = None,
        owners: Owners | None = None,
        ties: Callable[[str], Ties] | None = None,
        relinked: Callable[[str, str], None] | None = None,
    ) -> None:
        """`relinked` takes the names of an upstream and of a session whose own connection to it is another one now, or
        `OF_SESSIONS` for the second link that sessions share."""
        self.supervisors: dict[str, Supervisor] = {}
        self._context = context
        self._authorizations = authorizations
        self._ears = Ears(self._changed, unasked, observe, ties=ties)
        self._tell_changed = changed
        told = told or (lambda name, _session, message: unasked(name, message))
        self._isolation = Isolation(context, told, observe, owners, ties=ties, relinked=relinked)
        self._seconds = SecondLinks(context, self._ears, told, relinked)
        self._starts = Starts()
        self._dev_reload = DevReload(self._reload)
        self._lock = asyncio.Lock()

    def get(self, name: str) -> Supervisor:
        """The supervisor of that name.

        Raises:
            UnknownUpstream: the config has none.
        """
        supervisor = self.supervisors.get(name)
        if supervisor is None:
            raise UnknownUpstream(f"no server named '{name}' is configured")
        return supervisor

    async def own(self, name: str, session_id: str) -> Supervisor:
        """The supervisor a session's calls go to: its own where the upstream is isolated, that of the second link where
        the upstream is of both eras, else the first one.

        Raises:
            UnknownUpstream: the config has none of that name.
            UpstreamBusy, UpstreamDown: there is no connection of its own for this session.
        """
        shared = self.get(name)
        if shared.connection is None or not isinstance(shared.config, ServerConfig):
            return shared  # stopped or down: the shared one knows why
        if not shared.isolated:
            return await self._seconds.for_sessions(shared) if shared.apart else shared
        return await self._isolation.supervisor(shared.config, session_id, shared.credential)

    def own_if_there(self, name: str, session_id: str) -> Supervisor:
        """As `own`, of what there is now: the first one where the session has no own connection, or there is no second
        link.

        Raises:
            UnknownUpstream: the config has none of that name.
        """
        shared = self.get(name)
        return self._isolation.existing(name, session_id) or self.for_sessions(shared)

    def for_sessions(self, first: Supervisor) -> Supervisor:
        """The supervisor of what sessions share of an upstream: that of the second link where there is one now, else
        the first."""
        return (self._seconds.existing(first.name) or first) if first.apart else first

    def owned_by(self, session_id: str) -> list[Supervisor]:
        """The supervisors of the connections that a session has of its own."""
        return self._isolation.owned_by(session_id)

    def expect_sessions(self) -> None:
        """A client opened a session: from now on upstreams of both eras are to have a link for such clients."""
        self._seconds.expect(self.supervisors.values())

    def end_session(self, session_id: str) -> None:
        """A session ended, and its own connections with it."""
        self._isolation.end_session(session_id)

    def end_own(self, name: str, session_id: str) -> None:
        """End a session's own connection to one upstream, where it has one."""
        self._isolation.end(name, session_id)

    async def apply(self, document: Document) -> Changes:
        """Make the fleet what the document says. New and modified servers are started, not waited for; this returns
        when the processes of removed and modified ones are gone. A server whose entry did not change stays as it is,
        stopped ones too."""
        async with self._lock:
            return await self._apply({**document.servers, **document.invalid})

    async def start(self, name: str) -> None:
        """Start one upstream, also one that the config disables. Does not wait until it is connected.

        Raises:
            UnknownUpstream: the config has none of that name.
        """
        self.get(name).start()

    async def stop(self, name: str, reason: str = "stopped by request") -> None:
        """Stop one upstream, sessions' own connections included, and return when it is down.

        Raises:
            UnknownUpstream: the config has none of that name.
        """
        self._isolation.end_upstream(name, reason)
        await self.get(name).stop(reason)
        await self._seconds.ended(name)

    async def refresh(self, name: str) -> None:
        """List anew what one upstream offers, on both links where there are two.

        Raises:
            UnknownUpstream: the config has none of that name.
            UpstreamDown: it is not connected.
        """
        first = self.get(name)
        if (shared := self.for_sessions(first)) is not first:
            await shared.refresh()
        await first.refresh()

    async def close(self) -> None:
        """Stop every upstream."""
        await self._dev_reload.close()
        await self._isolation.close()
        await self._seconds.close()
        async with self._lock:
            await asyncio.gather(*(_end(one, "the hub is stopping") for one in self.supervisors.values()))

    async def _apply(self, wanted: dict[str, ServerConfig | InvalidServer]) -> Changes:
        old = self.supervisors
        kept = {name for name, config in wanted.items() if name in old and _same_link(old[name].config, config)}
        removed = tuple(name for name in old if name not in wanted)
        modified = tuple(name for name in wanted if name in old and name not in kept)
        added = tuple(name for name in wanted if name not in old)
        leaving = {name: _why_it_leaves(wanted.get(name)) for name in (*removed, *modified)}
        for name, reason in leaving.items():
            self._isolation.end_upstream(name, reason)
            self._seconds.end(name, reason)
            self._dev_reload.forget(name)
        # The old ones leave the map first: from now on nobody can reach them.
        self.supervisors = {
            name: old[name] if name in kept else self._supervisor(config) for name, config in wanted.items()
        }
        for name in kept:
            config = wanted[name]
            if config != old[name].config and isinstance(config, ServerConfig):
                old[name].adopt(config)
                self._seconds.adopt(config)
                self._isolation.adopt(config)
                self._ears.changed(name)
        for name in added:
            self._launch(name)
        await asyncio.gather(*(_end(old[name], reason) for name, reason in leaving.items()))
        await asyncio.gather(*map(self._seconds.ended, leaving))
        for name in modified:
            self._launch(name)
        for name in (*removed, *added, *modified):
            self._ears.changed(name)
        return Changes(added, removed, modified, tuple(name for name in wanted if name in kept))

    def _supervisor(self, config: ServerConfig | InvalidServer) -> Supervisor:
        remote = isinstance(config, ServerConfig) and not config.is_stdio
        credential = self._authorizations.credential(config.name) if remote and self._authorizations else None
        return Supervisor(config, self._context, self._ears, credential, starts=self._starts)

    def _changed(self, name: str) -> None:
        if (supervisor := self.supervisors.get(name)) is not None:
            self._seconds.first_changed(supervisor)
        self._tell_changed(name)

    async def _reload(self, name: str) -> None:
        """Start anew what runs, or tries to: its sources are others now."""
        async with self._lock:
            supervisor = self.supervisors.get(name)
            if supervisor is not None and supervisor.status.state not in ("stopped", "invalid"):
                await self.stop(name, "its sources changed")
                supervisor.start()

    def _launch(self, name: str) -> None:
        supervisor = self.supervisors[name]
        self._dev_reload.watch(supervisor.config)
        if isinstance(supervisor.config, ServerConfig) and not supervisor.config.disabled:
            supervisor.start()


def _why_it_leaves(config: ServerConfig | InvalidServer | None) -> str:
    """What is said of a server by what the document has of it now."""
    if config is None:
        return "removed from the config"
    if isinstance(config, InvalidServer):
        return "its config entry cannot be used any more"
    return "disabled in the config" if config.disabled else "changed in the config, and started anew"


async def _end(supervisor: Supervisor, reason: str) -> None:
    await supervisor.stop(reason)
    if supervisor.credential is not None:
        await supervisor.credential.rest()


def _same_link(one: ServerConfig | InvalidServer, other: ServerConfig | InvalidServer) -> bool:
    """Whether two entries of one name lead to the same connection."""
    if isinstance(one, InvalidServer) or isinstance(other, InvalidServer):
        return one == other
    return all(getattr(one, field) == getattr(other, field) for field in _CONNECT_FIELDS)
