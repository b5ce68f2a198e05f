"""The views of the config: what they are called, who may have them, and how much each shows.

Owns the answer's shape. Tells no token and nothing of one.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub_gateway.exposure.current import Audience
from hub_gateway.exposure.difference import count
from hub_gateway.exposure.view import View
from hub_gateway.management.bodies import answer, iso
from hub_gateway.management.deps import Deps


def routes(deps: Deps) -> list[Route]:
    """The one route."""

    async def views(_request: Request) -> Response:
        return answer({"views": described(deps), "timestamp": iso(deps.clock())})

    return [Route("/api/views", views, methods=["GET"])]


def described(deps: Deps) -> list[dict[str, Any]]:
    """The default first (its name is null), then the named ones as the config has them."""
    configured = deps.document().views
    default = _view(deps, deps.current.default, None, "", needs_credential=False)
    return [
        default,
        *(
            _view(deps, deps.current.of(name), name, view.description, needs_credential=view.credentials is not None)
            for name, view in configured.items()
        ),
    ]


def _view(
    deps: Deps, audience: Audience, name: str | None, description: str, *, needs_credential: bool
) -> dict[str, Any]:
    allowed, start = audience.allowed, audience.view(audience.at_start)
    policy = audience.policy
    return {
        "name": name,
        "path": "/mcp" if name is None else f"/mcp/v/{name}",
        "description": description,
        "needsCredential": needs_credential,
        "inForce": policy.in_force,
        "mode": policy.mode,
        "automatic": policy.automatic,
        "stale": audience.exposure.verdicts.stale,
        "allowed": counts(allowed),
        "visibleAtStart": counts(start),
        "sessions": sum(session.view_name == audience.name for session in deps.sessions),
    }


def counts(view: View) -> dict[str, int]:
    """How many entries of each kind a view shows."""
    return {kind.value: number for kind, number in count(view).items()}
