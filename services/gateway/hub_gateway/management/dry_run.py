"""What a policy would show if it were in force: the rules, the filter and the catalog are the real ones, and nothing is
changed.

Owns the question's body and the answer's shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.faults import member
from hub_gateway.config.filter_model import CategoryFilter, ToolFiltering
from hub_gateway.config.trial import Trial, trial
from hub_gateway.exposure.counts import per_rule
from hub_gateway.exposure.current import Audience, Exposure
from hub_gateway.exposure.difference import Difference, difference
from hub_gateway.exposure.policy import effective
from hub_gateway.exposure.start import at_start
from hub_gateway.exposure.unmatched import unmatched
from hub_gateway.exposure.verdicts import EVERYTHING, decided
from hub_gateway.management.bodies import answer, iso, read
from hub_gateway.management.deps import Deps
from hub_gateway.management.explain import KINDS, no_view
from hub_gateway.management.list_tokens import ListCost, ListTokens

MAX_NAMES = 100
"""Entries named of those that come, and of those that go; `total` counts all."""


_WORDS = {kind: word for word, kind in KINDS.items()}


class _Question(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    tool_filtering: Any
    view: str = ""
    document_tool_filtering: Any = None


def routes(deps: Deps, tokens: ListTokens) -> list[Route]:
    """The one route."""

    async def dry_run(request: Request) -> Response:
        asked = await read(request, _Question, deps.settings.body_limit_bytes)
        return answer({**await _dry_run(deps, tokens, asked), "timestamp": iso(deps.clock())})

    return [Route("/api/filtering/dry-run", dry_run, methods=["POST"])]


async def _dry_run(deps: Deps, tokens: ListTokens, asked: _Question) -> dict[str, Any]:
    known = asked.view in deps.current.named or asked.document_tool_filtering is not None
    if asked.view and not known:
        raise no_view(deps.current.named, asked.view)
    tried = trial(asked.tool_filtering, asked.view, deps.document(), asked.document_tool_filtering)
    audience = deps.current.of(asked.view)  # of a view that is not there yet, who sees nothing
    at_start_now, allowed_now = audience.view(audience.at_start), audience.allowed
    before = audience.exposure if asked.view in deps.current.named else deps.current.exposure
    after = Audience(audience.name, audience.look)
    after.swap(await _exposure(deps, before, tried))
    at_start_then = after.view(after.at_start)
    policy = after.policy
    return {
        "view": asked.view or None,
        "inForce": policy.in_force,
        "mode": policy.mode,
        "automatic": policy.automatic,
        "warnings": [*tried.warnings, *_unmatched(asked.view, tried, before.catalog)],
        "rules": [
            {
                "rule": rule.rule,
                "allows": rule.allows,
                "entries": rule.entries,
                **{kind.value: number for kind, number in rule.kinds.items()},
            }
            for rule in per_rule(after.exposure)
        ],
        "allowed": _told(difference(allowed_now, after.allowed), after.exposure),
        "visibleAtStart": _told(difference(at_start_now, at_start_then), after.exposure),
        "tokens": {
            "now": _cost(await tokens.cost(audience.exposure, at_start_now)),
            "then": _cost(await tokens.cost(after.exposure, at_start_then)),
        },
    }


async def _exposure(deps: Deps, before: Exposure, tried: Trial) -> Exposure:
    """What republishing would make of the catalog by this policy (`routing/republish`), put in force for nobody.

    Raises:
        SatelliteError: the filter is away, or the categorizer where it has to be asked.
    """
    catalog, filtering, of_document = before.catalog, tried.filtering, tried.document_filtering
    policy = effective(filtering, sum(entry.kind is EntryKind.TOOL for entry in catalog.entries))
    categories = before.categories
    if _mappings(of_document) != _mappings(deps.republish.policy.filtering):
        assigned = await deps.categorizer.categorize(catalog.entries, of_document)
        categories = {e.category_key: each.category for e, each in zip(catalog.entries, assigned, strict=True)}
    verdicts = EVERYTHING
    if policy.in_force:
        known = [each.name if (each := categories.get(e.category_key)) else "" for e in catalog.entries]
        asked = (catalog, policy.filtering, policy.mode, known if policy.needs_categories else [])
        verdicts = decided(catalog, await deps.filter.decide(*asked))
    most_used: Mapping[str, float] = {}
    if policy.mode == "auto":
        most_used = await deps.calls.usage.foreseen(catalog)
    exposure = Exposure(catalog, verdicts, categories, most_used, policy)
    return msgspec.structs.replace(exposure, at_start=at_start(policy, exposure))


def _unmatched(view: str, tried: Trial, catalog: Catalog) -> list[str]:
    if not view:
        return unmatched(tried.filtering, catalog, "toolFiltering")
    path = f"{member('views', view)}.toolFiltering"
    return unmatched(tried.filtering, catalog, path, tried.document_filtering)


def _mappings(filtering: ToolFiltering) -> tuple[Any, Any]:
    """What gives categories beside the built-in ones."""
    chosen = filtering.category_filter or CategoryFilter(())
    return chosen.custom_mappings, chosen.category_overrides


def _told(found: Difference, after: Exposure) -> dict[str, Any]:
    def named(entries: Sequence[Entry]) -> dict[str, Any]:
        first = [
            {"kind": _WORDS[e.kind], "name": e.public_name, "rule": after.verdicts.rule(e).id}
            for e in entries[:MAX_NAMES]
        ]
        return {"total": len(entries), "entries": first}

    return {
        "now": {kind.value: number for kind, number in found.now.items()},
        "then": {kind.value: number for kind, number in found.then.items()},
        "appear": named(found.appear),
        "disappear": named(found.disappear),
    }


def _cost(cost: ListCost) -> dict[str, int]:
    return {"all": cost.whole, "exposed": cost.exposed, "atStart": cost.at_start}
