"""The life of one upstream: connect, look after, notice the end, connect again.

Owns the upstream's status and which connection its calls take. Does not know how a connection is made (`dialer`), how
it is looked after (`watch`), who is let in (`admission`), nor what its lists are for.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from hub_common.tasks import Tasks
from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.config.placeholders import Context, resolve
from hub_gateway.config.server_model import InvalidServer, ServerConfig
from hub_gateway.errors import (
    ConfigError,
    Conflict,
    HubError,
    UpstreamBusy,
    UpstreamDown,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnauthorized,
)
from hub_gateway.upstreams.admission import Admission
from hub_gateway.upstreams.backoff import Backoff
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.dialer import Dialer, has_authorization
from hub_gateway.upstreams.hop import EraChanged, HeadersRefused
from hub_gateway.upstreams.log_level import LogLevel
from hub_gateway.upstreams.oauth.credential import Credential
from hub_gateway.upstreams.offered import Offered
from hub_gateway.upstreams.pending import Listener, Owner, Reply, Ties
from hub_gateway.upstreams.starts import Starts
from hub_gateway.upstreams.status import Observe, Outcome, State, Stats, Status
from hub_gateway.upstreams.transports.transport import SESSION_ENDED, Forgotten
from hub_gateway.upstreams.watch import ABOUT_LISTS, Tells, Watch
from hub_gateway.wire import meta, rewrite
from hub_gateway.wire.message import Message
from hub_gateway.wire.revisions import Era

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_STEADY_S = 60.0
_HEARD_S = 5.0
_LASTED_S = 5.0
"""A session that the server ends sooner is opened again after a pause: nothing would come of the next one either."""

_RELINK_S = 15.0


class Ears(NamedTuple):
    """Who is told what; none of these blocks or raises."""

    changed: Callable[[str], None]
    """The status or the offering of the upstream of that name is another now."""
    unasked: Callable[[str, Message], None]
    """The upstream sent a notification that belongs to no call; of a list change it is told after the list is taken."""
    observe: Observe | None = None
    owner: Owner | None = None
    """Whose connections these are, where they are one client's alone."""
    ties: Callable[[str], Ties] | None = None
    """What else ties messages of the upstream of that name to clients."""


class Supervisor:
    """One configured upstream. `start` and `stop` as often as wanted; whoever starts it stops it."""

    def __init__(
        self,
        config: ServerConfig | InvalidServer,
        context: Context,
        ears: Ears,
        credential: Credential | None = None,
        beside: Supervisor | None = None,
        starts: Starts | None = None,
    ) -> None:
        """With `beside` this is the second link to that one's upstream, and shares with it the limit of calls, the
        counters and the log level. With `starts` a process waits for its turn to start."""
        self.name = config.name
        self.config = config
        self.credential = credential
        """The access to it, where it may want OAuth; whoever gave it ends it."""
        self.connection: Connection | None = None
        self.fault: HubError | None = None
        """What ended the last link, or the last attempt to make one."""
        self.log_level = LogLevel(config.name) if beside is None else beside.log_level
        self._beside = beside
        self._context = context
        self._ears = ears
        self._starts = starts
        self._tasks = Tasks(f"upstream.{config.name}")
        self._run_task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        """The runs that are to end."""
        self._stopped: str | None = None
        """Why it was stopped; None while it is not."""
        self._offered = Offered(Offering() if beside is None else beside._offered.known)
        self._watch: Watch | None = None
        self._wake = asyncio.Event()
        self._up = asyncio.Event()
        """Set with each link that comes up."""
        self._renewing = False
        """The server ended the session, which is no fault of either side, and another one is being opened at once."""
        self._pause = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, random.random)
        limit = 1 if isinstance(config, InvalidServer) else config.max_in_flight
        self._admission = Admission(config.name, limit, ears.observe, None if beside is None else beside._admission)
        self._timeout_s = 0.0 if isinstance(config, InvalidServer) else config.timeout_s
        self.isolated = isinstance(config, ServerConfig) and config.isolation == "session"
        """Whether each session is to have a connection of its own."""
        self.apart = self.isolated
        """Whether calls of sessions go, or may go, over another link than this one."""
        if isinstance(config, InvalidServer):
            self.status = Status("invalid", config.reason, time.time())
        else:
            self.status = Status("stopped", "disabled in the config" if config.disabled else None, time.time())

    @property
    def offering(self) -> Offering:
        """What the upstream offers now: nothing while there is no connection."""
        return self._offered.now

    @property
    def is_stdio(self) -> bool:
        """Whether it is a process of this one's own."""
        return isinstance(self.config, ServerConfig) and self.config.is_stdio

    @property
    def stats(self) -> Stats:
        """What its calls came to."""
        return self._admission.stats

    @property
    def in_flight(self) -> int:
        """Calls running on the upstream now."""
        return self._admission.inside

    @property
    def breaker(self) -> str:
        """State of the circuit breaker: closed, open or half-open."""
        return self._admission.breaker

    def start(self) -> None:
        """Connect, and stay connected, from now on; while it is still being stopped, once that is done. Nothing to do
        when it is running or its entry is invalid."""
        if isinstance(self.config, InvalidServer) or (self._run_task is not None and not self._run_task.done()):
            return
        self._pause.reset()
        self._stopped = None
        self._tell("connecting", None, attempt=0)
        self._run_task = self._tasks.spawn(self._run(self.config), "run")

    async def stop(self, reason: str = "stopped by request") -> None:
        """End the connection and make no other; calls under way fail with the reason. Returns when the process, if
        there was one, is gone."""
        running, self._run_task = self._run_task, None
        self._renewing = False
        if running is not None:
            self._stopped = reason
            if not running.done():
                self._ending.add(running)
                running.add_done_callback(self._ending.discard)
                running.cancel()
        await self._ended()
        if self._run_task is None and not isinstance(self.config, InvalidServer):  # else it was started meanwhile
            self._tell("stopped", reason, attempt=0)

    async def authorize(self, forget: bool) -> str:
        """Begin a person's login to it and return the URL to open; see `Credential.authorize`.

        Raises:
            Conflict: nobody logs in to it.
            ConfigError: a placeholder cannot be resolved.
            UpstreamUnauthorized: no login can be begun; the text says why.
        """
        if self.credential is None or isinstance(self.config, InvalidServer):
            raise Conflict(f"nobody logs in to {self.name}: it is no remote server")
        resolved = await resolve(self.config, self._context)
        if has_authorization(resolved):
            raise Conflict(f"nobody logs in to {self.name}: its config sends an Authorization header of its own")
        await self.credential.prepare(resolved.url or "", resolved.oauth)
        try:
            return await self.credential.authorize(forget)
        except UpstreamError as fault:
            raise self._named(fault) from fault

    def also(self, offering: Offering) -> None:
        """Offer, after its own, what is offered on a second link to the same upstream and not on this one."""
        if self._offered.also(offering):
            self._ears.changed(self.name)

    async def refresh(self, kinds: Iterable[EntryKind] = tuple(EntryKind)) -> None:
        """List these kinds anew, or everything, and return when that is done.

        Raises:
            UpstreamDown: there is no connection, or it broke.
            UpstreamUnauthorized: it refuses to show any list.
        """
        if self._watch is None:
            raise self.absence()
        await self._watch.relist(kinds)

    def adopt(self, config: ServerConfig) -> None:
        """Take a config that differs in nothing the connection depends on."""
        self.config = config
        self._admission.limit(config.max_in_flight)
        self._timeout_s = config.timeout_s

    async def request(
        self,
        method: str,
        params: rewrite.Members,
        *,
        caller: meta.Caller,
        timeout_s: float | None = None,
        listener: Listener | None = None,
        progress_token_raw: bytes | None = None,
        name: str | None = None,
        mirrored: Sequence[tuple[str, str]] = (),
        client: Hashable = None,
        again: bool = False,
    ) -> Reply:
        """Forward a request; see `Connection.request`. Without `timeout_s` the server's own limit holds.

        Where too many calls run, clients take turns; `client` says whose call this is, None the hub's own. One that the
        upstream did not take, since it had forgotten the session or its revision, is made on the next link, once:
        `again`.

        Raises:
            UpstreamBusy: too many calls are running and waiting, or the breaker is open.
            EraChanged: it did not take the call, and its next link speaks the other era.
            UpstreamTimeout, UpstreamDown, UpstreamUnauthorized, UpstreamGarbage, HeadersRefused: as the connection
                says, with the name.
        """
        connection, admission = self.connection, self._admission
        if connection is None:
            raise self.absence()
        if not admission.enter():
            await admission.wait(client)
            if self.connection is None:
                admission.give_up()
                raise self.absence()
            connection = self.connection
        started_s = time.perf_counter()
        outcome: Outcome = "cancelled"
        try:
            reply = await connection.request(
                method,
                params,
                caller=caller,
                timeout_s=self._timeout_s if timeout_s is None else timeout_s,
                listener=listener,
                progress_token_raw=progress_token_raw,
                name=name,
                mirrored=mirrored,
            )
            outcome = "error" if reply.error_raw else "ok"
            admission.answered()
            return reply
        except Forgotten as fault:
            outcome = "failed"
            if again or (link := await self._linked_anew(connection)) is None:
                raise self._named(fault) from fault
            if link.era is not connection.era:
                raise EraChanged(f"{self.name}: {fault}") from fault
        except UpstreamError as fault:
            outcome = admission.failed(fault)
            if not isinstance(fault, UpstreamBusy | HeadersRefused):
                self._wake.set()  # the link is looked at now, not at the next regular check
            raise self._named(fault) from fault
        finally:
            admission.leave(outcome, time.perf_counter() - started_s)
        return await self.request(
            method,
            params,
            caller=caller,
            timeout_s=timeout_s,
            listener=listener,
            progress_token_raw=progress_token_raw,
            name=name,
            mirrored=mirrored,
            client=client,
            again=True,
        )

    async def renewed(self) -> None:
        """Wait for the next session where the server ended the last one a moment ago."""
        if self._renewing:
            await self._linked_anew(None)

    async def notify(self, method: str, params_raw: bytes = b"") -> None:
        """Send a notification.

        Raises:
            UpstreamDown: there is no connection, or it does not take messages.
        """
        await self._linked().notify(method, params_raw)

    def absence(self) -> UpstreamError:
        """Why there is no connection, as an error for whoever wants one."""
        status = self.status
        text = f"{self.name} is {status.state}" + (f": {status.reason}" if status.reason else "")
        if status.state != "unauthorized":
            return UpstreamDown(text)
        url = None if self.credential is None else self.credential.authorization_url
        return UpstreamUnauthorized(text, None if url is None else {"authorizationUrl": url})

    # Calls

    async def _linked_anew(self, gone: Connection | None) -> Connection | None:
        """The link that follows one that the upstream does not know any more, once it is there; None where none comes
        in time."""
        if self.connection is not None and self.connection is not gone:
            return self.connection  # another call has heard of it before
        self._wake.set()
        self._up.clear()
        try:
            async with asyncio.timeout(_RELINK_S):
                await self._up.wait()
        except TimeoutError:
            return None
        return self.connection

    def _linked(self) -> Connection:
        if self.connection is None:
            raise self.absence()
        return self.connection

    def _named(self, fault: UpstreamError) -> UpstreamError:
        for kind in (UpstreamTimeout, UpstreamUnauthorized, UpstreamBusy, UpstreamDown):
            if isinstance(fault, kind):
                return kind(f"{self.name}: {fault}", fault.data)
        return type(fault)(f"{self.name}: {fault}", fault.data)

    # Life

    async def _ended(self) -> None:
        """Wait until the runs that are to end have ended, their processes included."""
        if self._ending:
            await asyncio.wait(set(self._ending))

    async def _run(self, config: ServerConfig) -> None:
        await self._ended()  # what they leave behind they do not leave to this one, and of a server one process runs
        if self.credential is None:
            await self._keep_connected(config)
            return
        unwatch = self.credential.watch(self._wake.set)
        try:
            await self._keep_connected(config)
        finally:
            unwatch()

    async def _keep_connected(self, config: ServerConfig) -> None:
        dialer = Dialer(
            config,
            self._context,
            self._hear,
            self.credential,
            owner=self._ears.owner,
            ties=self._ears.ties,
            starts=self._starts,
        )
        while True:
            logins = self._logins
            connection: Connection | None = None
            tasks = Tasks(f"upstream.{self.name}.live")
            began_s = time.monotonic()
            try:
                self._wake.clear()
                connection = await dialer.dial(lambda _: self._wake.set())
                await self._live(config, connection, tasks)
            except HubError as fault:
                ended = connection is not None and connection.gone == SESSION_ENDED
                self._renewing = ended and time.monotonic() - began_s >= _LASTED_S
                self._lost(fault)
            except Exception as fault:
                _log.exception("%s: the supervisor stumbled", self.name)
                self._renewing = False
                self._lost(UpstreamDown(f"unexpected: {type(fault).__name__}"))
            finally:
                self._unlink()
                await tasks.close()
                if connection is not None and self._renewing:
                    self._tasks.spawn(self._close_when_idle(connection), "close")
                elif connection is not None:
                    await connection.close(self._stopped or "the link was closed")
            if not self._renewing:
                await self._rest(logins)

    async def _close_when_idle(self, connection: Connection) -> None:
        """Close a link whose session is ended once each call on it has heard so itself: what the server did not take is
        made again on the next one."""
        try:
            async with asyncio.timeout(_HEARD_S):
                await connection.idle()
        except TimeoutError:
            pass
        finally:
            await connection.close()

    @property
    def _logins(self) -> int:
        return 0 if self.credential is None else self.credential.logins

    async def _rest(self, logins: int) -> None:
        """Wait before the next attempt; no longer than until a login is answered."""
        try:
            async with asyncio.timeout(self._pause.next_s()):
                while self._logins == logins:
                    self._wake.clear()
                    await self._wake.wait()
            self._pause.reset()
        except TimeoutError:
            pass

    async def _live(self, config: ServerConfig, connection: Connection, tasks: Tasks) -> None:
        """One connection from its handshake to its end, which is always an exception."""
        self._watch = watch = Watch(
            connection,
            self._offered.known,
            Tells(self._listed, self._well, self._unwell, self._unasked),
            ping_interval_s=self._ping_interval_s,
            timeout_s=config.timeout_s,
            busy=lambda: self._admission.inside > 0,
            wake=self._wake,
            tasks=tasks,
        )
        await watch.begin()
        if connection.era is Era.HANDSHAKE:
            await self.log_level.link(connection)
        self.connection, self._renewing = connection, False
        self._up.set()
        self._admission.answered()
        self._offered.take(watch.offering)
        self._well(watch.list_faults)
        began_s = time.monotonic()
        try:
            await watch.keep()
        finally:
            if time.monotonic() - began_s >= _STEADY_S:
                self._pause.reset()

    def _unlink(self) -> None:
        self.log_level.unlink(self.connection)
        self.connection = self._watch = None
        if not self._renewing:
            self._offered.clear()

    def _ping_interval_s(self) -> float:
        return self.config.ping_interval_s if isinstance(self.config, ServerConfig) else _LONGEST_PAUSE_S

    def _hear(self, message: Message) -> None:
        """A notification that belongs to no call."""
        if self._watch is not None:
            self._watch.hear(message)
        elif message.method not in ABOUT_LISTS:
            self._unasked(message)

    def _unasked(self, message: Message) -> None:
        self._ears.unasked(self.name, message)

    def _listed(self, watch: Watch) -> None:
        if watch is self._watch and self.connection is not None and self._offered.take(watch.offering):
            self._ears.changed(self.name)

    # Status

    def _well(self, list_faults: str | None) -> None:
        self._tell("degraded" if list_faults else "ready", list_faults, attempt=0)

    def _unwell(self, reason: str) -> None:
        self._tell("degraded", reason)

    def _lost(self, fault: HubError) -> None:
        state: State = "connecting"
        if isinstance(fault, UpstreamUnauthorized):
            state = "unauthorized"
        elif isinstance(fault, ConfigError):
            state = "invalid"
        # What a second link lacks the first one makes up for; what was said is said once for all attempts in a row.
        again = self.status.attempt > 0 and str(fault) == self.status.last_error
        _log.log(logging.WARNING if self._beside is None and not again else logging.DEBUG, "%s: %s", self.name, fault)
        self.fault = fault
        self._unlink()
        if self._renewing:  # what it offers stays listed: calls wait for the next session
            self._tell("degraded", str(fault))
        else:
            self._tell(state, str(fault), attempt=self.status.attempt + 1)

    def _tell(self, state: State, reason: str | None, *, attempt: int | None = None) -> None:
        old = self.status
        since = old.since if old.state == state else time.time()
        last_error = reason if reason is not None and state != "stopped" else old.last_error
        new = Status(state, reason, since, old.attempt if attempt is None else attempt, last_error)
        if new != old:
            self.status = new
            self._ears.changed(self.name)
