"""The REST application: its routes, and the one place where what went wrong becomes a JSON answer.

Owns the shape of an error, `{error, code, data?, timestamp}`, for every path outside the MCP endpoint. Knows no
resource; each has a file of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub_common.store import StoreUnavailable
from hub_gateway.errors import HubError
from hub_gateway.management import (
    dry_run,
    explain,
    filtering,
    health,
    metrics,
    oauth,
    servers,
    tools,
    views,
    workspaces,
)
from hub_gateway.management.bodies import answer, iso
from hub_gateway.management.deps import Deps
from hub_gateway.management.filter_stats import counted
from hub_gateway.management.gone import INSTEAD, Gone
from hub_gateway.management.list_tokens import ListTokens
from hub_gateway.management.reach import Reach

__all__ = ["Deps", "management_app"]

_log = logging.getLogger(__name__)


def management_app(deps: Deps) -> Starlette:
    """The application for every path but the MCP endpoint's. It holds nothing that has to be closed."""
    clock = deps.clock

    async def tell(request: Request, fault: Exception) -> Response:
        nowhere = isinstance(fault, HTTPException) and fault.status_code == HTTPStatus.NOT_FOUND
        return told(Gone(request.url.path) if nowhere and request.url.path in INSTEAD else fault, clock())

    app = Starlette(
        routes=routes(deps),
        middleware=[Middleware(_Faults, clock=clock)],
        exception_handlers={HTTPException: tell, HubError: tell, StoreUnavailable: tell},
    )
    app.router.redirect_slashes = False  # a redirect has no JSON body, and a POST may lose its own on the way
    return app


def routes(deps: Deps) -> list[Route]:
    """Every route; `docs/rest-api.md` describes each."""
    reach, tokens = Reach(deps), ListTokens()
    return [
        *health.routes(deps, reach),
        *servers.routes(deps),
        *oauth.routes(deps),
        *tools.routes(deps),
        *filtering.routes(deps, tokens),
        *explain.routes(deps),
        *dry_run.routes(deps, tokens),
        *views.routes(deps),
        *workspaces.routes(deps.workspaces, deps.clock),
        *metrics.routes(deps.metrics, lambda: _read(deps, reach, tokens)),
    ]


async def _read(deps: Deps, reach: Reach, tokens: ListTokens) -> metrics.Reading:
    seen = await reach.look()
    policy = deps.republish.policy
    return metrics.Reading(
        supervisors=deps.fleet.supervisors,
        filtering=await counted(deps.current.default, tokens),
        views={name: await counted(audience, tokens) for name, audience in deps.current.named.items()},
        policy=policy,
        sessions=len(deps.sessions),
        kept_bytes=sum(session.kept_bytes for session in deps.sessions),
        up={name: each.ok for name, each in seen.items()},
        categorizer=reach.described,
        store=deps.store.status(),
        started_at=deps.started_at,
    )


def told(fault: Exception, unix_s: float) -> Response:
    """The answer that tells of a fault; what is none of the tree is told without its text, which may hold secrets."""
    status, code, text, data = 500, HubError.rest_code, "Something went wrong inside the hub; its log says what", None
    headers: dict[str, str] = {}
    if isinstance(fault, HubError):
        status, code, text, data = fault.http_status, fault.rest_code, str(fault), fault.data
    elif isinstance(fault, StoreUnavailable):
        status, code, text = 503, "STORE_AWAY", f"The store is away: {fault}"
    elif isinstance(fault, HTTPException):
        phrase = HTTPStatus(fault.status_code)
        status, code, text, headers = fault.status_code, phrase.name, fault.detail, dict(fault.headers or {})
    body = {"error": text, "code": code, "timestamp": iso(unix_s)}
    return answer(body if data is None else {**body, "data": data}, status, headers)


class _Faults:
    """Turns what nobody expected into a 500 and logs it; a client that went away while it was read needs no answer."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            return
        except Exception as fault:
            if started:
                raise
            _log.exception("%s %s failed", scope.get("method"), scope.get("path"))
            await told(fault, self._clock())(scope, receive, send)
