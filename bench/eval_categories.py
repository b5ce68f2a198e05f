"""Measures how well entries are put into categories: `python -m bench.eval_categories`, or `make eval-categories`.

The labelled set is `bench/data/categories.jsonl`: tools of public servers, labelled by `docs/categories.md`. Printed
per way of deciding, for the part the cues may be tuned on and for the servers held out: precision, recall and F1 of
every category, their means, and how many are right. The ways are the patterns (also with the server's name hidden, as
with a server that is called by a name nobody knows), static embeddings, both together, and the service with an LLM.

The LLM is a recording, replayed over HTTP to each provider's real SDK: to every question the second reading of the set
(`second`), save for what `bench/data/categories.answers.jsonl` says instead, which is where answers go wrong. It shows
that answers arrive, are held against the list and fall back where they are none; it says nothing of a model's skill.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub.categorizer.v1 import categorizer_pb2_grpc
from hub_categorizer.llm_prompts import MEANINGS
from hub_categorizer.servicer import start
from hub_categorizer.settings import Settings
from hub_categorizer.taxonomy import CATEGORIES, OTHER, Taxonomy
from hub_common.rpc_channel import open_channel
from hub_common.store_embedded import EmbeddedStore
from hub_filter import embedding
from hub_filter.document import Document, analyse
from hub_filter.embedding import EmbeddingAbsent
from hub_filter.vectors import Embed
from tests.unit.categorizer.stand_ins import PROVIDERS, Provider, stand_in

DATA = Path(__file__).parent / "data"
PARTS = ("tuning", "held-out")

STOP_GRACE_S = 1.0

NEAR = 0.3
"""Cosine from which the nearest meaning is believed where no pattern fits, tried on the tuning part."""


class Tool(msgspec.Struct, frozen=True):
    """A labelled tool. `first` and `second` are the labels of the two readings, `category` what stands; `part` is
    `tuning` or `held-out`, the same for all tools of a server."""

    server: str
    name: str
    description: str
    parameters: list[str]
    category: str
    first: str
    second: str
    part: str
    annotations: dict[str, bool] = {}


class Score(NamedTuple):
    """Fractions from 0 to 1; None where there is nothing to divide by. `support` is how many there are."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


def read_tools(path: Path = DATA / "categories.jsonl") -> list[Tool]:
    """The labelled set."""
    decoder = msgspec.json.Decoder(Tool)
    return [decoder.decode(line) for line in path.read_bytes().splitlines() if line.strip()]


def by_patterns(tools: Sequence[Tool]) -> list[str]:
    """What the patterns say."""
    taxonomy = Taxonomy()
    return [taxonomy.judged(tool.server, tool.name, tool.description).category for tool in tools]


def by_meaning(tools: Sequence[Tool], embed: Embed) -> list[tuple[str, float]]:
    """The category whose meaning, as the LLM is told it, lies nearest to a tool's words, and its cosine."""
    names = [name for name in CATEGORIES if name != OTHER]
    entries = [analyse(Document(tool.server, tool.name, description=tool.description)).text for tool in tools]
    nearness = embed(entries) @ embed([MEANINGS[name] for name in names]).T
    nearest = nearness.argmax(axis=1).tolist()
    return [(names[at], float(row[at])) for at, row in zip(nearest, nearness, strict=True)]


def scores(wanted: Sequence[str], found: Sequence[str]) -> dict[str, Score]:
    """Precision, recall and F1 of every category."""
    support, claimed = Counter(wanted), Counter(found)
    right = Counter(want for want, got in zip(wanted, found, strict=True) if want == got)
    scored: dict[str, Score] = {}
    for name in CATEGORIES:
        precision = right[name] / claimed[name] if claimed[name] else None
        recall = right[name] / support[name] if support[name] else None
        whole = support[name] + claimed[name]
        scored[name] = Score(precision, recall, 2 * right[name] / whole if whole else None, support[name])
    return scored


def macro(scored: dict[str, Score]) -> Score:
    """The plain mean over the categories that occur; a category that was never claimed has precision 0 in it."""
    there = [score for score in scored.values() if score.support]
    mean = [sum(score[at] or 0.0 for score in there) / len(there) for at in range(3)]
    return Score(mean[0], mean[1], mean[2], sum(score.support for score in there))


def accuracy(wanted: Sequence[str], found: Sequence[str]) -> float:
    """The fraction that is right."""
    return sum(want == got for want, got in zip(wanted, found, strict=True)) / len(wanted)


async def by_service(tools: Sequence[Tool], settings: Settings) -> list[pb.Assignment]:
    """What the service says once it has asked its LLM, if it has one, about everything."""
    request = pb.CategorizeRequest(
        definitions=[
            pb.Definition(
                hash=f"{tool.server}/{tool.name}",
                upstream_name=tool.server,
                local_name=tool.name,
                description=tool.description,
            )
            for tool in tools
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder))
        server = await start(settings, f"unix:{folder}/categorizer", store)
        try:
            async with open_channel(server.address) as channel:
                stub = categorizer_pb2_grpc.CategorizerServiceStub(channel)
                async for _ in stub.Refine(request):
                    pass
                answer = await stub.Categorize(request)
                return list(answer.assignments)
        finally:
            await server.stop(STOP_GRACE_S)
            await store.close()


def recorded(tools: Sequence[Tool], path: Path = DATA / "categories.answers.jsonl") -> Callable[[dict[str, Any]], Any]:
    """Answers a question about some tools: with the second reading of each, or as the recording says.

    A line has `server`, `name` and `answers`, the items that are answered for that one; or `server` and `whole`, what
    is said to any question about that server.
    """
    answers: dict[tuple[str, str], Any] = {
        (tool.server, tool.name): [{"category": tool.second, "confidence": 0.9, "use_when": []}] for tool in tools
    }
    whole: dict[str, Any] = {}
    for line in path.read_bytes().splitlines():
        said = msgspec.json.decode(line)
        if "name" in said:
            answers[said["server"], said["name"]] = said["answers"]
        else:
            whole[said["server"]] = said["whole"]

    def answer(data: dict[str, Any]) -> Any:
        items = data["items"]
        if (said := whole.get(items[0]["server"])) is not None:
            return said
        return {
            "items": [
                {"index": item["index"], **each} for item in items for each in answers[item["server"], item["name"]]
            ]
        }

    return answer


def by_recording(tools: Sequence[Tool], provider: Provider) -> tuple[list[str], str]:
    """What the service says after the recording has answered through that provider's SDK, and what it took."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    with stand_in(provider) as served:
        served.answer = recorded(tools)
        found = asyncio.run(by_service(tools, served.settings()))
        by_llm = sum(each.source == pb.SOURCE_LLM for each in found)
        took = f"{len(served.requests)} questions, {by_llm} tools decided by it, {len(found) - by_llm} by the patterns"
        return [each.category for each in found], f"recording through {provider}: {took}"


def table(title: str, tools: Sequence[Tool], found: Sequence[str]) -> list[str]:
    """The rows of one way of deciding on one part."""
    wanted = [tool.category for tool in tools]
    scored = scores(wanted, found)
    mean = macro(scored)
    servers = len({tool.server for tool in tools})
    head = f"{title}: {len(tools)} tools of {servers} servers, {accuracy(wanted, found):.3f} right"
    rows = [head, f"  {'':16}{'precision':>10}{'recall':>8}{'F1':>8}{'tools':>7}"]
    for name, score in (*scored.items(), ("macro", mean)):
        rows.append(
            f"  {name:16}{_told(score.precision, 10)}{_told(score.recall, 8)}{_told(score.f1, 8)}{score.support:7}"
        )
    return [*rows, ""]


def _told(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.3f}"


def _else(said: Sequence[str], meant: Sequence[tuple[str, float]]) -> list[str]:
    """What the patterns say, and where they say nothing, the nearest meaning that is near enough."""
    pairs = zip(said, meant, strict=True)
    return [name if category == OTHER and near > NEAR else category for category, (name, near) in pairs]


def readings(tools: Sequence[Tool]) -> str:
    """How far the two readings of the set agree (Cohen, 1960)."""
    count = len(tools)
    observed = sum(tool.first == tool.second for tool in tools) / count
    first, second = Counter(tool.first for tool in tools), Counter(tool.second for tool in tools)
    chance = sum(first[name] * second[name] for name in CATEGORIES) / count**2
    return f"two readings: {observed:.3f} alike, Cohen's kappa {(observed - chance) / (1 - chance):.3f}"


def report(providers: Sequence[Provider] = PROVIDERS) -> str:
    """Everything that is printed; the same in every run."""
    tools = read_tools()
    rows = [readings(tools)]
    nameless = [msgspec.structs.replace(tool, server="server") for tool in tools]
    ways = {"patterns": by_patterns(tools), "patterns, server's name hidden": by_patterns(nameless)}
    try:
        embed = embedding.load().embed
    except EmbeddingAbsent as absent:
        rows.append(f"no embeddings: {absent}")
    else:
        meant = by_meaning(tools, embed)
        ways["embeddings"] = [name if near > NEAR else OTHER for name, near in meant]
        ways["patterns, else embeddings"] = _else(ways["patterns"], meant)
        hidden = _else(ways["patterns, server's name hidden"], by_meaning(nameless, embed))
        ways["patterns, else embeddings, server's name hidden"] = hidden
    for provider in providers:
        ways[f"recording through {provider}"], took = by_recording(tools, provider)
        rows.append(took)
    rows.append("")
    for way, found in ways.items():
        for part in PARTS:
            chosen = [(tool, said) for tool, said in zip(tools, found, strict=True) if tool.part == part]
            rows += table(f"{way}, {part}", [tool for tool, _ in chosen], [said for _, said in chosen])
    return "\n".join(rows)


def main(arguments: Sequence[str]) -> int:
    """Print the figures; return the exit status."""
    argparse.ArgumentParser(description="Measure how well entries are put into categories.").parse_args(arguments)
    print(report())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
