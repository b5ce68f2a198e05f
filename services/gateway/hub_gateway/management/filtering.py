"""Filtering: what it does now, and the two switches.

Owns the names and units of the statistics: current numbers, rates as fractions from 0 to 1, null where nothing is
measured. A switch is in force when its answer comes; it lasts until the config changes or the process ends.
"""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_gateway.catalog.entry import EntryKind
from hub_gateway.config.model import FilterMode, ToolFiltering
from hub_gateway.errors import CallerError, Conflict, HubError, SatelliteError
from hub_gateway.exposure.policy import Policy
from hub_gateway.management.bodies import answer, iso, read
from hub_gateway.management.deps import Deps

SETTLE_TIMEOUT_S = 15.0
"""More than the satellites' deadlines together."""

MODES: tuple[str, ...] = get_args(FilterMode)


class NotInForceYet(HubError):
    """The switch was taken and the lists do not follow yet."""

    http_status = 503
    rest_code = "NOT_READY"


class _Status(msgspec.Struct):
    enabled: bool


class _Mode(msgspec.Struct):
    mode: str


def routes(deps: Deps) -> list[Route]:
    """The three routes."""
    switching = asyncio.Lock()  # each switch starts from the one before
    limit_bytes = deps.settings.body_limit_bytes

    async def stats(_request: Request) -> Response:
        return answer({**await _stats(deps), "timestamp": iso(deps.clock())})

    async def status(request: Request) -> Response:
        asked = await read(request, _Status, limit_bytes)
        async with switching:
            return await _apply(deps, switched(deps.republish.policy, asked.enabled))

    async def mode(request: Request) -> Response:
        asked = await read(request, _Mode, limit_bytes)
        async with switching:
            return await _apply(deps, with_mode(deps.republish.policy, asked.mode))

    return [
        Route("/api/filtering/stats", stats, methods=["GET"]),
        Route("/api/filtering/status", status, methods=["POST"]),
        Route("/api/filtering/mode", mode, methods=["POST"]),
    ]


def switched(policy: Policy, enabled: bool) -> ToolFiltering:
    """The filtering that is on or off and otherwise as it is.

    Raises:
        Conflict: it is to be on, and no mode says how.
    """
    mode = policy.filtering.mode or policy.mode
    if enabled and mode is None:
        raise Conflict("Filtering has no mode: choose one with POST /api/filtering/mode", {"validModes": MODES})
    return msgspec.structs.replace(policy.filtering, enabled=enabled, mode=mode)


def with_mode(policy: Policy, mode: str) -> ToolFiltering:
    """The filtering in that mode. It turns filtering on unless that was turned off by name.

    Raises:
        CallerError: there is no such mode.
    """
    if mode not in MODES:
        text = f"Invalid body: `mode` must be one of {', '.join(MODES)}"
        raise CallerError(text, {"field": "mode", "validModes": MODES})
    enabled = policy.filtering.enabled is not False
    return msgspec.structs.replace(policy.filtering, enabled=enabled, mode=mode)


async def _apply(deps: Deps, filtering: ToolFiltering) -> Response:
    deps.republish.apply(filtering)
    try:
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            await deps.republish.settled()
    except TimeoutError as fault:
        raise NotInForceYet("Taken, but the lists do not follow it yet") from fault
    policy = deps.republish.policy
    told = {
        "enabled": policy.mode is not None,
        "mode": policy.filtering.mode,
        "warnings": _warnings(policy, deps.current.exposure.verdicts.stale),
    }
    body = {"status": "ok", "toolFiltering": told, "persisted": False, "timestamp": iso(deps.clock())}
    return answer(body)


def _warnings(policy: Policy, stale: bool) -> list[str]:
    found: list[str] = []
    filtering = policy.filtering
    by_server, by_category = filtering.server_filter is not None, filtering.category_filter is not None
    wanted = {"server-allowlist": by_server, "category": by_category, "hybrid": by_server or by_category}
    if not wanted.get(policy.mode or "", True):
        found.append(f"mode {policy.mode} has no rule configured, so everything is allowed")
    if stale:
        found.append(f"the filter is away; until it is back the answer is '{filtering.on_filter_unavailable}'")
    return found


async def _stats(deps: Deps) -> dict[str, Any]:
    exposure, policy = deps.current.exposure, deps.republish.policy
    filtering = policy.filtering
    verdicts = exposure.verdicts
    allowed = [verdicts.allows(e) for e in exposure.catalog.entries if e.kind is EntryKind.TOOL]
    view = deps.current.view(policy.opened_at_start)
    exposed = sum(allowed)
    return {
        "enabled": policy.mode is not None,
        "mode": policy.mode or filtering.mode,
        "automatic": policy.automatic,
        "stale": verdicts.stale,
        "totalTools": len(allowed),
        "filteredTools": len(allowed) - exposed,
        "exposedTools": exposed,
        "totalExposed": exposed,
        "visibleAtStart": sum(entry.kind is EntryKind.TOOL for entry in view.visible),
        "filterRate": _rate(len(allowed) - exposed, len(allowed)) or 0.0,
        "serverFilterMode": None if filtering.server_filter is None else filtering.server_filter.mode,
        "allowedServers": [] if filtering.server_filter is None else filtering.server_filter.servers,
        "allowedCategories": [] if filtering.category_filter is None else filtering.category_filter.categories,
        "categoryCacheSize": len(exposure.categories),
        **await _categorizer_stats(deps),
    }


async def _categorizer_stats(deps: Deps) -> dict[str, Any]:
    try:
        said = await deps.categorizer.describe()
    except SatelliteError:
        said = None
    return _llm_stats(said)


def _llm_stats(said: pb.DescribeResponse | None) -> dict[str, Any]:
    """The part that only the categorizer knows; null throughout while it is away."""
    known = said is not None
    size, hits, lookups = (said.cache_size, said.cache_hits, said.cache_lookups) if said else (None, None, None)
    calls, failures = (said.llm_calls, said.llm_failures) if said else (None, None)
    misses = lookups - hits if lookups is not None and hits is not None else None
    succeeded = calls - failures if calls is not None and failures is not None else None
    hit_rate = _rate(hits, lookups)
    nothing = dict.fromkeys(("averageLatency", "p50Latency", "p95Latency", "p99Latency", "timeouts", "totalRetries"))
    return {
        "cacheHitRate": hit_rate,
        "llmCacheSize": size,
        "llmCacheHitRate": hit_rate,
        "llm": {
            "enabled": said.llm_configured if said else None,
            "provider": said.provider or None if said else None,
            "model": said.model or None if said else None,
            "totalRequests": calls,
            "totalCalls": calls,
            "successfulCalls": succeeded,
            "failedCalls": failures,
            "successRate": _rate(succeeded, calls),
            **nothing,
        },
        "llmCache": {"size": size, "entryCount": size, "hits": hits, "misses": misses, "hitRate": hit_rate},
        "queue": {"depth": None, "processed": None},
        "circuitBreaker": {"state": None, "consecutiveFailures": None},
        "categorizer": "ok" if known else "away",
    }


def _rate(part: int | None, whole: int | None) -> float | None:
    """A fraction from 0 to 1; None where there is nothing to divide by."""
    return None if part is None or not whole else round(part / whole, 4)
