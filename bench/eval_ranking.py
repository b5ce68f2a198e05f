"""Measures the filter's ranking on tool-selection data: `python bench/eval_ranking.py DATA`, or `make eval DATA=dir`.

DATA holds a folder per set (or is one), each with `catalog.jsonl` (a tool a line: `server`, `name`, `description`,
`inputSchema`) and `queries.jsonl` (`prompt`, `relevant`: a list of `{server, tool}`, where any of an item's `alt`
serves as well). The catalog is indexed once, then prompts are ranked one at a time.

Printed per set, for plain BM25 (the same terms, stemmed and without stop words, in one field; the prompt as a whole),
for the ranking by terms alone and for the ranking as the service runs it: recall at 5, 10 and 20, NDCG@10, the share
of prompts with all that is needed within 20, milliseconds per prompt, seconds to index. `cpu` is the 95th percentile
of the processor time a prompt takes, which other programs on the machine lengthen less than the time on the clock. The
means over the sets come last: a change is worth keeping when they rise and no set falls by more than chance. `--rpc`
adds a line with the same prompts sent to the service over a unix socket and over loopback TCP, and the time of the
first search after one upstream changed.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import uvloop

from hub.filter.v1 import filter_pb2, filter_pb2_grpc
from hub_common import rpc_channel
from hub_filter import embedding, words
from hub_filter.bm25 import Postings
from hub_filter.document import Document, analyse
from hub_filter.embedding import EmbeddingAbsent
from hub_filter.ranking import Ranking
from hub_filter.servicer import start
from hub_filter.settings import Settings
from hub_filter.vectors import Embed, Vectors

CUTS = (5, 10, 20)
DEEPEST = CUTS[-1]
Search = Callable[[str], Sequence[int]]
Tool = tuple[str, str]


class Query(NamedTuple):
    """A prompt and what it needs: each item is a set of tools any of which serves."""

    prompt: str
    needs: list[set[Tool]]


class Figures(NamedTuple):
    """Means over the prompts of a set."""

    recall: list[float]
    ndcg: float
    all_needed: float
    milliseconds: list[float]
    cpu_milliseconds: list[float]

    def shares(self) -> list[float]:
        """Recall at each cut, NDCG@10 and all-needed@20."""
        return [*self.recall, self.ndcg, self.all_needed]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Decode a file of JSON lines."""
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines() if line.strip()]


def document(tool: dict[str, Any]) -> Document:
    """One line of a catalog as the ranking takes it."""
    schema: dict[str, Any] = tool.get("inputSchema") or {}
    properties: dict[str, Any] = schema.get("properties") or {}
    explained = [_text(value, "description") for value in properties.values()]
    return Document(
        upstream_name=tool["server"],
        local_name=tool["name"],
        description=tool.get("description") or "",
        parameters=list(properties),
        parameter_descriptions=explained,
    )


def _text(value: Any, key: str) -> str:
    return str(cast("dict[str, Any]", value).get(key) or "") if isinstance(value, dict) else ""


def query(line: dict[str, Any]) -> Query:
    """One line of the queries."""
    needs = [{(item["server"], item["tool"]) for item in [need, *need.get("alt", ())]} for need in line["relevant"]]
    return Query(line["prompt"], needs)


def hub_ranking(documents: list[Document], embed: Embed | None) -> Search:
    """The ranking as the service runs it; without `embed`, as it runs where the weights are not installed."""
    entries = [analyse(document) for document in documents]
    ranking = Ranking(entries, Vectors(embed([entry.text for entry in entries]), embed) if embed else None)
    return lambda prompt: [hit.index for hit in ranking.search(prompt, limit=DEEPEST).hits]


def plain_bm25(documents: list[Document]) -> Search:
    """The anchor: BM25 over upstream, name, description and parameter names, all of one weight."""
    texts = [(d.upstream_name, d.local_name, d.description, *d.parameters) for d in documents]
    postings = Postings([Counter(words.terms(" ".join(text))) for text in texts], k1=1.2, b=0.75)

    def search(prompt: str) -> list[int]:
        scores = postings.scores([dict.fromkeys(words.terms(prompt), 1.0)])[0]
        return [at for at in np.argsort(-scores, kind="stable")[:DEEPEST].tolist() if scores[at] > 0]

    return search


def measure(search: Search, documents: list[Document], queries: list[Query]) -> Figures:
    """Rank every prompt once and compare with what it needs."""
    tools: list[Tool] = [(d.upstream_name, d.local_name) for d in documents]
    recall: list[list[float]] = [[] for _ in CUTS]
    ndcg: list[float] = []
    all_needed: list[bool] = []
    milliseconds: list[float] = []
    cpu_milliseconds: list[float] = []
    for prompt, needs in queries:
        begin, cpu_begin = time.perf_counter(), time.thread_time()
        hits = [tools[index] for index in search(prompt)]
        cpu_milliseconds.append((time.thread_time() - cpu_begin) * 1000)
        milliseconds.append((time.perf_counter() - begin) * 1000)
        for cut, shares in zip(CUTS, recall, strict=True):
            shares.append(sum(not need.isdisjoint(hits[:cut]) for need in needs) / len(needs))
        ndcg.append(_ndcg(hits[:10], needs))
        all_needed.append(all(not need.isdisjoint(hits) for need in needs))
    return Figures(
        [statistics.fmean(shares) for shares in recall],
        statistics.fmean(ndcg),
        statistics.fmean(all_needed),
        milliseconds,
        cpu_milliseconds,
    )


def _ndcg(hits: list[Tool], needs: list[set[Tool]]) -> float:
    open_needs = list(needs)
    gain = 0.0
    for rank, hit in enumerate(hits):
        served = next((need for need in open_needs if hit in need), None)
        if served is not None:
            open_needs.remove(served)
            gain += 1 / math.log2(rank + 2)
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(10, len(needs))))


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of `values` lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def print_set(folder: Path, embed: Embed | None) -> dict[str, list[float]]:
    """Measure one set, print its rows, and return the shares of each."""
    documents = [document(tool) for tool in read_lines(folder / "catalog.jsonl")]
    queries = [query(line) for line in read_lines(folder / "queries.jsonl")]
    print(f"\n{folder.name}: {len(documents)} tools, {len(queries)} prompts")
    print(f"{_HEAD}{'p50 ms':>8}{'p95 ms':>8}{'cpu ms':>8}{'index s':>9}")
    rows: dict[str, Callable[[list[Document]], Search]] = {"plain BM25": plain_bm25}
    rows["hub, terms"] = lambda documents: hub_ranking(documents, None)
    if embed is not None:
        rows["hub"] = lambda documents: hub_ranking(documents, embed)
    measured: dict[str, list[float]] = {}
    for name, build in rows.items():
        begin = time.perf_counter()
        search = build(documents)
        index_s = time.perf_counter() - begin
        found = measure(search, documents, queries)
        measured[name] = found.shares()
        times = f"{percentile(found.milliseconds, 0.5):8.1f}{percentile(found.milliseconds, 0.95):8.1f}"
        times += f"{percentile(found.cpu_milliseconds, 0.95):8.1f}"
        print(f"{_row(name, measured[name])}{times}{index_s:9.2f}", flush=True)
    return measured


_HEAD = f"{'':14}{'R@5':>7}{'R@10':>7}{'R@20':>7}{'NDCG@10':>9}{'all@20':>8}"


def _row(name: str, shares: Sequence[float]) -> str:
    return f"{name:14}" + "".join(f"{share:{w}.3f}" for share, w in zip(shares, (7, 7, 7, 9, 8), strict=True))


def print_means(measured: Sequence[dict[str, list[float]]]) -> None:
    """Print the mean of each row over the sets."""
    print(f"\nmean of {len(measured)} sets\n{_HEAD}")
    for name in measured[0]:
        print(_row(name, [statistics.fmean(shares) for shares in zip(*(rows[name] for rows in measured), strict=True)]))


async def print_rpc(folder: Path) -> None:
    """Send the prompts of one set to a running service and print how long answers and a bare hop take."""
    tools = [document(tool) for tool in read_lines(folder / "catalog.jsonl")]
    prompts = [line["prompt"] for line in read_lines(folder / "queries.jsonl")]
    catalog = filter_pb2.Catalog(
        entries=[
            filter_pb2.Entry(
                kind=filter_pb2.KIND_TOOL,
                upstream_name=tool.upstream_name,
                local_name=tool.local_name,
                description=tool.description,
                parameters=tool.parameters,
                parameter_descriptions=tool.parameter_descriptions,
            )
            for tool in tools
        ]
    )
    digest = _digest(catalog)
    changed = filter_pb2.Catalog()
    changed.CopyFrom(catalog)
    for entry in changed.entries:
        if entry.upstream_name == tools[0].upstream_name:
            entry.description += " Now faster."
    with tempfile.TemporaryDirectory() as directory:
        for address in (f"unix:{directory}/filter.sock", "127.0.0.1:0"):
            server = await start(Settings(), address)
            async with rpc_channel.open_channel(server.address) as channel:
                stub = filter_pb2_grpc.FilterServiceStub(channel)
                await stub.Search(filter_pb2.SearchRequest(catalog_digest=digest, catalog=catalog, query="warm"))
                hops = [await _timed(stub, digest, "") for _ in range(500)]
                answers = [await _timed(stub, digest, prompt) for prompt in prompts]
                begin = time.perf_counter()
                await stub.Search(
                    filter_pb2.SearchRequest(catalog_digest=_digest(changed), catalog=changed, query="warm")
                )
                changed_s = time.perf_counter() - begin
            await server.stop(grace_s=1)
            times = "  ".join(
                f"{what} p50 {percentile(ms, 0.5):.2f} p95 {percentile(ms, 0.95):.2f} ms"
                for what, ms in (("bare hop", hops), ("search", answers))
            )
            way = "unix socket" if address.startswith("unix") else "loopback TCP"
            print(f"{folder.name} over {way}: {times}  after a change {changed_s:.2f} s")


def _digest(catalog: filter_pb2.Catalog) -> str:
    return hashlib.sha256(catalog.SerializeToString(deterministic=True)).hexdigest()


async def _timed(stub: Any, digest: str, prompt: str) -> float:
    begin = time.perf_counter()
    await stub.Search(filter_pb2.SearchRequest(catalog_digest=digest, query=prompt, limit=DEEPEST))
    return (time.perf_counter() - begin) * 1000


def installed_embedding() -> Embed | None:
    """The word vectors the service ranks with; None, and a word about it, where they are not installed."""
    try:
        return embedding.load().embed
    except EmbeddingAbsent as absent:
        print(f"terms alone: {absent}", file=sys.stderr)
        return None


def sets(data: Path) -> list[Path]:
    """The sets that are a folder, or under it; a word about it where there are none."""
    folders = [path.parent for path in sorted([*data.glob("catalog.jsonl"), *data.glob("*/catalog.jsonl")])]
    if not folders:
        print(f"{data}: no catalog.jsonl in it or in a folder below", file=sys.stderr)
    return folders


def main(arguments: Sequence[str]) -> int:
    """Measure every set under the folder that is named; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the filter's ranking on tool-selection data.")
    parser.add_argument("data", type=Path, help="a set, or a folder of sets")
    parser.add_argument("--rpc", action="store_true", help="also time searches through the running service")
    options = parser.parse_args(arguments)
    folders = sets(options.data)
    if not folders:
        return 2
    embed = installed_embedding()
    measured = [print_set(folder, embed) for folder in folders]
    if len(measured) > 1:
        print_means(measured)
    if options.rpc:
        print()
        for folder in folders:
            uvloop.run(print_rpc(folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
