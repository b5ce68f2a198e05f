"""Why an entry is seen or not: by whom, by which rule, in which file and line.

Owns the question's parameters and the answer's shape. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.config.faults import did_you_mean
from hub_gateway.errors import CallerError, UnknownEntry
from hub_gateway.exposure.current import Audience
from hub_gateway.exposure.explain import Explanation, explain, nearest
from hub_gateway.management.bodies import answer, iso
from hub_gateway.management.deps import Deps
from hub_gateway.sessions.session import Session

KINDS = {"tool": EntryKind.TOOL, "prompt": EntryKind.PROMPT, "resource": EntryKind.RESOURCE}
KINDS["template"] = EntryKind.TEMPLATE


def no_view(views: Collection[str], name: str) -> UnknownEntry:
    """The fault of naming a view that is not among these, with the one that was likely meant."""
    return UnknownEntry(f"There is no view {name[:64]!r}{did_you_mean(name[:64], views)}", {"views": list(views)})


def routes(deps: Deps) -> list[Route]:
    """The one route."""

    async def explained(request: Request) -> Response:
        return answer({**_explain(deps, dict(request.query_params)), "timestamp": iso(deps.clock())})

    return [Route("/api/filtering/explain", explained, methods=["GET"])]


def _explain(deps: Deps, asked: dict[str, str]) -> dict[str, Any]:
    named = {word: asked[word] for word in KINDS if word in asked}
    if len(named) != 1:
        raise CallerError(f"Name one entry: one of {', '.join(f'{word}=' for word in KINDS)}", {"field": "tool"})
    (word, name) = next(iter(named.items()))
    session = _session(deps, asked)
    view_name = session.view_name if session is not None else asked.get("view", "")
    if view_name and view_name not in deps.current.named:
        raise no_view(deps.current.named, view_name)
    audience = deps.current.of(view_name)
    catalog = audience.exposure.catalog
    entry = catalog.find(KINDS[word], name)
    if entry is None:
        raise UnknownEntry(
            f"No server offers a {word} {name[:200]!r}", {"nearest": nearest(catalog, KINDS[word], name)}
        )
    opened = deps.calls.opened(audience, session)
    supervisor = deps.fleet.supervisors.get(entry.upstream_name)
    is_up = supervisor is not None and supervisor.connection is not None
    found = explain(
        audience.exposure,
        audience.view(opened),
        opened,
        entry,
        is_up=is_up,
        places=deps.document().places,
        switched=_switched(deps, audience),
    )
    return {"view": view_name or None, "session": None if session is None else session.id, **_told(word, found)}


def _switched(deps: Deps, audience: Audience) -> set[str]:
    """The keys of the default policy that stand otherwise in the config; no switch reaches a view."""
    if audience.name:
        return set()
    now, written = audience.policy.filtering, deps.document().tool_filtering
    return {key for key in ("enabled", "mode") if getattr(now, key) != getattr(written, key)}


def _session(deps: Deps, asked: dict[str, str]) -> Session | None:
    if "session" not in asked:
        return None
    session = deps.sessions.here(asked["session"])
    if session is None:
        raise UnknownEntry("This replica has no session of that id")
    if asked.get("view", session.view_name) != session.view_name:
        raise CallerError("The session is of another view", {"field": "view"})
    return session


def _told(word: str, found: Explanation) -> dict[str, Any]:
    entry, category = found.entry, found.category
    return {
        "kind": word,
        "name": entry.public_name,
        "server": entry.upstream_name,
        "localName": entry.local_name,
        "allowed": found.allowed,
        "opened": found.opened,
        "visible": found.visible,
        "callable": found.callable,
        "rule": found.rule,
        "path": found.path or None,
        "place": None if found.place is None else msgspec.to_builtins(found.place),
        "switched": found.switched,
        "category": None if category is None else category.name,
        "categorySource": None if category is None else category.source,
        "change": found.change,
    }
