"""Second links: a server of both eras is spoken to statelessly, and beside that with a session.

Owns those sessions. Clients with sessions are served on them, so that a server can ask and tell each client in the way
that the client speaks. What only they are offered joins the lists of the first link. Over stdio the second link is a
second process, since the first message decides the era of a process (2026-07-28 basic/versioning §Backward
Compatibility with Initialization-Based Versions). Nothing but an attempt says whether a stateless server has sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from hub_common.tasks import Tasks
from hub_gateway.catalog.entry import Offering
from hub_gateway.config.placeholders import Context
from hub_gateway.config.server_model import ServerConfig
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.dialer import declined
from hub_gateway.upstreams.isolation import Told
from hub_gateway.upstreams.supervisor import Ears, Supervisor
from hub_gateway.wire.message import Message
from hub_gateway.wire.revisions import Era

OF_SESSIONS: Final = "*"
"""Stands for all sessions that share a second link, where else the id of the one whose own connection it is."""

PATIENCE_S = 10.0
"""How long calls wait for a second link that is being made; later ones go over the first link until it is there."""

AGAIN_S = 60.0
"""How long after an attempt that failed for no lasting reason the next may be made."""

_NOTHING = Offering()
_UNWANTED = "its sessions are not wanted"
_UPDATED = "notifications/resources/updated"


class _Second:
    """What is known of the sessions of one upstream."""

    def __init__(self, supervisor: Supervisor, first_link: Connection, patience_end_s: float) -> None:
        self.supervisor = supervisor
        self.first_link = first_link
        """The first link that it was tried beside."""
        self.link: Connection | None = None
        """The last one there was."""
        self.again_s = 0.0
        """Seconds of the loop from which it may be tried anew where there is none; infinite where it never may."""
        self.patience_end_s = patience_end_s
        self.changed = asyncio.Event()

    @property
    def is_up(self) -> bool:
        link = self.supervisor.connection
        return link is not None and link is self.link


class SecondLinks:
    """The second links of all upstreams. Their maker closes them.

    Args:
        context: what placeholders are resolved with.
        ears: those of the first links.
        told: hears of updated resources, for the session `OF_SESSIONS`.
        relinked: takes an upstream's name and `OF_SESSIONS` where what sessions had on another link is to be had on the
            second one now.
    """

    def __init__(
        self, context: Context, ears: Ears, told: Told, relinked: Callable[[str, str], None] | None = None
    ) -> None:
        self._context = context
        self._ears = ears
        self._told = told
        self._relinked = relinked
        self._seconds: dict[str, _Second] = {}
        self._expected = False
        """Whether there are sessions, or were."""
        self._missed: set[str] = set()
        """Upstreams on whose first link sessions were served for want of a second."""
        self._ending: dict[str, set[asyncio.Task[None]]] = {}
        self._tasks = Tasks("second-links")

    def first_changed(self, first: Supervisor) -> None:
        """The status of an upstream, or its first link, is another."""
        second, link = self._seconds.get(first.name), first.connection
        if link is None:
            if first.status.state == "stopped":
                self.end(first.name, first.status.reason or _UNWANTED)
            return
        if second is not None and second.first_link is link:
            return
        may_be = _may_have_both(first)
        if second is not None and may_be and second.is_up:
            second.first_link = link
            return
        self.end(first.name)
        first.apart = first.isolated or may_be
        self._open_early(first)
        first.also(_NOTHING)

    def expect(self, firsts: Iterable[Supervisor]) -> None:
        """A client opened a session: where nobody does, no server is asked for one."""
        if not self._expected:
            self._expected = True
            for first in firsts:
                self._open_early(first)

    async def for_sessions(self, first: Supervisor) -> Supervisor:
        """The supervisor that calls of sessions go to: of the second link, which is made and waited for where it may
        come up; else the first."""
        second, link = self._seconds.get(first.name), first.connection
        if second is not None and second.is_up:
            return second.supervisor
        loop = asyncio.get_running_loop()
        if link is None or not _may_have_both(first):
            return first
        if second is None:
            second = self._open(first, link)
        elif 0 < second.again_s <= loop.time():
            second = self._open(first, link, patience_s=0.0)
        try:
            async with asyncio.timeout_at(second.patience_end_s):
                while self._may_come_up(first.name, second):
                    second.changed.clear()
                    await second.changed.wait()
        except TimeoutError:
            pass
        if second.is_up:
            return second.supervisor
        self._missed.add(first.name)
        return first

    def existing(self, name: str) -> Supervisor | None:
        """The supervisor of the second link to an upstream; None where there is none now."""
        second = self._seconds.get(name)
        return second.supervisor if second is not None and second.is_up else None

    def adopt(self, config: ServerConfig) -> None:
        """Take a config that differs in nothing the links depend on."""
        if (second := self._seconds.get(config.name)) is not None:
            second.supervisor.adopt(_with_sessions(config))

    def end(self, name: str, reason: str = _UNWANTED) -> None:
        """End the second link of an upstream that is gone, stopped or configured anew."""
        if (second := self._seconds.pop(name, None)) is not None:
            second.changed.set()
            self._stop(name, second.supervisor, reason)

    async def ended(self, name: str) -> None:
        """Return when the second links to an upstream that were to end are gone, processes included."""
        if ending := self._ending.get(name):
            await asyncio.wait(set(ending))

    async def close(self) -> None:
        """End them all."""
        seconds, self._seconds = self._seconds, {}
        await asyncio.gather(*(each.supervisor.stop("the hub is stopping") for each in seconds.values()))
        await self._tasks.close()

    def _may_come_up(self, name: str, second: _Second) -> bool:
        """Whether a call waits for it."""
        if second.is_up or second.again_s or self._seconds.get(name) is not second:
            return False
        return asyncio.get_running_loop().time() < second.patience_end_s

    def _open_early(self, first: Supervisor) -> None:
        """Open a session over HTTP, once there are clients that will want it; over stdio no process is started before
        it is needed."""
        link = first.connection
        wanted = self._expected and not first.is_stdio and first.name not in self._seconds
        if wanted and link is not None and _may_have_both(first):
            self._open(first, link)

    def _open(self, first: Supervisor, link: Connection, patience_s: float = PATIENCE_S) -> _Second:
        loop = asyncio.get_running_loop()
        assert isinstance(first.config, ServerConfig)

        def changed(name: str) -> None:
            if self._seconds.get(name) is second:
                self._changed(first, second)

        def unasked(name: str, message: Message) -> None:
            if message.method == _UPDATED:
                self._told(name, OF_SESSIONS, message)
            else:
                self._ears.unasked(name, message)

        ears = Ears(changed, unasked, self._ears.observe, None, self._ears.ties)
        supervisor = Supervisor(_with_sessions(first.config), self._context, ears, first.credential, beside=first)
        second = self._seconds[first.name] = _Second(supervisor, link, loop.time() + patience_s)
        supervisor.start()
        return second

    def _changed(self, first: Supervisor, second: _Second) -> None:
        if second.again_s:
            return
        now_s = asyncio.get_running_loop().time()
        supervisor = second.supervisor
        link = supervisor.connection
        if link is not None and (link is second.link or link.has_session):
            if link is not second.link:
                anew = second.link is not None or first.name in self._missed
                second.link = link
                self._missed.discard(first.name)
                if anew and self._relinked is not None:
                    self._relinked(first.name, OF_SESSIONS)
        elif link is not None or declined(supervisor.fault):
            # It has no sessions, or serves each of their requests by itself: then it can ask more statelessly.
            second.again_s, first.apart = float("inf"), False
            self._stop(first.name, supervisor)
        elif second.link is None and supervisor.status.attempt:
            second.again_s = now_s + AGAIN_S
            self._stop(first.name, supervisor)
        elif supervisor.status.attempt == 1:
            second.patience_end_s = now_s + PATIENCE_S
        elif supervisor.status.attempt:
            second.patience_end_s = 0.0  # until it is up again
        first.also(supervisor.offering if second.is_up else _NOTHING)
        second.changed.set()

    def _stop(self, name: str, supervisor: Supervisor, reason: str = _UNWANTED) -> None:
        ending = self._ending.setdefault(name, set())
        task = self._tasks.spawn(supervisor.stop(reason), f"end {name}")
        ending.add(task)
        task.add_done_callback(ending.discard)


def _may_have_both(first: Supervisor) -> bool:
    link, config = first.connection, first.config
    return (
        isinstance(config, ServerConfig)
        and config.era == "auto"
        and not first.isolated
        and link is not None
        and link.era is Era.STATELESS
    )


def _with_sessions(config: ServerConfig) -> ServerConfig:
    return msgspec.structs.replace(config, era="handshake", type=config.type or (None if config.is_stdio else "http"))
