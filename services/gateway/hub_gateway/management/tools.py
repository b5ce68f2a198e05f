"""Every tool of every connected server, and why clients see it or do not.

Owns the answer's shape (reference: `GET /api/tools`). Decides nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.config.server_model import ServerConfig
from hub_gateway.exposure.view import View
from hub_gateway.management.bodies import answer, iso
from hub_gateway.management.deps import Deps
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire import rewrite


class _Definition(msgspec.Struct):
    """Raw, since the member may hold anything."""

    description: msgspec.Raw = msgspec.Raw(b"")


_definition = msgspec.json.Decoder(_Definition)


def routes(deps: Deps) -> list[Route]:
    """The one route."""

    async def tools(_request: Request) -> Response:
        return answer({"tools": described(deps), "timestamp": iso(deps.clock())})

    return [Route("/api/tools", tools, methods=["GET"])]


def described(deps: Deps) -> list[dict[str, Any]]:
    """All tools in the order of their public names."""
    view = deps.current.view(deps.current.at_start)
    supervisors = deps.fleet.supervisors
    entries = deps.current.exposure.catalog.entries
    return [
        _tool(entry, supervisors.get(entry.upstream_name), view, deps)
        for entry in entries
        if entry.kind is EntryKind.TOOL
    ]


def _tool(entry: Entry, supervisor: Supervisor | None, view: View, deps: Deps) -> dict[str, Any]:
    exposure = deps.current.exposure
    category = exposure.categories.get(entry.category_key)
    rule = exposure.verdicts.rule(entry)
    config = None if supervisor is None else supervisor.config
    return {
        "server": entry.upstream_name,
        "serverDisplayName": config.shown_name if isinstance(config, ServerConfig) else entry.upstream_name,
        "name": entry.local_name,
        "publicName": entry.public_name,
        "description": rewrite.text(_definition.decode(entry.listed_raw).description) or "",
        "enabled": supervisor is not None and supervisor.connection is not None,
        "categories": [] if category is None else [category.name],
        "category": None if category is None else category.name,
        "categorySource": None if category is None else category.source,
        "allowed": rule.allows,
        "rule": rule.id,
        "visible": view.shows(entry),
    }
