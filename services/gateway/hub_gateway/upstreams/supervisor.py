"""The life of one upstream: connect, look after, notice the end, connect again.

Owns the upstream's status and what stands before its connection: in-flight limit and breaker. Does not know how a
connection is made (`dialer`) nor what its lists are for.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from hub_common.breaker import Breaker
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
from hub_gateway.upstreams import subscription
from hub_gateway.upstreams.backoff import Backoff
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.dialer import Dialer, has_authorization
from hub_gateway.upstreams.gate import Gate
from hub_gateway.upstreams.hop import EraChanged, HeadersRefused
from hub_gateway.upstreams.inbound import ACKNOWLEDGED
from hub_gateway.upstreams.life_sign import life_sign
from hub_gateway.upstreams.log_level import LogLevel
from hub_gateway.upstreams.oauth.credential import Credential
from hub_gateway.upstreams.offered import Offered
from hub_gateway.upstreams.pending import Listener, Owner, Reply, Ties
from hub_gateway.upstreams.refresh import Refresh
from hub_gateway.upstreams.starts import Starts
from hub_gateway.upstreams.status import Observe, Outcome, State, Stats, Status
from hub_gateway.upstreams.transports.transport import SESSION_ENDED, Forgotten
from hub_gateway.wire import meta, rewrite
from hub_gateway.wire.message import Message
from hub_gateway.wire.revisions import Era

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_STEADY_S = 60.0
_HEARD_S = 5.0
_LASTED_S = 5.0
"""A session that the server ends sooner is opened again after a pause: nothing would come of the next one either."""

_RECHECK_S = 2.0
_SOONEST = 0.9
"""The part of the time between two regular checks that passes at least."""
_LIST_S = 60.0
_RELIST_S = 5.0
_RELINK_S = 15.0
_QUEUE_S = 30.0
QUEUE = 1024
"""Calls that may wait for their turn on one upstream."""
_BREAKER_THRESHOLD, _BREAKER_OPEN_S = 5, 30.0

_LIST_CHANGED = {f"notifications/{kind.capability}/list_changed": kind.capability for kind in EntryKind}


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
        self.stats = Stats() if beside is None else beside.stats
        self.log_level = LogLevel(config.name) if beside is None else beside.log_level
        self._beside = beside
        self._context = context
        self._ears = ears
        self._starts = starts
        self._tasks = Tasks(f"upstream.{config.name}")
        self._run_task: asyncio.Task[None] | None = None
        self._stopped: str | None = None
        """Why it was stopped; None while it is not."""
        self._offered = Offered(Offering() if beside is None else beside._offered.known)
        self._refresh: Refresh | None = None
        self._wake = asyncio.Event()
        self._up = asyncio.Event()
        """Set with each link that comes up."""
        self._renewing = False
        """The server ended the session, which is no fault of either side, and another one is being opened at once."""
        self._acknowledged = 0
        self._pause = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, random.random)
        self._breaker = Breaker(_BREAKER_THRESHOLD, _BREAKER_OPEN_S, time.monotonic)
        limit = 1 if isinstance(config, InvalidServer) else config.max_in_flight
        self._gate = Gate(limit, _QUEUE_S, QUEUE) if beside is None else beside._gate
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
    def in_flight(self) -> int:
        """Calls running on the upstream now."""
        return self._gate.inside

    @property
    def breaker(self) -> str:
        """State of the circuit breaker: closed, open or half-open."""
        return self._breaker.state

    def start(self) -> None:
        """Connect, and stay connected, from now on. Nothing to do when it is running or its entry is invalid."""
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
            running.cancel()
            await asyncio.wait([running])
        if not isinstance(self.config, InvalidServer):
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
        refresh = self._refresh
        if refresh is None:
            raise self.absence()
        await self._relist(refresh, kinds)

    def adopt(self, config: ServerConfig) -> None:
        """Take a config that differs in nothing the connection depends on."""
        self.config = config
        self._gate.limit = config.max_in_flight
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
        connection = self.connection
        if connection is None:
            raise self.absence()
        breaker = self._breaker
        if not breaker.allow():
            wait_s = max(1, round(breaker.retry_after_s))
            raise UpstreamBusy(f"{self.name}: it failed {breaker.failures} times in a row; next try in {wait_s} s")
        gate = self._gate
        if not gate.enter():
            try:
                await gate.wait(client)
            except UpstreamBusy as fault:
                raise self._named(fault) from fault
            if self.connection is None:
                gate.leave()
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
            breaker.success()
            return reply
        except Forgotten as fault:
            outcome = "failed"
            if again or (link := await self._linked_anew()) is None:
                raise self._named(fault) from fault
            if link.era is not connection.era:
                raise EraChanged(f"{self.name}: {fault}") from fault
        except UpstreamError as fault:
            outcome = self._failed_call(fault)
            raise self._named(fault) from fault
        finally:
            gate.leave()
            self.stats.count(outcome)
            if self._ears.observe is not None:
                self._ears.observe(self.name, time.perf_counter() - started_s, outcome)
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
            await self._linked_anew()

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

    def _failed_call(self, fault: UpstreamError) -> Outcome:
        if isinstance(fault, UpstreamBusy):
            return "failed"
        if isinstance(fault, HeadersRefused):
            self._breaker.success()
            return "error"
        if isinstance(fault, UpstreamUnauthorized):
            self._breaker.success()  # it answers
            self._wake.set()
            return "failed"
        self._breaker.failure()
        self._wake.set()  # the link is looked at now, not at the next regular check
        return "timeout" if isinstance(fault, UpstreamTimeout) else "failed"

    async def _linked_anew(self) -> Connection | None:
        """Wait for the link that follows one that the upstream does not know any more; None where none comes in
        time."""
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

    async def _run(self, config: ServerConfig) -> None:
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
                self._acknowledged = 0
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
        if connection.era is Era.STATELESS:
            # Before the first list, so that no change falls in between.
            tasks.spawn(subscription.listen(connection), "listen")
        self._refresh = refresh = Refresh(connection, self._offered.known, min(_LIST_S, config.timeout_s))
        await refresh.run()
        if connection.era is Era.HANDSHAKE:
            await self.log_level.link(connection)
        self.connection, self._renewing = connection, False
        self._up.set()
        self._breaker.success()
        self._offered.take(refresh.offering)
        self._healthy(refresh)
        began_s = time.monotonic()
        try:
            await self._watch(connection, refresh)
        finally:
            if time.monotonic() - began_s >= _STEADY_S:
                self._pause.reset()

    def _unlink(self) -> None:
        self.log_level.unlink(self.connection)
        self.connection = self._refresh = None
        if not self._renewing:
            self._offered.clear()

    async def _watch(self, connection: Connection, refresh: Refresh) -> None:
        failures = 0
        while True:
            if failures:
                pause_s = _RECHECK_S
            else:
                pause_s = self._ping_interval_s() if not refresh.faults else min(_RELIST_S, self._ping_interval_s())
                # Stale lists are asked for then, and who polls is not to do so in step (2026-07-28 utilities/caching).
                pause_s *= random.uniform(_SOONEST, 1)
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if connection.gone is not None:
                raise UpstreamDown(connection.gone)
            fault = await life_sign(connection)
            if fault is None:
                failures = 0
                # Failed calls bring checks too, and those list nothing anew that the last one did.
                if due := {*refresh.faults, *refresh.stale(self._ping_interval_s() / 2)}:
                    await self._relist(refresh, due)
                self._healthy(refresh)
                continue
            failures += 1
            if failures == 1:
                _log.warning("%s: %s", self.name, fault)
            # A server busy with calls may be too busy to answer; the calls have deadlines of their own.
            if connection.gone is not None or (failures > 1 and self._gate.inside == 0):
                raise UpstreamDown(connection.gone or str(fault))
            self._tell("degraded", str(fault))

    def _ping_interval_s(self) -> float:
        return self.config.ping_interval_s if isinstance(self.config, ServerConfig) else _LONGEST_PAUSE_S

    def _hear(self, message: Message) -> None:
        """A notification that belongs to no call."""
        refresh = self._refresh
        if (capability := _LIST_CHANGED.get(message.method)) is not None:
            if refresh is not None:
                kinds = [kind for kind in EntryKind if kind.capability == capability]
                self._tasks.spawn(self._relist_quietly(refresh, kinds, message.method), "refresh")
        elif message.method == ACKNOWLEDGED:
            self._acknowledged += 1
            if self._acknowledged > 1 and refresh is not None:
                # While the stream was away nobody told of changes.
                self._tasks.spawn(self._relist_quietly(refresh, EntryKind), "refresh")
        else:
            self._ears.unasked(self.name, message)

    async def _relist_quietly(self, refresh: Refresh, kinds: Iterable[EntryKind], said: str | None = None) -> None:
        try:
            await self._relist(refresh, kinds)
        except (UpstreamDown, UpstreamUnauthorized) as fault:
            _log.debug("%s: not refreshed: %s", self.name, fault)
            self._wake.set()
            return
        if said is not None:
            # Also where the lists came out the same: the upstream said it, so its clients are to hear it.
            self._ears.unasked(self.name, Message(jsonrpc="2.0", method=said))

    async def _relist(self, refresh: Refresh, kinds: Iterable[EntryKind]) -> None:
        await refresh.run(kinds)
        if refresh is self._refresh and self.connection is not None and self._offered.take(refresh.offering):
            self._ears.changed(self.name)

    # Status

    def _healthy(self, refresh: Refresh) -> None:
        if refresh.faults:
            faults = "; ".join(f"{kind.list_method}: {fault}" for kind, fault in refresh.faults.items())
            self._tell("degraded", faults, attempt=0)
        else:
            self._tell("ready", None, attempt=0)

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
