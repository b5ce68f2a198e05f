"""What a completed task costs in each mode, replayed: `python -m bench.replay DATA` or `make replay DATA=dir`.

A simulation: nobody is asked but the ranking. DATA is a set of `bench/eval_ranking.py` (`catalog.jsonl`,
`queries.jsonl`). Its prompts are packed into catalogs of 1.5 k, 5 k, 15 k and 100 k tokens that hold what they need
and other tools of the set; where the set has too few, it is repeated under other server names. A conversation is one
prompt, or five of the same catalog, and every prompt is answered by calling each tool that it needs once.

The modes: *direct* lists every definition; *search* lists the hub's own tools, of which the model uses
`hub__search_tools` and `hub__call_tool` (the stateless rendering, whose list never varies); *auto* is what
`exposure/start.py` shows with the default config, after the other half of the prompts were called before.

Costs are in input tokens at full price. A request pays for all that is in the conversation so far: with a prompt cache
0.1 for what an earlier request of the conversation had, and 1.25 for what is new; without one, 1 for everything. An
output token costs 5. A tool call is 60 tokens of output (through the hub 72, a search 40), its result 200 tokens, the
final words 150; the system prompt is 500. A search pays for its real answer. Where a needed tool is not named in it,
the model asks again for 50 tools; a task that still lacks one is done again in direct mode, in a conversation of its
own, and pays for both. A tool that an earlier answer of the conversation named needs no search. Direct mode is taken
never to choose wrongly, however many tools it lists: that favours it.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.eval_answers import Searching, Tool
from bench.eval_ranking import Query, installed_embedding, query, read_lines
from hub_filter.vectors import Embed
from hub_gateway.catalog.description import for_models
from hub_gateway.catalog.entry import Entry, Offering
from hub_gateway.catalog.snapshot import Catalog, merge, parse
from hub_gateway.catalog.tokens import estimate
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.exposure.current import Exposure
from hub_gateway.exposure.meta_tools import definitions
from hub_gateway.exposure.policy import effective
from hub_gateway.exposure.start import at_start
from hub_gateway.wire.revisions import Era

SIZES = (1_500, 5_000, 15_000, 100_000)
TURNS = (1, 5)
MODES = ("direct", "search", "auto")

CACHED, WRITTEN, OUTPUT = 0.1, 1.25, 5.0
SYSTEM, CALL, CALL_THROUGH, SEARCH, RESULT, WORDS = 500, 60, 72, 40, 200, 150
AGAIN = 50
OWN = sum(estimate(for_models(raw)) for raw in definitions(Era.STATELESS, brief=True))


class Conversation:
    """The bill of one conversation."""

    def __init__(self, listed: int, cache: bool) -> None:
        self.cost = 0.0
        self._cache = cache
        self._sent = 0
        self._new = listed + SYSTEM

    def hear(self, tokens: int) -> None:
        """Something new stands in the conversation."""
        self._new += tokens

    def say(self, tokens: int) -> None:
        """One request: the model reads everything and writes these tokens."""
        if self._cache:
            self.cost += CACHED * self._sent + WRITTEN * self._new
        else:
            self.cost += self._sent + self._new
        self.cost += OUTPUT * tokens
        self._sent += self._new
        self._new = tokens


class World:
    """A catalog, what each mode lists of it, and what searches in it found."""

    def __init__(self, tools: Sequence[dict[str, Any]], queries: Sequence[Query], embed: Embed | None) -> None:
        self.queries = queries
        self._searching = Searching(tools, embed)
        self.entries = {(each.upstream_name, each.local_name): each for each in self._searching.entries}
        self.size = sum(map(cost, self._searching.entries))
        self._answers: dict[tuple[str, int], tuple[int, frozenset[Tool]]] = {}
        self._catalog = catalog_of(self._searching.entries)

    def search(self, prompt: str, limit: int) -> tuple[int, frozenset[Tool]]:
        """What an answer costs, and which tools it names."""
        if (prompt, limit) not in self._answers:
            answer = self._searching.answer(prompt, limit)
            named = frozenset((each.upstream_name, each.local_name) for each in answer.named)
            self._answers[prompt, limit] = (estimate(answer.text), named)
        return self._answers[prompt, limit]

    def shown(self, filtering: ToolFiltering, most_used: Mapping[str, float]) -> tuple[int, frozenset[Tool] | None]:
        """What auto lists: its cost, and which tools it shows; None stands for all."""
        opened = at_start(effective(filtering, len(self.entries)), Exposure(self._catalog, most_used=most_used))
        if opened.everything:
            return self.size, None
        direct = [each for each in self._searching.entries if each.public_name in opened.public_names]
        return OWN + sum(map(cost, direct)), frozenset((each.upstream_name, each.local_name) for each in direct)


def cost(entry: Entry) -> int:
    """What a definition costs in a list."""
    return estimate(for_models(entry.listed_raw))


def catalog_of(entries: Sequence[Entry]) -> Catalog:
    """The catalog these entries would be in."""
    servers: dict[str, list[bytes]] = {}
    for each in entries:
        servers.setdefault(each.upstream_name, []).append(each.listed_raw)
    # Definitions stand under their public names already; without prefixes they keep them.
    parsed = [parse(name, Offering(tools=tuple(raws))) for name, raws in servers.items()]
    return merge(parsed, dict.fromkeys(servers, ""), list(servers))


def converse(
    world: World, turns: Sequence[Query], mode: str, cache: bool, auto: tuple[int, frozenset[Tool] | None]
) -> float:
    """What these turns cost in a mode."""
    listed, direct = {"direct": (world.size, None), "search": (OWN, frozenset[Tool]()), "auto": auto}[mode]
    conversation = Conversation(listed, cache)
    known: set[Tool] = set(direct or ())
    again = 0.0
    for prompt, needs in turns:
        conversation.hear(estimate(prompt))
        if direct is not None and not _covered(needs, known):
            for limit in (0, AGAIN):
                tokens, named = world.search(prompt, limit)
                conversation.say(SEARCH)
                conversation.hear(tokens)
                known |= named
                if _covered(needs, known):
                    break
            else:
                conversation.say(WORDS)
                again += converse(world, [Query(prompt, needs)], "direct", cache, auto)
                continue
        for need in needs:
            through = direct is not None and need.isdisjoint(direct)
            conversation.say(CALL_THROUGH if through else CALL)
            conversation.hear(RESULT)
        conversation.say(WORDS)
    return conversation.cost + again


def _covered(needs: Sequence[set[Tool]], known: set[Tool]) -> bool:
    return all(not need.isdisjoint(known) for need in needs)


def packed(
    tools: Sequence[dict[str, Any]], queries: Sequence[Query], size: int
) -> Iterator[tuple[list[dict[str, Any]], list[Query]]]:
    """Catalogs of that many tokens, each with prompts whose tools it holds. A prompt that needs more is left out."""
    by_name: dict[Tool, dict[str, Any]] = {(tool["server"], tool["name"]): tool for tool in tools}
    costs = {name: _cost_of(tool) for name, tool in by_name.items()}
    order = sorted(by_name, key=lambda name: hashlib.sha256("\0".join(name).encode()).digest())
    waiting = [each for each in queries if all(any(tool in by_name for tool in need) for need in each.needs)]
    while waiting:
        chosen: list[Query] = []
        held: dict[Tool, dict[str, Any]] = {}
        left: list[Query] = []
        for each in waiting:
            wanted = {tool: by_name[tool] for need in each.needs for tool in sorted(need) if tool in by_name}
            both = held | wanted
            spent = sum(costs[name] for name in both)
            if spent <= size / 2 or (not chosen and spent <= size):
                chosen.append(each)
                held = both
            elif spent <= size or chosen:
                left.append(each)
        if not chosen:
            return
        yield _filled(held, order, by_name, costs, size), chosen
        waiting = left


def _filled(
    held: Mapping[Tool, dict[str, Any]],
    order: Sequence[Tool],
    by_name: Mapping[Tool, dict[str, Any]],
    costs: Mapping[Tool, int],
    size: int,
) -> list[dict[str, Any]]:
    found = dict(held)
    spent = sum(costs[name] for name in held)
    for copy in range(1, 50):
        for server, name in order:
            renamed = (server if copy == 1 else f"{server}-{copy}", name)
            if renamed in found or spent + costs[server, name] > size:
                continue
            found[renamed] = {**by_name[server, name], "server": renamed[0]}
            spent += costs[server, name]
        if spent > 0.98 * size:
            break
    return list(found.values())


def _cost_of(tool: dict[str, Any]) -> int:
    return sum(map(cost, Searching.entries_of([tool])))


class Row(NamedTuple):
    """Mean cost per completed task of each mode, for one kind of conversation."""

    size: int
    turns: int
    cache: bool
    prompts: int
    costs: dict[str, float]

    @property
    def auto_ratio(self) -> float:
        """What auto costs, against the better of the two fixed modes."""
        return self.costs["auto"] / min(self.costs["direct"], self.costs["search"])


def replay(
    tools: Sequence[dict[str, Any]],
    queries: Sequence[Query],
    embed: Embed | None,
    filtering: ToolFiltering | None = None,
    sizes: Sequence[int] = SIZES,
) -> list[Row]:
    """The whole table."""
    filtering = filtering or ToolFiltering(mode="auto")
    rows: list[Row] = []
    for size in sizes:
        worlds = [World(held, chosen, embed) for held, chosen in packed(tools, queries, size)]
        for turns in TURNS:
            for cache in (False, True):
                costs: dict[str, list[float]] = {mode: [] for mode in MODES}
                for world in worlds:
                    for start, one in enumerate(world.queries):
                        conversation = [world.queries[(start + n) % len(world.queries)] for n in range(turns)]
                        auto = world.shown(filtering, _history(world, one))
                        for mode, found in costs.items():
                            found.append(converse(world, conversation, mode, cache, auto) / turns)
                means = {mode: statistics.fmean(found) for mode, found in costs.items() if found}
                if means:
                    rows.append(Row(size, turns, cache, len(costs["direct"]), means))
    return rows


def _history(world: World, but: Query) -> dict[str, float]:
    """The shares of calls where every second of the other prompts was asked before."""
    before = [each for each in world.queries if each is not but][::2]
    calls = Counter(
        world.entries[tool].public_name
        for each in before
        for need in each.needs
        for tool in sorted(need)[:1]
        if tool in world.entries
    )
    return {name: count / calls.total() for name, count in calls.items()}


def main(arguments: Sequence[str]) -> int:
    """Print the table of one set; the exit status is 1 where auto costs more than 1.05 of the better fixed mode."""
    parser = argparse.ArgumentParser(description="What a completed task costs in each mode.")
    parser.add_argument("data", type=Path, help="a folder with catalog.jsonl and queries.jsonl")
    folder = parser.parse_args(arguments).data
    tools, lines = read_lines(folder / "catalog.jsonl"), read_lines(folder / "queries.jsonl")
    print(
        f"{'catalog':>8}{'turns':>7}{'cache':>7}{'tasks':>7}"
        + "".join(f"{mode:>10}" for mode in MODES)
        + f"{'auto/best':>11}"
    )
    rows = replay(tools, [query(line) for line in lines], installed_embedding())
    for row in rows:
        costs = "".join(f"{row.costs[mode]:10.0f}" for mode in MODES)
        print(f"{row.size:8}{row.turns:7}{'on' if row.cache else 'off':>7}{row.prompts:7}{costs}{row.auto_ratio:11.3f}")
    return int(any(row.auto_ratio > 1.05 for row in rows))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
