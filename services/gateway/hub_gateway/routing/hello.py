"""How a conversation begins: `initialize` opens a session, `server/discover` tells a stateless client what there is.

Also what keeps a session's housekeeping: `ping`, `logging/setLevel`, `notifications/initialized`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from hub_gateway.errors import CallerError
from hub_gateway.exposure.current import Audience, Current
from hub_gateway.exposure.view import Look
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.routing.log_levels import DEFAULT, LogLevels
from hub_gateway.routing.task_handles import EXTENSION
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import LOG_LEVELS, Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.wire import rewrite
from hub_gateway.wire.message import Message
from hub_gateway.wire.meta import Caller
from hub_gateway.wire.revisions import REVISIONS, Era, negotiate

_capabilities = msgspec.json.Decoder(dict[str, Any])

OWN_CAPABILITIES: dict[str, Any] = {
    "completions": {},
    "logging": {},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "tools": {"listChanged": True},
}
"""What the hub itself answers whoever is behind it: an upstream may come at any time, and a session cannot be told new
capabilities, so the lists are declared even while they are empty."""

_OWN_RAW = {word: msgspec.json.encode(capability) for word, capability in OWN_CAPABILITIES.items()}
_UNION = ("experimental", "extensions", "tasks")


class Hello:
    """Greets clients in the words of their era."""

    def __init__(self, fleet: Fleet, current: Current, sessions: Sessions, log_levels: LogLevels, look: Look) -> None:
        self._log_levels = log_levels
        self._fleet = fleet
        self._current = current
        self._sessions = sessions
        self._look = look

    def initialize(self, message: Message, view_name: str = "", credential: str = "") -> tuple[Session, bytes]:
        """Open a session in a view that was got with this credential, and return it with the `InitializeResult`.

        Raises:
            CallerError: `params` lack what 2025-11-25 basic/lifecycle §Initialization requires.
            TooManySessions: the limit is reached.
        """
        try:
            params = rewrite.members(message.params)
            capabilities_raw = bytes(params.get("capabilities", b"{}"))
            capabilities = _capabilities.decode(capabilities_raw)
        except msgspec.MsgspecError as fault:
            raise CallerError(f"Invalid params of initialize: {fault}") from fault
        asked = rewrite.text(params.get("protocolVersion"))
        if asked is None:
            raise CallerError("Invalid params of initialize: protocolVersion must be a string")
        revision = negotiate(asked)
        caller = Caller(bytes(params.get("clientInfo", b"")), _without_tasks(capabilities_raw), DEFAULT)
        session = self._sessions.open(revision, caller, capabilities, view_name, credential)
        audience = self._current.of(view_name)
        self._log_levels.noticed(session)
        self._fleet.expect_sessions()
        return session, rewrite.join(
            {
                "protocolVersion": rewrite.encode_text(revision),
                "capabilities": self._capabilities_raw(Era.HANDSHAKE, audience),
                "serverInfo": self._look.server_info_raw,
                **self._instructions(audience),
            }
        )

    def discover(self, exchange: Exchange) -> Response:
        """Answer `server/discover` (2026-07-28 server/discover)."""
        audience = self._current.of(exchange.view_name)
        body = rewrite.join(
            {
                "supportedVersions": msgspec.json.encode(REVISIONS),
                "capabilities": self._capabilities_raw(Era.STATELESS, audience),
                **self._instructions(audience),
            }
        )
        return exchange.result(rewrite.prepended(body, audience.look.stateless_head(cacheable=True)))

    def ping(self, exchange: Exchange) -> Response:
        """Answer `ping` for the hub itself."""
        return exchange.result(b"{}")

    async def set_level(self, exchange: Exchange) -> Response:
        """Answer `logging/setLevel`: from now on the session gets log messages at or above the level, and the servers
        with sessions are told what is wanted of them.

        Raises:
            CallerError: no such level (2025-11-25 utilities/logging §Error Handling).
        """
        level = exchange.text("level")
        if level not in LOG_LEVELS:
            raise CallerError(f"Invalid params of logging/setLevel: level must be one of {', '.join(LOG_LEVELS)}")
        if exchange.session is not None:
            exchange.session.set_log_level(level)
            await asyncio.gather(self._sessions.changed(exchange.session), self._log_levels.changed(exchange.session))
        return exchange.result(b"{}")

    def _capabilities_raw(self, era: Era, audience: Audience) -> bytes:
        """The union of the hub's own capabilities and the extensions and experiments of the upstreams that the filter
        does not hide, as far as clients of this era can use them: tasks are one thing in the one and another in the
        other, and neither crosses (SEP-2663 §Backward Compatibility)."""
        union: dict[str, dict[str, bytes | msgspec.Raw]] = {}
        shown = audience.allowed.upstreams
        for supervisor in self._fleet.supervisors.values():
            if era is Era.HANDSHAKE:
                supervisor = self._fleet.for_sessions(supervisor)
            if supervisor.connection is None or supervisor.name not in shown:
                continue
            offered = _members(supervisor.connection.capabilities_raw)
            same = supervisor.connection.era is era
            if not (same and era is Era.HANDSHAKE):
                offered.pop("tasks", None)
            for word in (word for word in _UNION if word in offered):
                found = _members(offered[word])
                if word == "extensions" and not (same and era is Era.STATELESS):
                    found.pop(EXTENSION, None)
                if found or word == "tasks":
                    union[word] = {**found, **union.get(word, {})}
        return rewrite.join({**_OWN_RAW, **{word: rewrite.join(members) for word, members in union.items()}})

    def _instructions(self, audience: Audience) -> dict[str, bytes]:
        """The instructions of the upstreams that the filter does not hide, each under its name."""
        shown = audience.allowed.upstreams
        parts = [
            f"## {supervisor.name}\n\n{supervisor.connection.instructions}"
            for supervisor in self._fleet.supervisors.values()
            if supervisor.name in shown and supervisor.connection is not None and supervisor.connection.instructions
        ]
        return {"instructions": rewrite.encode_text("\n\n".join(parts))} if parts else {}


def _without_tasks(capabilities_raw: bytes) -> bytes:
    """What a session's client declares, without the extension that is none in its revision (SEP-2663 §Backward
    Compatibility)."""
    if EXTENSION.encode() not in capabilities_raw:
        return capabilities_raw
    extensions = _members(_members(capabilities_raw).get("extensions", b""))
    extensions.pop(EXTENSION, None)
    return rewrite.replaced(capabilities_raw, "extensions", rewrite.join(extensions))


def _members(raw: bytes | msgspec.Raw) -> rewrite.Members:
    """What an upstream says of itself, read leniently."""
    try:
        return rewrite.members(raw)
    except msgspec.MsgspecError:
        return {}
