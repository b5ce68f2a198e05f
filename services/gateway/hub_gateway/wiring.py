"""The composition root: makes every part of the gateway, ties them together, and ends them in the reverse order.

The one module that knows every other. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from hub_common.shared_state import open_bus, open_store, state_dir
from hub_common.store import StoreUnavailable
from hub_common.tasks import Tasks
from hub_common.telemetry import Telemetry
from hub_gateway.backlog import backlog
from hub_gateway.config.context import Context
from hub_gateway.config.load import load
from hub_gateway.config.model import Document
from hub_gateway.config.watch import changes
from hub_gateway.errors import ConfigError
from hub_gateway.exposure.current import Current
from hub_gateway.exposure.view import Look
from hub_gateway.frontends.access import Access, Lock, is_shut
from hub_gateway.frontends.app import App
from hub_gateway.frontends.guards import Guard
from hub_gateway.frontends.http_sse import HttpSse
from hub_gateway.frontends.locks import locks_of
from hub_gateway.frontends.posts import MCP_PATH, link
from hub_gateway.frontends.server import DRAIN_S, HttpServer, http_server, listen
from hub_gateway.frontends.streamable_http import StreamableHttp
from hub_gateway.management.app import management_app
from hub_gateway.management.deps import Deps, Refused
from hub_gateway.management.metrics import Metrics
from hub_gateway.management.workspaces import Workspaces
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.discovery import Discovery
from hub_gateway.routing.elsewhere import Elsewhere
from hub_gateway.routing.extensions import Extensions
from hub_gateway.routing.held import Holding
from hub_gateway.routing.hello import Hello
from hub_gateway.routing.homes import Homes
from hub_gateway.routing.log_levels import LogLevels
from hub_gateway.routing.opened_by_all import OpenedByAll
from hub_gateway.routing.owners import owner_of
from hub_gateway.routing.relay import Relay
from hub_gateway.routing.republish import Republish
from hub_gateway.routing.roots import Roots
from hub_gateway.routing.router import Router
from hub_gateway.routing.seal import Seal
from hub_gateway.routing.shared_sessions import SharedSessions
from hub_gateway.routing.states import States
from hub_gateway.routing.subscriptions import Subscriptions
from hub_gateway.routing.task_handles import TaskHandles
from hub_gateway.routing.task_ids import TaskIds
from hub_gateway.routing.ties import UpstreamTies
from hub_gateway.routing.usage import Usage
from hub_gateway.satellites.categorizer import Categorizer
from hub_gateway.satellites.filter import Filter
from hub_gateway.satellites.peers import Peers
from hub_gateway.sessions.archive import Archive
from hub_gateway.sessions.outbox import shelf
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.settings import GatewaySettings
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.oauth.authorizations import Authorizations
from hub_gateway.wire.message import Message

_log = logging.getLogger(__name__)

SERVER_NAME = "mcp-hub"

_EXPIRE_EVERY_S = 30.0
_HEED_EVERY_S = 3.0
_LOOK_EVERY_S = 0.05
_TELL_S = 1.0
_SHARE_EVERY_S = 3.0
_KEY_S = 1.0
_COLLECT_EVERY = 10_000
"""Objects that may come to be, beyond those that went, before the youngest are looked at; Python's own is 700."""


def spare_the_collector() -> None:
    """Have garbage looked for more rarely, and not among what is there at the start and stays. For a process to call,
    once it has made its gateway: calls leave no garbage behind, and every look delays those that are under way."""
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, *gc.get_threshold()[1:])


class Gateway:
    """A gateway, from its port to its upstreams. `start`, then `run` until it is told to stop, then `close`.

    Args:
        settings: of the process.
        paths: config files, in merging order.
        telemetry: configured already, since it instruments what is made here.
        changed: told the name of an upstream whose status or offering changed.
        applied: told when another document is in force.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        paths: Sequence[Path],
        telemetry: Telemetry,
        changed: Callable[[str], None] | None = None,
        applied: Callable[[], None] | None = None,
    ) -> None:
        self._edits = changes(paths)  # before the first load, so that no edit falls in between
        self.document: Document = load(paths)
        self.refused = Refused()
        self.state = "starting"
        self.settings = settings
        self._paths = paths
        self._observer, self._applied = changed, applied
        backlog.limit_bytes, shelf.limit_bytes = settings.backlog_limit_bytes, settings.backlog_limit_bytes // 2
        self._socket = listen(settings.host, settings.port)
        self.port: int = self._socket.getsockname()[1]
        self._tasks = Tasks("gateway")
        self._serving: asyncio.Task[None] | None = None
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()

        place = settings.redis_url or None, Path(settings.state_dir or state_dir())
        self.store = open_store(*place)
        self.bus = open_bus(*place)
        self.peers = Peers(self.bus, self.store, time.monotonic)
        self._seal = Seal()
        interceptors = telemetry.client_interceptors()
        self.filter = Filter(settings.filter_target, settings.satellite_timeout_s, interceptors)
        self.categorizer = Categorizer(
            settings.categorizer_target, settings.satellite_timeout_s, settings.llm_timeout_s, interceptors
        )
        look = Look(
            msgspec.json.encode({"name": SERVER_NAME, "title": "MCP Hub", "version": version("mcp-hub")}),
            ttl_ms=int(settings.list_ttl_s * 1000),
            page_size=settings.page_size,
        )
        self.current = Current(look)
        self.metrics = Metrics()
        # Once: the folder may be gone by the time of an edit.
        self.context = Context.from_environ(os.environ, Path.cwd())
        self.authorizations = Authorizations(self.store, self._base_url)
        self.fleet = Fleet(
            self.context,
            self._changed,
            self._unasked,
            self.metrics.observe,
            self._told,
            self.authorizations,
            lambda session_id: owner_of(self.sessions, session_id),
            lambda name: UpstreamTies(name, self.calls.handles, self._roots),
            lambda name, session_id: self._subscriptions.restore(name, session_id),
        )
        self._access = Access()
        self._locks: dict[str, Lock | None] = {}
        holding = Holding(self.peers.id, self._seal)
        self._archive = Archive(self.store, settings.session_idle_s * 2, self.peers.id)
        self._shared = SharedSessions(self.peers)
        self.sessions = Sessions(
            settings.session_limit,
            settings.session_idle_s,
            time.monotonic,
            self._forget,
            self._archive,
            self._revive,
            self._shared,
            self.peers.id,
        )
        elsewhere = self._elsewhere = Elsewhere(self.peers, self.sessions, self._shared)
        meeting = self.store if settings.redis_url else None
        idle_s = settings.session_idle_s
        self._homes = Homes(self.peers, elsewhere.answer, self.sessions, self.fleet, meeting, idle_s * 2)
        self._log_levels = LogLevels(self.fleet, lambda: len(self.sessions))
        task_ids = TaskIds(self.fleet, self.current, self._seal)
        task_ids.replica = self.peers.id if settings.redis_url else ""
        handles = TaskHandles(self.fleet, self.current, task_ids, self.store)
        self.calls = calls = Calls(
            self.fleet,
            self.current,
            Usage(self.store),
            holding,
            self._log_levels,
            handles,
            self._homes,
            States(self._seal),
        )
        self._subscriptions = Subscriptions(self.fleet, calls, self.sessions.changed, elsewhere.answer)
        self._roots = Roots(self.fleet, self.current, time.monotonic)
        self._homes.serve(self._subscriptions.moved)
        self._extensions = Extensions(self.fleet, self.current, calls)
        self._shared.serve(self.sessions, self._subscriptions, self._log_levels, self._roots, self._extensions)
        satellites = (self.filter, self.categorizer)
        opened = self._opened = OpenedByAll(self.peers, self.store, calls, self.current, self.sessions, idle_s * 2)
        discovery = Discovery(calls, self.current, self.sessions, satellites, opened)
        audiences = (self.sessions, self._subscriptions, calls)
        self._policy_applied = self.document.tool_filtering
        self.republish = Republish(self.current, self.fleet, audiences, satellites, self.document.tool_filtering)
        calls.usage.serve(self.peers, self.republish.notice)
        list_changed = self.republish.list_changed
        self._relay = Relay(self.sessions, self._subscriptions, handles, self.current, list_changed)
        hello = Hello(self.fleet, self.current, self.sessions, self._log_levels, look)
        router = Router(hello, calls, discovery, self._subscriptions, elsewhere, self._extensions, telemetry)
        elsewhere.serve(router.answer)
        self._started_at = time.time()
        self.workspaces = Workspaces(
            self.store,
            port=self.port,
            config_files=lambda: self.config_files,
            state=lambda: self.state,
            connections=lambda: len(self.sessions),
            started_at=self._started_at,
        )
        self._http = self._http_server(router, hello)

    @property
    def endpoint(self) -> str:
        """The URL for MCP clients."""
        return self._base_url + MCP_PATH

    @property
    def _base_url(self) -> str:
        """Where the hub is reached, without a slash at its end."""
        host = self.settings.host
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        return self.settings.public_url.rstrip("/") or f"http://{shown}:{self.port}"

    @property
    def config_files(self) -> list[Path]:
        """The config files in use, absolute."""
        return [path.resolve() for path in self.document.sources]

    async def run(self) -> None:
        """Serve until `stop`. The endpoint answers at once; upstreams join as they come up.

        Ends by itself only where the HTTP server cannot run.
        """
        for fault in self.document.warnings:
            _log.warning("%s", fault)
        self._tasks.spawn(self.republish.run(), "republish")
        self._tasks.spawn(self._expire(), "expire")
        self._tasks.spawn(self._heed(), "heed")
        self._tasks.spawn(self._archive.run(), "archive")
        self._tasks.spawn(self.calls.usage.run(self.republish.notice), "usage")
        self._tasks.spawn(self.peers.run(), "peers")
        self._tasks.spawn(self.workspaces.run(), "workspaces")
        if self.settings.watch:
            self._tasks.spawn(self._watch(self._edits), "watch")
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_KEY_S):
                await self._seal.share(self.store)  # before anybody can bring what was sealed before a restart
        self._tasks.spawn(self._share_key(), "key")
        await self._apply_views(self.document)  # before anybody can ask for one
        await self._opened.heed()  # likewise
        serving = self._serving = self._tasks.spawn(self._http.serve(sockets=[self._socket]), "http")
        await self.fleet.apply(self.document)
        self.republish.notice()
        self.state = "ready"
        self._tasks.spawn(self.workspaces.beat(), "workspace")
        stopped = self._tasks.spawn(self._stop.wait(), "stop")
        await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()

    def stop(self) -> None:
        """Ask `run` to return. Asked again, `close` waits for no call."""
        if self._stop.is_set():
            self._hurry.set()
        self.state = "stopping"
        self._stop.set()

    async def close(self) -> None:
        """End everything: calls may end by themselves for `drain_s`, then streams, so that clients hear the end, then
        the port, then the upstreams."""
        self.state = "stopping"
        _log.info("stopping: calls under way have %g s to end by themselves", self.settings.drain_s)
        self._tasks.spawn(self.workspaces.beat(), "workspace")
        await self._subscriptions.close()
        await self._drained()
        self._mcp.stop()
        await self._calls_told()
        await self.calls.holding.close()
        await self._log_levels.close()
        await self._roots.close()
        await self.calls.handles.close()
        await self._extensions.close()
        self.sessions.close_all()
        await self.workspaces.close()
        self._http.should_exit = True
        if self._serving is not None:
            # It ends by itself, and only then has it let go of the port and of every connection.
            await asyncio.wait((self._serving,), timeout=DRAIN_S + 1)
        await self._tasks.close()
        await self._archive.flush()
        await self.calls.usage.flush()
        self._socket.close()
        await self.fleet.close()
        await self.filter.close()
        await self.categorizer.close()
        await self.peers.close()
        await self.bus.close()
        await self.store.close()

    async def _calls_told(self) -> None:
        """Wait until every call has its answer that the hub stops: a stream whose session ends first takes none."""
        ends_s = time.monotonic() + _TELL_S
        while self._mcp.is_answering and time.monotonic() < ends_s:
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _drained(self) -> None:
        """Wait until no call is under way, and not for long. New ones are still answered: who balances the load hears
        from `/readyz` where to send them."""
        ends_s = time.monotonic() + self.settings.drain_s
        while time.monotonic() < ends_s and not self._hurry.is_set():
            running = any(session.running for session in self.sessions)
            if not (running or self._mcp.is_answering or self._elsewhere.is_answering):
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def apply(self, document: Document) -> None:
        """Put another document in force: servers by what changed in them, the policy as a whole."""
        self.document = document
        if self._applied is not None:
            self._applied()
        # Together: a policy does not wait until the processes are gone that the servers of before had.
        await asyncio.gather(self.fleet.apply(document), self._apply_policy(document))

    async def _apply_policy(self, document: Document) -> None:
        if document.tool_filtering != self._policy_applied:  # else what was set over REST stays
            self.republish.apply(document.tool_filtering)
            self._policy_applied = document.tool_filtering
        await self._apply_views(document)

    async def _apply_views(self, document: Document) -> None:
        """Let there be the document's views. A view whose tokens cannot be found out stays shut."""
        locks = await locks_of(document.views, self.context)
        before, self._locks = self._locks, locks
        self._access.swap(locks)
        shut = [name for name, old in before.items() if name in locks and is_shut(old, locks[name])]
        self.republish.apply_views({name: view.tool_filtering for name, view in document.views.items()}, shut)

    def _http_server(self, router: Router, hello: Hello) -> HttpServer:
        settings = self.settings
        hosts = list(settings.allowed_hosts)
        if settings.public_url:
            hosts.append(urlsplit(settings.public_url).hostname or "")
        if settings.host not in ("0.0.0.0", "::"):
            hosts.append(settings.host)
        access, replicas = self._access, (self._shared, self._elsewhere)
        http_sse = HttpSse(router, hello, self.sessions, access, replicas, settings.body_limit_bytes, self._tasks)
        mcp = self._mcp = StreamableHttp(
            router, hello, self.sessions, access, replicas, http_sse, settings.body_limit_bytes, self._tasks
        )
        app = App(Guard(hosts, settings.allowed_origins), mcp, http_sse, management_app(self._deps()))
        return http_server(app, link(app.post, settings.body_limit_bytes, self._tasks))

    def _deps(self) -> Deps:
        return Deps(
            fleet=self.fleet,
            authorizations=self.authorizations,
            current=self.current,
            calls=self.calls,
            sessions=self.sessions,
            republish=self.republish,
            filter=self.filter,
            categorizer=self.categorizer,
            store=self.store,
            settings=self.settings,
            document=lambda: self.document,
            refused=lambda: self.refused,
            state=lambda: self.state,
            workspaces=self.workspaces,
            started_at=self._started_at,
            clock=time.time,
            metrics=self.metrics,
        )

    def _changed(self, upstream_name: str) -> None:
        self.republish.notice(upstream_name)
        if self._observer is not None:
            self._observer(upstream_name)

    def _unasked(self, upstream_name: str, message: Message) -> None:
        self._relay.unasked(upstream_name, message)

    def _told(self, upstream_name: str, session_id: str, message: Message) -> None:
        self._relay.of_session(upstream_name, session_id, message)

    def _revive(self, session: Session) -> None:
        self._subscriptions.revive(session)
        self._log_levels.noticed(session)

    def _forget(self, session: Session) -> None:
        self._log_levels.ended(session)
        self._roots.forget(session)
        self._subscriptions.forget(session)
        self.calls.handles.forget(session)
        self._homes.forget(session)
        self.fleet.end_session(session.id)

    async def _expire(self) -> None:
        rounds = max(1, int(self.settings.session_idle_s / 2 / _EXPIRE_EVERY_S))
        for turn in itertools.count(1):
            await asyncio.sleep(_EXPIRE_EVERY_S)
            self.sessions.expire()
            if turn % rounds == 0:
                await self._homes.refresh(self.sessions.refresh())

    async def _heed(self) -> None:
        while True:
            await asyncio.sleep(_HEED_EVERY_S)
            await self._homes.keep()  # first, so that whoever knows a session finds its homes
            await self.sessions.heed()
            await self._opened.heed()

    async def _share_key(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self._seal.share(self.store)
            await asyncio.sleep(_SHARE_EVERY_S)  # Redis may have lost it

    async def _watch(self, edits: AsyncIterator[None]) -> None:
        async for _ in edits:
            try:
                # In a thread: a config with comments takes a second or two for a few hundred servers.
                document = await asyncio.to_thread(load, self._paths)
            except ConfigError as fault:
                self._refuse(*fault.faults)
                _log.error("the config stays as it was: %s", fault)
                continue
            except Exception as fault:
                self._refuse(f"cannot be read: {type(fault).__name__}")
                _log.exception("the config cannot be read, and stays as it was")
                continue
            try:
                await self.apply(document)
            except Exception as fault:
                self._refuse(f"not wholly in force: {type(fault).__name__}; the log says more")
                _log.exception("the config is not wholly in force; the next change is applied again")
                continue
            self.refused = Refused()
            _log.info("config applied: %s", ", ".join(map(str, self.config_files)))

    def _refuse(self, *faults: str) -> None:
        self.refused = Refused(faults, time.time())
