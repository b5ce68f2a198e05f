"""The configured servers: how each is, what it offers, start and stop, and calls made by hand.

Owns what people are told of a server (reference: server object); nothing of it holds a secret. Calls from here are the
operator's own: they name a server and its own words, and no filter applies.
"""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.config.server_model import InvalidServer, ServerConfig
from hub_gateway.errors import Conflict, UnknownUpstream, UpstreamError
from hub_gateway.management import direct_calls
from hub_gateway.management.bodies import answer, iso, read
from hub_gateway.management.deps import Deps
from hub_gateway.management.direct_calls import Named, NamedPrompt, NamedResource, NamedTool
from hub_gateway.upstreams.supervisor import Supervisor

CONNECTED = frozenset({"ready", "degraded"})


def routes(deps: Deps) -> list[Route]:
    """All of `/api/servers`, and `/api/refresh`."""
    limit_bytes, get, clock = deps.settings.body_limit_bytes, deps.fleet.get, deps.clock

    def described(supervisor: Supervisor) -> dict[str, Any]:
        return describe(supervisor, clock(), deps.fleet.for_sessions(supervisor))

    def told(supervisor: Supervisor, **more: Any) -> Response:
        return answer({**more, "server": described(supervisor), "timestamp": iso(clock())})

    def listed(**more: Any) -> Response:
        shown = [described(supervisor) for supervisor in deps.fleet.supervisors.values()]
        return answer({**more, "servers": shown, "timestamp": iso(clock())})

    async def servers(_request: Request) -> Response:
        await deps.republish.caught_up()
        return listed()

    async def about(request: Request) -> Response:
        await deps.republish.caught_up()
        return told(get((await read(request, Named, limit_bytes)).server_name))

    async def start(request: Request) -> Response:
        supervisor = get((await read(request, Named, limit_bytes)).server_name)
        _must_be_valid(supervisor)
        await deps.fleet.start(supervisor.name)
        return told(supervisor, status="ok")

    async def stop(request: Request) -> Response:
        supervisor = get((await read(request, Named, limit_bytes)).server_name)
        _must_be_valid(supervisor)
        disable = request.query_params.get("disable", "false").lower() == "true"
        await deps.fleet.stop(supervisor.name, "disabled by request" if disable else "stopped by request")
        return told(supervisor, status="ok", persisted=False)

    async def refresh(request: Request) -> Response:
        supervisor = get((await read(request, Named, limit_bytes)).server_name)
        direct_calls.must_run(supervisor)
        await deps.fleet.refresh(supervisor.name)
        return told(supervisor, status="ok")

    async def refresh_all(_request: Request) -> Response:
        connected = [s.name for s in deps.fleet.supervisors.values() if s.connection is not None]
        failed: dict[str, str] = {}
        outcomes = await asyncio.gather(*map(deps.fleet.refresh, connected), return_exceptions=True)
        for name, outcome in zip(connected, outcomes, strict=True):
            if isinstance(outcome, (UpstreamError, UnknownUpstream)):
                failed[name] = str(outcome)
            elif outcome is not None:
                raise outcome
        return listed(status="ok", failed=failed)

    async def tool(request: Request) -> Response:
        asked = await read(request, NamedTool, limit_bytes)
        return _result(await direct_calls.call_tool(get(asked.server_name), asked))

    async def resource(request: Request) -> Response:
        asked = await read(request, NamedResource, limit_bytes)
        return _result(await direct_calls.read_resource(get(asked.server_name), asked))

    async def prompt(request: Request) -> Response:
        asked = await read(request, NamedPrompt, limit_bytes)
        return _result(await direct_calls.get_prompt(get(asked.server_name), asked))

    def _result(result_raw: bytes) -> Response:
        return answer({"result": Raw(result_raw), "timestamp": iso(clock())})

    posts = {
        "info": about,
        "start": start,
        "stop": stop,
        "refresh": refresh,
        "tools": tool,
        "resources": resource,
        "prompts": prompt,
    }
    return [
        Route("/api/servers", servers, methods=["GET"]),
        Route("/api/refresh", refresh_all, methods=["GET", "POST"]),
        *(Route(f"/api/servers/{word}", endpoint, methods=["POST"]) for word, endpoint in posts.items()),
    ]


def describe(supervisor: Supervisor, unix_s: float, for_sessions: Supervisor) -> dict[str, Any]:
    """One server as people see it; `for_sessions` has the link that sessions share. Definitions are the server's own
    bytes; command, environment, url and headers stay inside."""
    status, config, connection = supervisor.status, supervisor.config, supervisor.connection
    connected = status.state in CONNECTED
    definitions = {kind.value: [Raw(raw) for raw in supervisor.offering.of(kind)] for kind in EntryKind}
    return {
        "name": supervisor.name,
        "displayName": config.shown_name if isinstance(config, ServerConfig) else supervisor.name,
        "description": config.description if isinstance(config, ServerConfig) else "",
        "transportType": transport_type(supervisor),
        "status": status.state,
        "reason": status.reason,
        "error": None if status.state in ("ready", "stopped") else status.reason,
        "lastError": status.last_error,
        "attempt": status.attempt,
        "since": iso(status.since),
        "disabled": isinstance(config, ServerConfig) and config.disabled,
        "capabilities": definitions,
        "counts": {word: len(found) for word, found in definitions.items()},
        "uptime": max(0.0, round(unix_s - status.since, 3)) if connected else 0,
        "lastStarted": iso(status.since) if connected else None,
        "authorizationUrl": None if supervisor.credential is None else supervisor.credential.authorization_url,
        "serverInfo": Raw(connection.server_info_raw)
        if connection is not None and connection.server_info_raw
        else None,
        "protocolVersion": connection.revision if connection is not None else None,
        "sessionProtocolVersion": for_sessions.connection.revision if for_sessions.connection is not None else None,
        "instructions": connection.instructions if connection is not None else None,
        "config_source": config.config_source,
    }


def transport_type(supervisor: Supervisor) -> str | None:
    """stdio, streamable-http or sse: what the live link speaks, else what the config says; None where it says nothing
    usable."""
    config = supervisor.config
    if isinstance(config, InvalidServer):
        return None
    if config.is_stdio:
        return "stdio"
    connection = supervisor.connection
    if connection is not None:
        return connection.transport_kind
    return "sse" if config.type == "sse" else "streamable-http"


def _must_be_valid(supervisor: Supervisor) -> None:
    if isinstance(supervisor.config, InvalidServer):
        raise Conflict(f"{supervisor.name} cannot be used: {supervisor.config.reason}")
