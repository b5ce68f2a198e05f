"""Filtering: what it does now, the two switches, another choice of most used tools, and whether the LLM takes its key.

Owns the switches: each is in force when its answer comes, and lasts until the config changes or the process ends. What
the statistics count and how they call it is in `filter_stats` and `llm_stats`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub_gateway.config.faults import did_you_mean
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.errors import CallerError, Conflict, HubError, SatelliteError
from hub_gateway.exposure.policy import Policy
from hub_gateway.management.bodies import answer, iso, read
from hub_gateway.management.deps import Deps
from hub_gateway.management.filter_stats import MODES, counted, filter_stats, shown
from hub_gateway.management.list_tokens import ListTokens
from hub_gateway.management.llm_stats import key_status, llm_stats

SETTLE_TIMEOUT_S = 15.0
"""More than the satellites' deadlines together."""


class NotInForceYet(HubError):
    """The switch was taken and the lists do not follow yet."""

    http_status = 503
    rest_code = "NOT_READY"


class _Status(msgspec.Struct):
    enabled: bool


class _Mode(msgspec.Struct):
    mode: str


def routes(deps: Deps, tokens: ListTokens) -> list[Route]:
    """The five routes."""
    switching = asyncio.Lock()  # each switch starts from the one before
    limit_bytes = deps.settings.body_limit_bytes

    async def stats(_request: Request) -> Response:
        return answer({**await _stats(deps, tokens), "timestamp": iso(deps.clock())})

    async def check(_request: Request) -> Response:
        said = await deps.categorizer.describe(check_key=True)
        told = {"enabled": said.llm_configured, "provider": said.provider or None, "model": said.model or None}
        return answer({**told, "key": key_status(said), "timestamp": iso(deps.clock())})

    async def status(request: Request) -> Response:
        asked = await read(request, _Status, limit_bytes)
        async with switching:
            return await _apply(deps, switched(deps.republish.policy, asked.enabled))

    async def mode(request: Request) -> Response:
        asked = await read(request, _Mode, limit_bytes)
        async with switching:
            return await _apply(deps, with_mode(deps.republish.policy, asked.mode))

    async def most_used(_request: Request) -> Response:
        chosen = await deps.calls.usage.choose(deps.current.exposure.catalog)
        await _settled(deps)
        told = [{"name": name, "share": share} for name, share in chosen.items()]
        return answer({"status": "ok", "mostUsed": told, "timestamp": iso(deps.clock())})

    return [
        Route("/api/filtering/stats", stats, methods=["GET"]),
        Route("/api/filtering/llm/check", check, methods=["POST"]),
        Route("/api/filtering/status", status, methods=["POST"]),
        Route("/api/filtering/mode", mode, methods=["POST"]),
        Route("/api/filtering/most-used", most_used, methods=["POST"]),
    ]


def switched(policy: Policy, enabled: bool) -> ToolFiltering:
    """The filtering that is on or off and otherwise as it is.

    Raises:
        Conflict: it is to be on, and neither a mode nor a rule for single entries says how.
    """
    mode = policy.filtering.mode or policy.mode
    if enabled and mode is None and policy.filtering.tools is None and policy.filtering.annotations is None:
        raise Conflict("Filtering has no mode: choose one with POST /api/filtering/mode", {"validModes": MODES})
    return msgspec.structs.replace(policy.filtering, enabled=enabled, mode=mode)


def with_mode(policy: Policy, mode: str) -> ToolFiltering:
    """The filtering in that mode. It turns filtering on unless that was turned off by name.

    Raises:
        CallerError: there is no such mode.
    """
    if mode not in MODES:
        text = f"Invalid body: `mode` must be one of {', '.join(MODES)}{did_you_mean(mode[:64], MODES)}"
        raise CallerError(text, {"field": "mode", "validModes": MODES})
    enabled = policy.filtering.enabled is not False
    return msgspec.structs.replace(policy.filtering, enabled=enabled, mode=mode)


async def _apply(deps: Deps, filtering: ToolFiltering) -> Response:
    deps.republish.apply(filtering)
    await _settled(deps)
    policy = deps.republish.policy
    told = {
        "enabled": policy.in_force,
        "mode": policy.filtering.mode,
        "warnings": _warnings(policy, deps.current.exposure.verdicts.stale),
    }
    body = {"status": "ok", "toolFiltering": told, "persisted": False, "timestamp": iso(deps.clock())}
    return answer(body)


async def _settled(deps: Deps) -> None:
    try:
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            await deps.republish.settled()
    except TimeoutError as fault:
        raise NotInForceYet("Taken, but the lists do not follow it yet") from fault


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


async def _stats(deps: Deps, tokens: ListTokens) -> dict[str, Any]:
    try:
        said = await deps.categorizer.describe()
    except SatelliteError:
        said = None
    current = deps.current
    named = [
        {"name": name, **shown(audience, await counted(audience, tokens))} for name, audience in current.named.items()
    ]
    default = filter_stats(current.default, await counted(current.default, tokens))
    return {**default, "views": named, **llm_stats(said)}
