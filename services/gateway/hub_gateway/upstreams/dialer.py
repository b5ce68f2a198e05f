"""How a connection to an upstream comes about: placeholders, transport, handshake.

Owns the order of attempts: stateless before handshake, but not where the connection is one session's own; Streamable
HTTP before HTTP+SSE. Remembers what worked, so that a reconnect does not try again what the upstream cannot bear. Does
not know when to dial.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hub_common.tasks import Tasks
from hub_gateway.config.placeholders import Context, ResolvedServer, resolve
from hub_gateway.config.server_model import ServerConfig
from hub_gateway.errors import UpstreamDown, UpstreamError, UpstreamGarbage, UpstreamTimeout
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.handshake import (
    AS_RELAY,
    HUB,
    Agreement,
    Declined,
    Initialize,
    Retry,
    initialize_params,
    judge_discover,
    judge_initialize,
)
from hub_gateway.upstreams.inbound import Unasked
from hub_gateway.upstreams.oauth.credential import Credential
from hub_gateway.upstreams.pending import Owner, Ties
from hub_gateway.upstreams.starts import Starts
from hub_gateway.upstreams.transports.http1 import Broken
from hub_gateway.upstreams.transports.http_sse import HttpSse
from hub_gateway.upstreams.transports.stdio import Stdio
from hub_gateway.upstreams.transports.streamable_http import StreamableHttp
from hub_gateway.upstreams.transports.transport import Refused, Transport
from hub_gateway.wire import meta
from hub_gateway.wire.revisions import LATEST_HANDSHAKE, LATEST_STATELESS, Era

T = TypeVar("T")

_log = logging.getLogger(__name__)

STDIO_PROBE_S = 3.0
HTTP_PROBE_S = 10.0
LONGEST_START_S = 300.0
"""What a process gets in the end that was too slow again and again, where its config does not give it more."""
_SSE_STATUSES = (400, 404, 405)
_SECRET_LENGTH = 4


class Dialer:
    """Dials one configured server."""

    def __init__(
        self,
        config: ServerConfig,
        context: Context,
        unasked: Unasked,
        credential: Credential | None = None,
        *,
        owner: Owner | None = None,
        ties: Callable[[str], Ties] | None = None,
        starts: Starts | None = None,
        stdio_probe_s: float = STDIO_PROBE_S,
    ) -> None:
        """`owner` is whose connection it is, where it is one client's alone; `ties` give what else ties the server of
        that name to clients. With `starts` a process waits for its turn to start. `stdio_probe_s` is how long silence
        after `server/discover` is taken for a stateless server's slow start."""
        self._config = config
        self._context = context
        self._unasked = unasked
        self._credential = credential
        self._owner = owner
        self._ties = None if ties is None else ties(config.name)
        self._starts = starts
        self._stdio_probe_s = stdio_probe_s
        self._timeout_s = config.connect_timeout_s
        self._probes = config.era != "handshake"
        self._sessions_first = config.era == "auto" and owner is not None
        """Whether a session is asked for first: its client can be asked there in the way that it speaks itself."""
        self._sse = config.type == "sse"

    async def dial(self, lost: Callable[[str], None]) -> Connection:
        """Return a connection that is ready for requests; the caller closes it. `lost` is called once when it breaks.

        Raises:
            ConfigError: a placeholder cannot be resolved.
            UpstreamError: no transport and no handshake worked within `connect_timeout_s`; where a process took longer,
                it gets twice the time with the next attempt, since it may be installing itself.
        """
        if self._config.is_stdio and self._starts is not None:
            async with self._starts.turn():
                connection = await self._dial()
        else:
            connection = await self._dial()
        connection.when_lost(lost)
        return connection

    async def _dial(self) -> Connection:
        timeout_s = self._timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                resolved = await resolve(self._config, self._context)
                if not self._config.is_stdio:
                    return await self._dial_http(resolved)
                connection = await self._dial_stdio(resolved)
        except TimeoutError as fault:
            if self._config.is_stdio:
                self._timeout_s = max(timeout_s, min(timeout_s * 2, LONGEST_START_S))
            raise UpstreamTimeout(f"no answer to the handshake within {timeout_s:g} seconds") from fault
        self._timeout_s = self._config.connect_timeout_s
        return connection

    async def _dial_stdio(self, resolved: ResolvedServer) -> Connection:
        if self._sessions_first and (first := await self._with_session(self._stdio(resolved))) is not None:
            return first
        if self._probes:
            connection = self._connection(self._stdio(resolved))
            try:
                return await self._shake(connection, self._stdio_probe_s)
            except UpstreamDown:
                if connection.gone is None or self._config.era == "stateless":
                    raise
            # Some servers exit when their first message is not `initialize`.
        connection = await self._shake(self._connection(self._stdio(resolved)), None)
        self._probes = False
        return connection

    async def _dial_http(self, resolved: ResolvedServer) -> Connection:
        url, limits = resolved.url or "", self._config.connection_pool
        access = None if has_authorization(resolved) else self._credential
        if access is not None:
            await access.prepare(url, resolved.oauth)
        if not self._sse:

            def streamable() -> StreamableHttp:
                return StreamableHttp(self._config.name, url, dict(resolved.headers), limits, access)

            if self._sessions_first and (first := await self._with_session(streamable())) is not None:
                return first
            try:
                probe_s = HTTP_PROBE_S if self._config.era != "handshake" else None
                return await self._shake(self._connection(streamable()), probe_s)
            except Refused as fault:
                forced = self._config.type is not None or self._config.era == "stateless"
                if forced or fault.status not in _SSE_STATUSES:
                    raise
                refusal = fault
        else:
            refusal = None
        transport = HttpSse(self._config.name, url, dict(resolved.headers), limits, access)
        try:
            return await self._shake(self._connection(transport), None)
        except Refused as fault:
            raise UpstreamDown(f"no MCP endpoint at this url: {refusal or fault}") from fault

    async def _with_session(self, transport: Transport) -> Connection | None:
        """A connection in the era of sessions; None where there is none, and not asked again where that was said."""
        try:
            return await self._shake(self._connection(transport), None)
        except UpstreamError as fault:
            _log.debug("%s opens no session: %s", self._config.name, fault)
            self._sessions_first = not declined(fault)
        return None

    def _connection(self, transport: Transport) -> Connection:
        listener = None if self._owner is None else self._owner.listener
        return Connection(self._config.name, transport, self._unasked, listener, self._ties)

    @property
    def _caller(self) -> meta.Caller:
        return AS_RELAY if self._owner is None else self._owner.caller

    def _stdio(self, resolved: ResolvedServer) -> Stdio:
        written = self._config.env
        hidden = frozenset(
            value for key, value in resolved.env.items() if key in written and len(value) >= _SECRET_LENGTH
        )
        command, cwd = [resolved.command or "", *resolved.args], resolved.cwd or str(self._context.cwd)
        return Stdio(self._config.name, command, dict(resolved.env), cwd, hidden)

    async def _shake(self, connection: Connection, probe_s: float | None) -> Connection:
        """Open the connection and agree with its upstream; on any failure the connection is closed."""
        tasks = Tasks(f"upstream.{connection.name}.handshake")
        try:
            await connection.open()
            if probe_s is None:
                await _initialize(connection, LATEST_HANDSHAKE, self._caller)
            else:
                await _probe(connection, tasks, probe_s, self._caller, only=self._config.era == "stateless")
        except BaseException:
            await tasks.close()
            await connection.close()
            raise
        await tasks.close()
        return connection


def declined(fault: Exception | None) -> bool:
    """Whether an attempt to shake hands ended with the word that there is nobody of that era, and not with a link that
    may work another time."""
    return isinstance(fault, Declined) or (isinstance(fault, Refused) and fault.status in _SSE_STATUSES)


def has_authorization(resolved: ResolvedServer) -> bool:
    """Whether the config itself says what the upstream is shown; then the hub gets no token for it."""
    return any(name.lower() == "authorization" for name in resolved.headers)


async def _probe(connection: Connection, tasks: Tasks, probe_s: float, caller: meta.Caller, *, only: bool) -> None:
    """Ask for a stateless server first. Silence is no verdict: the child may still be starting, so after `probe_s`
    `initialize` is sent as well, and whichever is answered decides; not where `only` a stateless one will do."""
    discover = tasks.spawn(_quiet(_discover(connection, LATEST_STATELESS)), "discover")
    await asyncio.wait([discover], timeout=None if only else probe_s)
    if not discover.done():
        initialize = tasks.spawn(_quiet(_initialize(connection, LATEST_HANDSHAKE, caller)), "initialize")
        await asyncio.wait([discover, initialize], return_when=asyncio.FIRST_COMPLETED)
        if initialize.done() and (not isinstance(initialize.result(), UpstreamError) or connection.gone is not None):
            _raise_or(initialize.result())
            return
        found = await discover
        if isinstance(found, Initialize):
            _raise_or(await initialize)
            return
        initialize.cancel()
    found = _raise_or(await discover)
    if isinstance(found, Retry):
        found = await _discover(connection, found.revision)
    match found:
        case Agreement():
            connection.settle(found)
        case Initialize() if only:
            raise Declined(f"it does not speak {LATEST_STATELESS}, which its config wants alone")
        case Initialize():
            await _initialize(connection, found.revision, caller)
        case Retry():
            raise UpstreamDown(f"it names {found.revision} as supported and refuses it")


async def _discover(connection: Connection, revision: str) -> Agreement | Retry | Initialize:
    connection.settle(Agreement(Era.STATELESS, revision, {}, b"{}", b""))
    try:
        reply = await connection.request("server/discover", {}, caller=HUB, timeout_s=None)
    except (Refused, Broken, UpstreamGarbage):
        return Initialize()
    return judge_discover(reply, revision)


async def _initialize(connection: Connection, revision: str, caller: meta.Caller) -> None:
    connection.settle(Agreement(Era.HANDSHAKE, "", {}, b"{}", b""))
    reply = await connection.request("initialize", initialize_params(revision, caller), caller=HUB, timeout_s=None)
    found = judge_initialize(reply)
    if isinstance(found, Retry):
        again = await _discover(connection, found.revision)
        if not isinstance(again, Agreement):
            raise UpstreamDown(f"it names {found.revision} as supported and refuses it")
        connection.settle(again)
        return
    connection.settle(found)
    await connection.notify("notifications/initialized")


async def _quiet(attempt: Coroutine[Any, Any, T]) -> T | UpstreamError:
    """Return what the attempt raises: of two attempts that run side by side, one is expected to fail."""
    try:
        return await attempt
    except UpstreamError as fault:
        return fault


def _raise_or(found: T | UpstreamError) -> T:
    if isinstance(found, UpstreamError):
        raise found
    return found
