"""Health: for people and scripts (`/api/health`), and for orchestrators (`/healthz`, `/readyz`).

Owns the verdict ok, degraded or error. Liveness and readiness never depend on an upstream or a satellite: the hub
serves without any of them.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub_gateway.management.bodies import answer, iso
from hub_gateway.management.deps import Deps
from hub_gateway.management.reach import Reach, Seen
from hub_gateway.management.views import counts

SERVER_ID = "mcp-hub"
VERSION = version("mcp-hub")

FINE = frozenset({"ready", "stopped"})
"""States of an upstream that take nothing away: a stopped one was stopped by somebody."""


def routes(deps: Deps, reach: Reach) -> list[Route]:
    """The three routes."""

    async def health(_request: Request) -> Response:
        body = await _health(deps, reach)
        return answer(body, 503 if body["status"] == "error" else 200)

    async def healthz(_request: Request) -> Response:
        return answer({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        state = deps.state()
        return answer({"status": "ok" if state == "ready" else state}, 200 if state == "ready" else 503)

    return [
        Route("/api/health", health, methods=["GET"]),
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
    ]


async def _health(deps: Deps, reach: Reach) -> dict[str, Any]:
    state = deps.state()
    # A server that is told to be ready is to have its entries in the lists.
    seen, _ = await asyncio.gather(reach.look(), deps.republish.caught_up())
    upstreams = one_liners(deps)
    store = deps.store.status()
    whole = (
        store.healthy
        and all(s.ok and s.reason is None for s in seen.values())
        and all(u["status"] in FINE for u in upstreams)
    )
    document, refused = deps.document(), deps.refused()
    allowed = counts(deps.current.default.allowed)
    # A store that is away is not waited for.
    workspaces = (await deps.workspaces.known())[0] if store.healthy else deps.workspaces.alone()
    return {
        "status": "error" if state != "ready" else "ok" if whole else "degraded",
        "state": state,
        "server_id": SERVER_ID,
        "version": VERSION,
        "activeClients": len(deps.sessions),
        "startedAt": iso(deps.started_at),
        "timestamp": iso(deps.clock()),
        "servers": upstreams,
        "satellites": {name: _satellite(seen_one) for name, seen_one in seen.items()},
        "store": {"kind": store.kind, "healthy": store.healthy, "reason": store.reason},
        "config": {
            "files": [str(path.absolute()) for path in document.sources],
            "warnings": document.warnings,
            "refused": refused.faults,
            "refusedAt": None if refused.since is None else iso(refused.since),
        },
        "mcpEndpoint": {
            "activeClients": len(deps.sessions),
            "registeredCapabilities": allowed,
            "totalCapabilities": sum(allowed.values()),
        },
        "workspaces": {"current": deps.workspaces.key, "allActive": workspaces},
    }


def one_liners(deps: Deps) -> list[dict[str, Any]]:
    """Each upstream's name and status, invalid ones too, in the order of the config."""
    return [{"name": s.name, **_said(s.status.state, s.status.reason)} for s in deps.fleet.supervisors.values()]


def _satellite(seen: Seen) -> dict[str, Any]:
    return _said("away" if not seen.ok else "degraded" if seen.reason else "ok", seen.reason)


def _said(status: str, reason: str | None) -> dict[str, Any]:
    return {"status": status, "reason": reason} if reason else {"status": status}
