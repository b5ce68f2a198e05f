"""Journey C: from a prompt to the tools that fit it.

One question has two renderings. A session's tools are opened and its list changes; the answer also carries compact
signatures, for clients that do not follow changes of the list. A stateless client gets the signatures alone, and
nothing changes (2026-07-28 changelog, major change 1). `hub__call_tool` takes what either was told of.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.exposure import answers, meta_tools
from hub_gateway.exposure.audience import Batch, opening
from hub_gateway.exposure.current import Current
from hub_gateway.exposure.policy import Policy
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.routing.finding import SHORTLIST, Finding, Found, Wanted
from hub_gateway.routing.indirect import Indirect
from hub_gateway.routing.opened_by_all import TOOLS_CHANGED, OpenedByAll, differing, is_told_elsewhere, views
from hub_gateway.routing.own_result import BadArguments, text_result
from hub_gateway.satellites.categorizer import Categorizer
from hub_gateway.satellites.filter import Filter
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.wire import rewrite

MAX_DESCRIBED = 10
"""Definitions one answer shows."""

MAX_LIMIT = 50
"""Tools one search may be asked for."""

_NOT_FOR_MODELS = ("icons", "_meta")

Shape = TypeVar("Shape")


class _Analyze(msgspec.Struct):
    prompt: str = ""
    context: str = ""
    replace: bool = False
    reset: bool = False


class _Search(msgspec.Struct):
    query: str = ""
    context: str = ""
    limit: int = 0
    server: str = ""
    category: str = ""


class _Describe(msgspec.Struct):
    names: list[str] | str = []
    name: str = ""


class Discovery:
    """Answers the hub's own tools."""

    def __init__(
        self,
        calls: Calls,
        current: Current,
        sessions: Sessions,
        satellites: tuple[Filter, Categorizer],
        opened_by_all: OpenedByAll,
    ) -> None:
        self._opened_by_all = opened_by_all
        self._calls = calls
        self._current = current
        self._sessions = sessions
        self._finding = Finding(satellites, calls.usage)
        self._indirect = Indirect(calls, current)
        self._answers: dict[str, Callable[[Exchange, Policy], Awaitable[Response]]] = {
            meta_tools.ANALYZE_PROMPT: self._analyze,
            meta_tools.SEARCH_TOOLS: self._search,
            meta_tools.DESCRIBE_TOOL: self._describe,
        }

    def owns(self, exchange: Exchange, name: str | None) -> bool:
        """Whether a tool of that name is the hub's own for who asks."""
        return name in meta_tools.NAMES and self._calls.audience(exchange).policy.has_meta_tools

    async def call(self, exchange: Exchange, name: str) -> Response:
        """Answer `tools/call` of one of the hub's own tools."""
        policy = self._calls.audience(exchange).policy
        try:
            if name in meta_tools.CALLS:
                variants = policy.filtering.prompt_based_filtering.call_variants
                return await self._indirect.call(exchange, name, variants=variants)
            return await self._answers[name](exchange, policy)
        except BadArguments as fault:
            text = f"Invalid arguments of {name}: {fault}"
            return text_result(exchange, self._current.look, [text], is_error=True)

    async def _analyze(self, exchange: Exchange, policy: Policy) -> Response:
        asked = _arguments(exchange, _Analyze)
        session = exchange.session
        if asked.reset and session is not None:
            await self._open(exchange, session, None)
        if not asked.prompt.strip():
            if asked.reset and session is not None:
                return self._told(exchange, {"message": "every opened tool is closed", "tools": []})
            return self._told(
                exchange, {"error": "prompt is empty", "message": "Say in `prompt` what to do."}, is_error=True
            )
        found = await self._find(exchange, policy, Wanted(asked.prompt, asked.context, self._tools(exchange)))
        matches = found.entries[: found.matches]
        analysis = found.analysis
        categories = {self._category(exchange, entry) for entry in matches}
        body: dict[str, Any] = {
            "categories": sorted(categories | (analysis.categories if analysis else set())),
            "confidence": round(found.confidence, 3),
            "reasoning": analysis.reasoning if analysis else _reasoning(found),
        }
        if not matches:
            body["message"], body["nextStep"] = "no tool fits", "Say it in other words, or name the service you mean."
        elif session is None:
            body["message"] = f"{len(matches)} tools fit"
            body["nextStep"] = f"Call {_how(policy)} with a tool's name and its arguments."
        else:
            seen = self._calls.session_view(session)
            more = sum(not seen.shows(entry) for entry in matches)
            # Never the categories that a model names: one of them may hold most of what a search is to spare.
            batch = Batch(public_names=frozenset(entry.public_name for entry in matches))
            await self._open(exchange, session, batch, replace=asked.replace)
            body["message"] = f"{more} tools opened" if more else "these tools were open already"
            body["nextStep"] = f"Call one of `tools` by its name, or through {_how(policy)} where your list lacks it."
        lines = self._lines(policy, found)
        body["tools"] = lines[: found.matches]
        if others := lines[found.matches :]:
            body["others"] = others
        return self._told(exchange, body)

    async def _search(self, exchange: Exchange, policy: Policy) -> Response:
        asked = _arguments(exchange, _Search)
        if not asked.query.strip():
            return self._told(
                exchange, {"error": "query is empty", "message": "Say in `query` what to do."}, is_error=True
            )
        if not 0 <= asked.limit <= MAX_LIMIT:
            raise BadArguments(f"limit must be from 1 to {MAX_LIMIT}")
        tools = self._tools(exchange)
        scope = self._scope(exchange, tools, asked)
        if not scope:
            return self._told(exchange, self._places(exchange, tools, asked), is_error=True)
        limit = max(asked.limit, SHORTLIST)
        found = await self._find(exchange, policy, Wanted(asked.query, asked.context, scope, limit))
        lines = self._lines(policy, found, asked.limit)
        text = answers.search_text(lines, len(scope), _how(policy))
        if found.by_words:
            text = f"{text}\n({_reasoning(found)})"
        return text_result(exchange, self._current.look, [text])

    async def _describe(self, exchange: Exchange, policy: Policy) -> Response:
        asked = _arguments(exchange, _Describe)
        names = [asked.names] if isinstance(asked.names, str) else list(asked.names)
        names += [asked.name] if asked.name else []
        if not names or len(names) > MAX_DESCRIBED:
            raise BadArguments(f"names must be 1 to {MAX_DESCRIBED}")
        view = self._calls.allowed(exchange)
        texts: list[str] = []
        for name in dict.fromkeys(names):
            entry = view.resolve(EntryKind.TOOL, name)
            if entry is None or not entry.is_for_models:
                texts.append(f"Unknown tool: {name[:200]}")
            else:
                texts.append(_definition(entry))
        unknown = all(text.startswith("Unknown tool: ") for text in texts)
        return text_result(exchange, self._current.look, ["\n".join(texts)], is_error=unknown)

    async def _find(self, exchange: Exchange, policy: Policy, wanted: Wanted) -> Found:
        return await self._finding.find(self._calls.audience(exchange).exposure, policy.filtering, wanted)

    def _category(self, exchange: Exchange, entry: Entry) -> str:
        return self._calls.audience(exchange).exposure.category(entry).name

    def _tools(self, exchange: Exchange) -> list[Entry]:
        """What a model may be told of."""
        visible = self._calls.allowed(exchange).visible
        return [entry for entry in visible if entry.kind is EntryKind.TOOL and entry.is_for_models]

    def _scope(self, exchange: Exchange, tools: list[Entry], asked: _Search) -> list[Entry]:
        server, wanted = asked.server.casefold(), asked.category.casefold()
        return [
            entry
            for entry in tools
            if (not server or entry.upstream_name.casefold() == server)
            and (not wanted or self._category(exchange, entry).casefold() == wanted)
        ]

    def _places(self, exchange: Exchange, tools: list[Entry], asked: _Search) -> dict[str, Any]:
        """What there is to search in, for who searched where nothing is."""
        body: dict[str, Any] = {"error": "there are no tools"}
        exposure = self._calls.audience(exchange).exposure
        if not tools and (exposure.settling or exposure.verdicts.stale):
            body["message"] = "Look again in a moment: a part of the hub is still to come."
        if asked.server:
            body["error"] += f" of server {asked.server[:100]!r}"
            body["servers"] = sorted({entry.upstream_name for entry in tools})
        if asked.category:
            body["error"] += f" of category {asked.category[:100]!r}"
            body["categories"] = sorted({self._category(exchange, entry) for entry in tools})
        return body

    def _lines(self, policy: Policy, found: Found, limit: int = 0) -> list[str]:
        marked = policy.filtering.prompt_based_filtering.call_variants
        return answers.lines(
            found.entries[: limit or max(found.shown, answers.LEAST_LINES)], limit=limit, marked=marked
        )

    async def _open(self, exchange: Exchange, session: Session, batch: Batch | None, *, replace: bool = False) -> None:
        """Open tools on the session, or on all where sessions are not isolated, and tell whoever sees others now.

        None closes what was opened.
        """
        audience = self._calls.audience(exchange)
        isolated = audience.policy.filtering.prompt_based_filtering.session_isolation
        before = views(self._calls, [session] if isolated else self._sessions, session.view_name)
        if isolated:
            session.opened = opening(None if replace else session.opened, batch)
            await self._sessions.changed(session)
        else:
            await self._opened_by_all.open(audience, batch, replace=replace)
        for each in differing(self._calls, before):
            # A client that holds no standing stream hears of it on the stream of this very call.
            told_elsewhere = is_told_elsewhere(each)
            if each is session and not (session.standing.is_read or told_elsewhere) and exchange.outlet is not None:
                exchange.outlet(TOOLS_CHANGED)
            elif isolated or not told_elsewhere:
                each.tell(TOOLS_CHANGED)

    def _told(self, exchange: Exchange, body: dict[str, Any], *, is_error: bool = False) -> Response:
        return text_result(exchange, self._current.look, [msgspec.json.encode(body).decode()], is_error=is_error)


def _arguments(exchange: Exchange, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(exchange.params.get("arguments", b"{}"), type=shape)
    except msgspec.MsgspecError as fault:
        raise BadArguments(str(fault)) from fault


def _reasoning(found: Found) -> str:
    """How the tools were found, where no model says it."""
    if found.by_words:
        return "ranked by shared words alone, since the filter is away: look again in a moment for better ones"
    return "ranked by how well names and descriptions fit the prompt"


def _how(policy: Policy) -> str:
    """Which of the hub's tools calls another."""
    if policy.filtering.prompt_based_filtering.call_variants:
        return f"{meta_tools.CALL_TOOL}_ and the word in front of it"
    return meta_tools.CALL_TOOL


def _definition(entry: Entry) -> str:
    """The whole definition as its upstream gave it, less what is not for models."""
    members = rewrite.members(entry.listed_raw)
    return rewrite.join({key: raw for key, raw in members.items() if key not in _NOT_FOR_MODELS}).decode()
