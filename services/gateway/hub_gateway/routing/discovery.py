"""Journey C: from a prompt to the tools that fit it.

Filter first (a shortlist, in milliseconds), then the LLM over that shortlist where one is configured: it chooses, and
it says in other words what is asked for, which the filter ranks again. One question, two
renderings: a session's tools are opened and its list changes; a stateless client gets compact signatures that
`hub__call_tool` takes, and nothing changes (2026-07-28 changelog, major change 1).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from hub_gateway.catalog.description import describe, signature
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.errors import CallerError, SatelliteError, UnknownEntry
from hub_gateway.exposure import meta_tools
from hub_gateway.exposure.audience import ALL, NOTHING
from hub_gateway.exposure.current import Current, Exposure
from hub_gateway.exposure.policy import Policy
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.satellites.categorizer import Analysis, Categorizer
from hub_gateway.satellites.filter import Asked, Filter
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.wire import codec, rewrite

SHORTLIST = 24
"""Tools the LLM chooses from."""

MATCHES = 8
"""Tools that are opened, or returned, where no LLM narrows the shortlist."""

RANK_OFFSET = 60
"""Of reciprocal rank fusion: how little the very first places count more than the next (Cormack et al., 2009)."""

_WORD = re.compile(r"[a-z0-9]+")
_TOOLS_CHANGED = codec.notification("notifications/tools/list_changed")


class _Analyze(msgspec.Struct):
    prompt: str = ""
    context: str = ""


class _Call(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class Discovery:
    """Answers the hub's own tools."""

    def __init__(
        self, calls: Calls, current: Current, sessions: Sessions, satellites: tuple[Filter, Categorizer]
    ) -> None:
        self._calls = calls
        self._current = current
        self._sessions = sessions
        self._filter, self._categorizer = satellites
        self.policy: Policy | None = None
        """Swapped with the document."""

    def owns(self, name: str | None) -> bool:
        """Whether a tool of that name is the hub's own now."""
        policy = self.policy
        return (
            name in meta_tools.NAMES
            and policy is not None
            and policy.mode == "prompt-based"
            and policy.filtering.prompt_based_filtering.enable_meta_tools
        )

    async def call(self, exchange: Exchange, name: str) -> Response:
        """Answer `tools/call` of one of the hub's own tools.

        Raises:
            CallerError: the arguments do not fit the tool's schema.
        """
        shape = _Analyze if name == meta_tools.ANALYZE_PROMPT else _Call
        try:
            arguments = msgspec.json.decode(exchange.params.get("arguments", b"{}"), type=shape)
        except msgspec.MsgspecError as fault:
            raise CallerError(f"Invalid arguments of {name}: {fault}") from fault
        if isinstance(arguments, _Call):
            return await self._call_tool(exchange, arguments)
        return await self._analyze(exchange, arguments)

    async def _call_tool(self, exchange: Exchange, call: _Call) -> Response:
        entry = self._current.view(ALL).resolve(EntryKind.TOOL, call.name)
        if entry is None:
            raise UnknownEntry(f"Unknown tool: {call.name}")
        params = {**exchange.params, "arguments": call.arguments}
        return await self._calls.forward(exchange, entry, params, "name", meta_tools.CALL_TOOL)

    async def _analyze(self, exchange: Exchange, asked: _Analyze) -> Response:
        if not asked.prompt.strip():
            body = {"error": "prompt is empty", "message": "Say in `prompt` what you want to do."}
            return self._answer(exchange, body, is_error=True)
        exposure = self._current.exposure
        allowed = [entry for entry in self._current.view(ALL).visible if entry.kind is EntryKind.TOOL]
        shortlist = await self._shortlist(exposure, asked, allowed)
        matches, analysis = await self._choose(exposure, asked, allowed, shortlist)
        category = exposure.category
        categories = sorted({category(entry).name for entry in matches} | (analysis.categories if analysis else set()))
        body: dict[str, Any] = {
            "categories": categories,
            "confidence": round(analysis.confidence if analysis else _confidence(shortlist), 3),
            "reasoning": analysis.reasoning if analysis else "ranked by how well names and descriptions fit the prompt",
            "tools": [signature(entry) for entry in matches],
        }
        if exchange.session is not None:
            opened = self._open(exchange, exchange.session, matches, analysis.categories if analysis else frozenset())
            body["message"] = f"{opened} tools opened" if opened else "these tools were open already"
            body["nextStep"] = "Call one of `tools` by its name."
        else:
            body["message"] = f"{len(matches)} tools fit"
            body["nextStep"] = f"Call {meta_tools.CALL_TOOL} with a tool's name and its arguments."
        if not matches:
            body["message"], body["nextStep"] = "no tool fits", "Say it in other words, or name the service you mean."
        return self._answer(exchange, body)

    async def _shortlist(
        self, exposure: Exposure, asked: _Analyze, allowed: Sequence[Entry]
    ) -> list[tuple[Entry, float]]:
        if not allowed:
            return []
        search = Asked(query=asked.prompt, context=asked.context, limit=SHORTLIST)
        try:
            found = await self._filter.search(exposure, search, allowed)
            return [(match.entry, match.score) for match in found.matches]
        except SatelliteError:
            return by_words(f"{asked.prompt} {asked.context}", allowed)[:SHORTLIST]

    async def _choose(
        self, exposure: Exposure, asked: _Analyze, allowed: Sequence[Entry], shortlist: list[tuple[Entry, float]]
    ) -> tuple[list[Entry], Analysis | None]:
        best = [entry for entry, _ in shortlist]
        policy = self.policy
        llm = policy.filtering.llm_categorization if policy else None
        if not allowed or policy is None or llm is None or not llm.enabled:
            return best[:MATCHES], None
        category = exposure.category
        try:
            analysis = await self._categorizer.analyze_prompt(
                asked.prompt,
                asked.context,
                {entry: category(entry).name for entry in best},
                policy.filtering,
            )
        except SatelliteError:
            return best[:MATCHES], None
        by_name = {entry.public_name: entry for entry in best}
        named = [by_name[name] for name in analysis.public_names if name in by_name]
        if not analysis.requests:
            return named or best[:MATCHES], analysis
        asking = (self._shortlist(exposure, _Analyze(request), allowed) for request in analysis.requests)
        found = [[entry for entry, _ in hits] for hits in await asyncio.gather(*asking)]
        return list(dict.fromkeys([*named, *fused([best, *found])]))[: max(MATCHES, len(named))], analysis

    def _open(self, exchange: Exchange, session: Session, matches: list[Entry], categories: frozenset[str]) -> int:
        """Open tools on the session, or on all where sessions are not isolated, and tell whoever sees more now."""
        names = frozenset(entry.public_name for entry in matches)
        isolated = self.policy is None or self.policy.filtering.prompt_based_filtering.session_isolation
        before = {each: self._calls.session_view(each) for each in ([session] if isolated else self._sessions)}
        seen = self._calls.session_view(session)
        if isolated:
            session.opened = (session.opened or NOTHING).adding(categories, names)
            self._sessions.changed(session)
        else:
            self._calls.opened_by_all = (self._calls.opened_by_all or NOTHING).adding(categories, names)
        for each, old in before.items():
            new = self._calls.session_view(each)
            if new.listed["tools"] == old.listed["tools"] and new.with_meta_tools == old.with_meta_tools:
                continue
            # A client that holds no standing stream hears of it on the stream of this very call.
            if each is session and not session.standing.is_read and exchange.outlet is not None:
                exchange.outlet(_TOOLS_CHANGED)
            else:
                each.tell(_TOOLS_CHANGED)
        return len(self._calls.session_view(session).visible) - len(seen.visible)

    def _answer(self, exchange: Exchange, body: dict[str, Any], *, is_error: bool = False) -> Response:
        text = msgspec.json.encode(body).decode()
        result = rewrite.join(
            {
                "content": msgspec.json.encode([{"type": "text", "text": text}]),
                "structuredContent": msgspec.json.encode(body),
                "isError": b"true" if is_error else b"false",
            }
        )
        if exchange.session is None:
            result = rewrite.prepended(result, self._current.look.stateless_head(cacheable=False))
        return exchange.result(result)


def by_words(prompt: str, entries: Sequence[Entry]) -> list[tuple[Entry, float]]:
    """Rank by shared words: the answer while the filter is away."""
    wanted = set(_WORD.findall(prompt.lower()))
    scored = [
        (entry, float(len(wanted & set(_WORD.findall(f"{entry.public_name} {describe(entry).text}".lower())))))
        for entry in entries
    ]
    return sorted((pair for pair in scored if pair[1] > 0), key=lambda pair: -pair[1])


def fused(rankings: Sequence[Sequence[Entry]]) -> list[Entry]:
    """One ranking of several by reciprocal ranks; ties stand as they were first met."""
    scores: dict[Entry, float] = {}
    for ranking in rankings:
        for place, entry in enumerate(ranking):
            scores[entry] = scores.get(entry, 0.0) + 1.0 / (RANK_OFFSET + place)
    return sorted(scores, key=lambda entry: -scores[entry])


def _confidence(shortlist: list[tuple[Entry, float]]) -> float:
    """How far the best match stands out, between 0 and 1: a ratio of scores, no probability."""
    if not shortlist or shortlist[0][1] <= 0:
        return 0.0
    rest = shortlist[MATCHES][1] if len(shortlist) > MATCHES else 0.0
    return min(1.0, max(0.0, 1.0 - rest / shortlist[0][1]))
