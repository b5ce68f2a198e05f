"""Measures what search answers cost a model and what they still hold: `python -m bench.eval_answers DATA`.

DATA is that of `bench/eval_ranking.py`. Every prompt is ranked as the filter service does it, and the answer is made as
the gateway makes that of `hub__search_tools`. Printed per set: tokens of the answers (median and 95th percentile, by
`hub_gateway.catalog.tokens`, and by o200k_base where the package `bpe-openai` is installed), the tools they name, and
the recall of what they name beside the recall of the whole ranking at 10 and 20.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.eval_ranking import document, installed_embedding, percentile, query, read_lines, sets
from hub_filter.document import analyse
from hub_filter.ranking import Ranking
from hub_filter.vectors import Embed, Vectors
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.tokens import estimate
from hub_gateway.exposure import answers
from hub_gateway.exposure.meta_tools import CALL_TOOL
from hub_gateway.routing.finding import SHORTLIST

Tool = tuple[str, str]


class Answer(NamedTuple):
    """The text of an answer, the tools it names, and the whole ranking it was made of."""

    text: str
    named: list[Entry]
    ranking: list[Entry]


class Searching:
    """A catalog, searched and answered for as the hub does it."""

    def __init__(self, tools: Sequence[dict[str, Any]], embed: Embed | None) -> None:
        self.entries = self.entries_of(tools)
        analysed = [analyse(document(tool)) for tool in tools]
        vectors = Vectors(embed([each.text for each in analysed]), embed) if embed else None
        self._ranking = Ranking(analysed, vectors)

    @staticmethod
    def entries_of(tools: Sequence[dict[str, Any]]) -> list[Entry]:
        """The lines of a catalog as the gateway lists them."""
        return [entry(tool) for tool in tools]

    def answer(self, prompt: str, limit: int = 0) -> Answer:
        """What `hub__search_tools` says to this prompt; `limit` tools were asked for, or (0) no number."""
        found = self._ranking.search(prompt, limit=max(limit, SHORTLIST))
        ranking = [self.entries[hit.index] for hit in found.hits]
        lines = answers.lines(ranking[: limit or max(found.cut, answers.LEAST_LINES)], limit=limit)
        return Answer(answers.search_text(lines, len(self.entries), CALL_TOOL), ranking[: len(lines)], ranking)


def entry(tool: dict[str, Any]) -> Entry:
    """One line of a catalog as the gateway lists it."""
    public_name = f"{tool['server']}__{tool['name']}"
    schema = tool.get("inputSchema") or {"type": "object"}
    definition = {"name": public_name, "description": tool.get("description") or "", "inputSchema": schema}
    raw = msgspec.json.encode(definition)
    return Entry(EntryKind.TOOL, tool["server"], tool["name"], public_name, raw, (), public_name)


def recall(found: Sequence[Entry], needs: Sequence[set[Tool]]) -> float:
    """The share of what is needed that is among the tools found."""
    tools = {(each.upstream_name, each.local_name) for each in found}
    return sum(not need.isdisjoint(tools) for need in needs) / len(needs)


def print_set(folder: Path, embed: Embed | None, exact: Callable[[str], int] | None) -> None:
    """Answer every prompt of a set and print its row."""
    searching = Searching(read_lines(folder / "catalog.jsonl"), embed)
    queries = [query(line) for line in read_lines(folder / "queries.jsonl")]
    found = [(searching.answer(prompt), needs) for prompt, needs in queries]
    counts = [float(estimate(answer.text)) for answer, _ in found]
    row = f"{folder.name:14}{len(queries):9}{percentile(counts, 0.5):9.0f}{percentile(counts, 0.95):8.0f}"
    if exact is not None:
        real = [float(exact(answer.text)) for answer, _ in found]
        row += f"{percentile(real, 0.5):9.0f}{percentile(real, 0.95):8.0f}"
    row += f"{statistics.fmean(len(answer.named) for answer, _ in found):8.1f}"
    row += f"{statistics.fmean(recall(answer.named, needs) for answer, needs in found):9.3f}"
    for cut in (10, 20):
        row += f"{statistics.fmean(recall(answer.ranking[:cut], needs) for answer, needs in found):8.3f}"
    print(row, flush=True)


def _real_tokenizer() -> Callable[[str], int] | None:
    try:
        encoding: Any = importlib.import_module("bpe_openai").get_encoding("o200k_base")
    except ImportError:
        return None
    return lambda text: len(encoding.encode(text))


def main(arguments: Sequence[str]) -> int:
    """Measure every set under the folder that is named; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure what search answers cost and hold.")
    parser.add_argument("data", type=Path, help="a set, or a folder of sets")
    folders = sets(parser.parse_args(arguments).data)
    if not folders:
        return 2
    embed, exact = installed_embedding(), _real_tokenizer()
    real = f"{'o200k':>9}{'p95':>8}" if exact else ""
    print(f"{'':14}{'prompts':>9}{'tokens':>9}{'p95':>8}{real}{'tools':>8}{'recall':>9}{'R@10':>8}{'R@20':>8}")
    for folder in folders:
        print_set(folder, embed, exact)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
