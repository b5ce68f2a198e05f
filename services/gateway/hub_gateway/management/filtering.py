"""Filtering: what it does now, the two switches, and whether the LLM takes its key.

Owns the names and units of the statistics: current numbers, rates as fractions from 0 to 1, latencies in milliseconds,
null where there is no data. A switch is in force when its answer comes; it lasts until the config changes or the
process ends.
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

_OF_LLM = (
    "successRate",
    "timeouts",
    "totalRetries",
    "fallbacksUsed",
    "circuitBreakerTrips",
    "circuitBreakerState",
    "circuitBreakerFailures",
    "queueDepth",
)
"""Members of `llm` that mean nothing without one."""

_KEY_STATES = {
    pb.KEY_STATE_UNCHECKED: "unchecked",
    pb.KEY_STATE_OK: "ok",
    pb.KEY_STATE_REFUSED: "refused",
    pb.KEY_STATE_UNREACHABLE: "unreachable",
    pb.KEY_STATE_NO_PACKAGE: "no-package",
}


class NotInForceYet(HubError):
    """The switch was taken and the lists do not follow yet."""

    http_status = 503
    rest_code = "NOT_READY"


class _Status(msgspec.Struct):
    enabled: bool


class _Mode(msgspec.Struct):
    mode: str


def routes(deps: Deps) -> list[Route]:
    """The four routes."""
    switching = asyncio.Lock()  # each switch starts from the one before
    limit_bytes = deps.settings.body_limit_bytes

    async def stats(_request: Request) -> Response:
        return answer({**await _stats(deps), "timestamp": iso(deps.clock())})

    async def check(_request: Request) -> Response:
        said = await deps.categorizer.describe(check_key=True)
        told = {"enabled": said.llm_configured, "provider": said.provider or None, "model": said.model or None}
        return answer({**told, "key": _key(said), "timestamp": iso(deps.clock())})

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
        Route("/api/filtering/llm/check", check, methods=["POST"]),
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
    """The part that only the categorizer knows; null throughout while it is away, and where there is no data."""
    size, hits, lookups = (said.cache_size, said.cache_hits, said.cache_lookups) if said else (None, None, None)
    misses = lookups - hits if lookups is not None and hits is not None else None
    hit_rate = _rate(hits, lookups)
    llm = said.llm if said and said.HasField("llm") else None
    return {
        "cacheHitRate": _rate(said.category_hits, said.category_lookups) if said else None,
        "llmCacheSize": size,
        "llmCacheHitRate": hit_rate,
        "llm": {
            "enabled": said.llm_configured if said else None,
            "provider": said.provider or None if said else None,
            "model": said.model or None if said else None,
            "key": _key(said),
            **_calls(said, llm),
            **_latency(llm),
        },
        "llmCache": {"size": size, "entryCount": size, "hits": hits, "misses": misses, "hitRate": hit_rate},
        "promptCache": _prompts(llm),
        "queue": {
            "depth": llm.queue_depth if llm else None,
            "processed": llm.queue_processed if llm else None,
        },
        "circuitBreaker": {
            "state": llm.breaker_state if llm else None,
            "consecutiveFailures": llm.consecutive_failures if llm else None,
        },
        "categorizer": "ok" if said else "away",
    }


def _calls(said: pb.DescribeResponse | None, llm: pb.LlmStats | None) -> dict[str, Any]:
    """Questions by their end. Without an LLM none was asked, and that is no success rate."""
    if said is None or llm is None:
        none = None if said is None else 0
        ended = dict.fromkeys(("totalRequests", "totalCalls", "successfulCalls", "failedCalls"), none)
        return {**ended, **dict.fromkeys(_OF_LLM)}
    return {
        "totalRequests": llm.calls,
        "totalCalls": llm.calls,
        "successfulCalls": llm.successes,
        "failedCalls": llm.failures,
        "successRate": _rate(llm.successes, llm.successes + llm.failures),
        "timeouts": llm.timeouts,
        "totalRetries": llm.retries,
        "fallbacksUsed": llm.failures,
        "circuitBreakerTrips": llm.breaker_trips,
        "circuitBreakerState": llm.breaker_state,
        "circuitBreakerFailures": llm.consecutive_failures,
        "queueDepth": llm.queue_depth,
    }


def _latency(llm: pb.LlmStats | None) -> dict[str, float | None]:
    """In milliseconds."""
    if llm is None or not llm.HasField("latency"):
        return dict.fromkeys(("averageLatency", "p50Latency", "p95Latency", "p99Latency"))
    took = llm.latency
    parts = {"average": took.average_ms, "p50": took.p50_ms, "p95": took.p95_ms, "p99": took.p99_ms}
    return {f"{name}Latency": round(value_ms, 1) for name, value_ms in parts.items()}


def _prompts(llm: pb.LlmStats | None) -> dict[str, Any]:
    if llm is None:
        return {"hits": None, "misses": None, "hitRate": None}
    misses = llm.prompt_lookups - llm.prompt_hits
    return {"hits": llm.prompt_hits, "misses": misses, "hitRate": _rate(llm.prompt_hits, llm.prompt_lookups)}


def _key(said: pb.DescribeResponse | None) -> dict[str, Any] | None:
    """Whether the provider takes the key; None where no LLM is configured or nobody can say."""
    if said is None or not said.HasField("provider_status"):
        return None
    status = said.provider_status
    return {
        "status": _KEY_STATES.get(status.key, "unchecked"),
        "httpStatus": status.http_status or None,
        "reason": status.reason or None,
        "checkedAt": iso(status.checked_at_ms / 1000) if status.checked_at_ms else None,
    }


def _rate(part: int | None, whole: int | None) -> float | None:
    """A fraction from 0 to 1; None where there is nothing to divide by."""
    return None if part is None or not whole else round(part / whole, 4)
