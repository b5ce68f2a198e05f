"""Catalogs are held by digest, ranked once, and share the work on what they share."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from hub.filter.v1 import filter_pb2 as pb
from hub_filter import embedding
from hub_filter.index import Index, Indexes
from hub_filter.ranking import Ranking
from hub_filter.vectors import Matrix

pytestmark = pytest.mark.anyio

BOUND_S = 20.0


def catalog(*names: str) -> pb.Catalog:
    return pb.Catalog(
        entries=[
            pb.Entry(kind=pb.KIND_TOOL, upstream_name="up", local_name=name, description=f"About {name}.")
            for name in names
        ]
    )


def indexes(capacity: int, built: list[float]) -> Indexes:
    ticks = itertools.count()
    return Indexes(capacity, built.append, lambda: float(next(ticks)))


async def test_a_catalog_is_found_by_its_digest_alone() -> None:
    held = indexes(2, [])
    added = held.add("a", catalog("cat", "dog"))
    assert held.find("a") is added
    assert held.find("b") is None
    assert (len(held), len(added)) == (1, 2)
    assert [subject.upstream_name for subject in added.subjects] == ["up", "up"]


async def test_what_is_held_under_a_digest_is_never_replaced() -> None:
    held = indexes(2, [])
    first = held.add("a", catalog("cat"))
    assert held.add("a", catalog("dog", "bird")) is first


async def test_the_catalog_unused_for_longest_makes_room() -> None:
    held = indexes(2, [])
    held.add("a", catalog("cat"))
    held.add("b", catalog("dog"))
    held.find("a")
    held.add("c", catalog("bird"))
    assert [digest for digest in "abc" if held.find(digest)] == ["a", "c"]


async def test_many_askers_get_one_ranking() -> None:
    built: list[float] = []
    index = indexes(2, built).add("a", catalog("cat", "dog"))
    index.prepare()
    async with asyncio.timeout(BOUND_S):
        rankings = await asyncio.gather(*(index.ranking() for _ in range(10)))
    assert len({id(ranking) for ranking in rankings}) == 1
    assert built == [1.0]
    assert [hit.index for hit in rankings[0].search("about dogs", limit=1).hits] == [1]


async def test_an_asker_that_gives_up_takes_nothing_from_the_others() -> None:
    index = indexes(2, []).add("a", catalog(*(f"cat{number}" for number in range(2_000))))
    async with asyncio.timeout(BOUND_S):
        impatient = asyncio.ensure_future(index.ranking())
        patient = asyncio.ensure_future(index.ranking())
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).search("cat7", limit=1).hits
    assert impatient.cancelled()


async def test_catalogs_share_the_work_on_the_entries_they_share() -> None:
    held = indexes(2, [])
    async with asyncio.timeout(BOUND_S):
        await held.add("a", catalog("cat", "dog")).ranking()
        await held.add("b", catalog("dog", "bird")).ranking()
    assert held.analysed == 3


async def test_entries_of_catalogs_no_longer_held_are_let_go() -> None:
    held = indexes(1, [])
    async with asyncio.timeout(BOUND_S):
        await held.add("a", catalog("cat", "dog")).ranking()
        await held.add("b", catalog("bird")).ranking()
    gc.collect()
    assert held.analysed == 1


class Counting:
    """Embeds into two dimensions, and counts the texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Matrix:
        self.texts += texts
        return np.array([[1.0, 0.0] if "cat" in text else [0.0, 1.0] for text in texts], dtype=np.float32)


async def until_by_meaning(index: Index) -> Ranking:
    async with asyncio.timeout(BOUND_S):
        while not (ranking := await index.ranking()).has_vectors:
            await asyncio.sleep(0)
    return ranking


async def test_rankings_stand_on_terms_until_there_are_embeddings_and_are_then_made_again() -> None:
    held = indexes(2, [])
    index = held.add("a", catalog("cat", "dog"))
    untouched = held.add("b", catalog("bird"))
    async with asyncio.timeout(BOUND_S):
        by_terms = await index.ranking()
    assert not by_terms.has_vectors
    assert [hit.index for hit in by_terms.search("cat", limit=2).hits] == [0]
    held.learn(Counting())
    by_meaning = await until_by_meaning(index)
    assert by_meaning.entries == by_terms.entries
    async with asyncio.timeout(BOUND_S):
        assert (await untouched.ranking()).has_vectors


async def test_only_entries_that_are_new_are_embedded() -> None:
    held = indexes(2, [])
    embed = Counting()
    held.learn(embed)
    async with asyncio.timeout(BOUND_S):
        await held.add("a", catalog("cat", "dog")).ranking()
        embed.texts.clear()
        await held.add("b", catalog("dog", "bird", "bird")).ranking()
    assert [text for text in embed.texts if text.startswith("up ")] == ["up bird. About bird."]


async def test_keywords_that_come_later_embed_nothing_again() -> None:
    held = indexes(2, [])
    embed = Counting()
    held.learn(embed)
    worded = catalog("cat", "dog")
    worded.entries[0].keywords.append("purrs at night")
    async with asyncio.timeout(BOUND_S):
        await held.add("a", catalog("cat", "dog")).ranking()
        embed.texts.clear()
        ranking = await held.add("b", worded).ranking()
    assert [text for text in embed.texts if text.startswith("up ")] == []
    assert [hit.index for hit in ranking.search("purrs", limit=2).hits if hit.parts.terms > 0] == [0]


async def test_two_replicas_answer_alike_whatever_they_held_before() -> None:
    names = [f"{animal} {number}" for animal in ("cat", "dog", "bird") for number in range(20)]
    fresh, worn = indexes(2, []), indexes(2, [])
    weights = embedding.load().embed
    for held in (fresh, worn):
        held.learn(weights)
    async with asyncio.timeout(BOUND_S):
        await worn.add("before", catalog(*names[10:35], "horse")).ranking()
        rankings = [await held.add("a", catalog(*names)).ranking() for held in (fresh, worn)]
    for prompt in ("about the 7th kitten", "dogs, then birds", "bird 3"):
        answers = [ranking.search(prompt, limit=10) for ranking in rankings]
        assert answers[0] == answers[1]


async def test_an_embedding_that_fails_leaves_the_ranking_by_terms(caplog: pytest.LogCaptureFixture) -> None:
    def fail(texts: Sequence[str]) -> Matrix:
        raise ValueError("no")

    held = indexes(2, [])
    index = held.add("a", catalog("cat", "dog"))
    async with asyncio.timeout(BOUND_S):
        by_terms = await index.ranking()
        held.learn(fail)
        while "could not be indexed" not in caplog.text:
            await asyncio.sleep(0)
        assert await index.ranking() is by_terms
