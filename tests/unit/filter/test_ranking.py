"""The right entry comes first, whatever the prompt looks like."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_filter import embedding
from hub_filter.document import Document, analyse
from hub_filter.ranking import QUERY_CHARACTERS, Hit, Ranking
from hub_filter.vectors import Embed, Vectors

CATALOG = [
    Document("github", "list_notifications", description="Lists notifications of the user."),
    Document("github", "create_issue", description="Opens a new issue in a repository.", parameters=["title", "body"]),
    Document("github", "search_code", description="Searches code across repositories."),
    Document("filesystem", "read_file", description="Read the contents of a file.", parameters=["path"]),
    Document("filesystem", "write_file", description="Create or overwrite a file.", parameters=["path", "content"]),
    Document("excel", "describe_sheets", title="Sheets", description="Lists the sheets of a workbook."),
    Document("weather", "forecast", description="Weather forecast for a city.", parameters=["city"]),
    Document("mail", "send", description="Sends an e-mail.", parameters=["recipient"]),
    Document("必应", "bing_search", description="使用必应搜索指定的关键词，并返回搜索结果列表"),
    Document("notes", "append", description="", parameters=["x"], parameter_descriptions=["the stanza of the poem"]),
]


TWINS = [analyse(Document(name, "search", description="Search records.")) for name in ("alpha", "beta", "gamma")]


@lru_cache
def embed() -> Embed:
    return embedding.load().embed


def rank(documents: Sequence[Document], *, by_meaning: bool = False) -> Ranking:
    entries = [analyse(document) for document in documents]
    return Ranking(entries, Vectors(embed()([entry.text for entry in entries]), embed()) if by_meaning else None)


@pytest.fixture(scope="module", params=["terms", "meaning"])
def ranking(request: pytest.FixtureRequest) -> Ranking:
    return rank(CATALOG, by_meaning=request.param == "meaning")


def names(hits: list[Hit]) -> list[str]:
    return [CATALOG[hit.index].local_name for hit in hits]


@pytest.mark.parametrize(
    ("prompt", "first"),
    [
        ("Check my GitHub notifications", "list_notifications"),
        ("open an issue about the crash", "create_issue"),
        ("how is the weather in Paris?", "forecast"),
        ("what is in budget.xlsx", "describe_sheets"),
        ("搜索关键词", "bing_search"),
        ("a poem with one more stanza", "append"),
    ],
)
def test_the_entry_that_fits_comes_first(ranking: Ranking, prompt: str, first: str) -> None:
    assert names(ranking.search(prompt, limit=5).hits)[0] == first


def test_each_wish_of_a_prompt_finds_its_tool(ranking: Ranking) -> None:
    prompt = "Get the weather forecast for Oslo, then write it to /tmp/oslo.txt and send an e-mail to Eva."
    assert {"forecast", "write_file", "send"} <= set(names(ranking.search(prompt, limit=4).hits))


def test_what_an_upstream_offers_altogether_lifts_its_entries() -> None:
    twins = [
        Document("alpha", "search", description="Search records."),
        Document("beta", "search", description="Search records."),
        Document("beta", "tune_piano", description="Tunes a piano."),
    ]
    hits = Ranking([analyse(document) for document in twins]).search("search piano records", limit=3).hits
    assert [hit.index for hit in hits].index(1) < [hit.index for hit in hits].index(0)


def test_scores_fall_from_first_to_last_and_stay_within_one(ranking: Ranking) -> None:
    hits = ranking.search("read a file, search code and list notifications", limit=10).hits
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_only_the_scope_is_hit(ranking: Ranking) -> None:
    assert names(ranking.search("read or write a file", scope={4, 6}, limit=10).hits) == ["write_file"]


def test_no_more_than_the_limit_is_hit(ranking: Ranking) -> None:
    assert len(ranking.search("file issue code weather", limit=2).hits) == 2


@pytest.mark.parametrize("prompt", ["", "   \n", "what is the", "zzzzqqq", "?!"])
def test_a_prompt_that_says_nothing_hits_nothing(ranking: Ranking, prompt: str) -> None:
    assert ranking.search(prompt, limit=10).hits == []


def test_the_context_stands_in_for_a_blank_prompt(ranking: Ranking) -> None:
    assert names(ranking.search(" ", context="weather in Rome", limit=1).hits) == ["forecast"]


def test_the_context_decides_between_entries_that_fit_equally() -> None:
    assert Ranking(TWINS).search("search records", limit=1).hits[0].index == 0
    assert Ranking(TWINS).search("search records", context="we work on gamma", limit=1).hits[0].index == 2


def test_equal_entries_stand_in_catalog_order() -> None:
    twins = [analyse(Document("same", "search", description="Search records.")) for _ in range(5)]
    assert [hit.index for hit in Ranking(twins).search("search", limit=5).hits] == [0, 1, 2, 3, 4]


def test_what_an_upstream_lists_first_decides_between_entries_that_fit_alike() -> None:
    def hits(places: Sequence[int]) -> list[int]:
        twins = [Document("up", "search", description="Search records.", place=place) for place in places]
        return [hit.index for hit in rank(twins).search("search", limit=3).hits]

    assert hits([3, 1, 2]) == [1, 2, 0]
    assert hits([0, 0, 0]) == [0, 1, 2]


def test_what_an_upstream_lists_first_does_not_stand_before_what_fits(ranking: Ranking) -> None:
    assert names(ranking.search("search the code", limit=3).hits)[0] == "search_code"


def test_an_empty_catalog_has_no_hits() -> None:
    assert Ranking([]).search("anything", limit=5).hits == []


def test_what_lies_beyond_the_bounds_of_a_prompt_is_not_read(ranking: Ranking) -> None:
    padded = " " * QUERY_CHARACTERS + "weather"
    assert ranking.search("x " + padded, limit=5).hits == []
    many = "\n".join(["read a file"] * 400)
    assert names(ranking.search(many, limit=1).hits) == ["read_file"]


def test_calls_in_the_past_decide_between_entries_that_fit_alike() -> None:
    hits = Ranking(TWINS).search("search records", used={1: 3, 2: 100}, limit=3).hits
    assert [hit.index for hit in hits] == [2, 1, 0]
    assert [hit.parts.usage > 0 for hit in hits] == [True, True, False]


def test_calls_in_the_past_never_drown_what_fits(ranking: Ranking) -> None:
    used = dict.fromkeys(range(1, len(CATALOG)), 4_000_000_000)
    assert names(ranking.search("Check my GitHub notifications", used=used, limit=3).hits)[0] == "list_notifications"
    assert ranking.search("zzzzqqq", used=used, limit=3).hits == []


@pytest.mark.parametrize(
    "prompt",
    ["weather", "list the sheets of /tmp/a.xlsx, then read the news and send it", "请搜索天气。Write it to ./out.md"],
)
def test_the_parts_of_a_hit_say_why_it_stands_where_it_does(ranking: Ranking, prompt: str) -> None:
    hits = ranking.search(prompt, context="for Eva", used={4: 7, 6: 1}, limit=10).hits
    sums = [sum(msgspec.structs.astuple(hit.parts)) for hit in hits]
    scores = [math.log(hit.score) for hit in hits]
    assert np.allclose(np.subtract(sums, sums[0]), np.subtract(scores, scores[0]), atol=1e-3)


def test_each_signal_has_its_part(ranking: Ranking) -> None:
    [hit] = ranking.search("Check my GitHub notifications", limit=1).hits
    assert hit.parts.terms > 0
    assert hit.parts.upstream > 0
    assert (hit.parts.meaning > 0) is ranking.has_vectors
    assert (hit.parts.implied, hit.parts.usage) == (0, 0)
    [need] = (hit for hit in ranking.search("put the forecast into /root/out.md", limit=10).hits if hit.index == 4)
    assert need.parts.implied > 0


@pytest.mark.parametrize("by_meaning", [False, True])
def test_the_cut_leaves_out_what_fits_much_less(by_meaning: bool) -> None:
    found = rank(REPORTS, by_meaning=by_meaning).search("write a note with a report in it", limit=10)
    assert REPORTS[found.hits[0].index].local_name == "write_note"
    assert (found.cut, len(found.hits)) == (5, 10)
    assert rank(REPORTS, by_meaning=by_meaning).search("zzzzqqq", limit=10).cut == 0


def test_the_cut_keeps_a_hit_for_each_wish_and_to_the_budget(ranking: Ranking) -> None:
    prompt = "Get the weather forecast for Oslo, then create an issue, search the code and send an e-mail to Eva."
    found = ranking.search(prompt, limit=10)
    assert {"forecast", "create_issue", "search_code", "send"} <= set(names(found.hits[: found.cut]))
    assert ranking.search(prompt, limit=10, budget=2).cut == 2
    assert ranking.search(prompt, limit=3, budget=9).cut <= 3


def test_keywords_find_an_entry_and_do_not_outweigh_its_name() -> None:
    worded = [
        Document("a", "send", description="Sends mail.", keywords=["drop somebody a line", "search records"]),
        Document("b", "search", description="Search records."),
    ]
    ranking = rank(worded)
    assert [hit.index for hit in ranking.search("drop Eva a line", limit=2).hits] == [0]
    assert [hit.index for hit in ranking.search("search records", limit=2).hits] == [1, 0]


@given(st.text(max_size=400), st.text(max_size=100))
def test_any_prompt_gives_the_same_hits_every_time(ranking: Ranking, prompt: str, context: str) -> None:
    first = ranking.search(prompt, context=context, limit=10)
    assert first == ranking.search(prompt, context=context, limit=10)
    assert len({hit.index for hit in first.hits}) == len(first.hits)
    assert 0 <= first.cut <= len(first.hits)


def test_a_prompt_is_ranked_the_same_in_a_process_with_another_hash_seed() -> None:
    script = (
        "from tests.unit.filter.test_ranking import CATALOG, rank;"
        "ranking = rank(CATALOG, by_meaning=True);"
        "print(ranking.search('write ./a.xlsx and ./b.md, mail it; see https://x.y', limit=9))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(answers) == 1


ELSEWHERE = [
    Document("shop", "purchase_item", description="Purchase an item."),
    Document("gallery", "crop_picture", description="Crop a picture."),
    Document("mail", "send", description="Sends an e-mail.", parameters=["recipient"]),
    Document("amap", "route", description="路径规划,支持步行和公交"),
]


@pytest.mark.parametrize(
    ("prompt", "first"), [("buy a product", "purchase_item"), ("cut this photo down to a square image", "crop_picture")]
)
def test_meaning_finds_what_shares_no_word(prompt: str, first: str) -> None:
    hits = rank(ELSEWHERE, by_meaning=True).search(prompt, limit=1).hits
    assert [ELSEWHERE[hit.index].local_name for hit in hits] == [first]


@pytest.mark.parametrize("by_meaning", [False, True])
@pytest.mark.parametrize(("prompt", "first"), [("plan a route for walking", "route"), ("发送邮件", "send")])
def test_chinese_and_english_meet(prompt: str, first: str, by_meaning: bool) -> None:
    hits = rank(ELSEWHERE, by_meaning=by_meaning).search(prompt, limit=1).hits
    assert [ELSEWHERE[hit.index].local_name for hit in hits] == [first]


REPORTS = [
    *(Document("reports", f"report_{topic}", description=f"Report about {topic}.") for topic in "abcdefghijkl"),
    Document("filesystem", "write_file", description="Create or overwrite a file.", parameters=["path"]),
    Document("notes", "write_note", description="Write a note."),
]


@pytest.mark.parametrize("by_meaning", [False, True])
def test_what_a_prompt_implies_has_a_place_without_being_named(by_meaning: bool) -> None:
    ranking = rank(REPORTS, by_meaning=by_meaning)

    def found(prompt: str) -> list[str]:
        return [REPORTS[hit.index].local_name for hit in ranking.search(prompt, limit=8).hits]

    assert "write_file" in found("put the report into /root/out.md")
    assert "write_file" not in found("put the report before me")


@pytest.mark.parametrize("by_meaning", [False, True])
def test_what_a_prompt_implies_is_hit_though_it_shares_nothing_with_it(by_meaning: bool) -> None:
    news = Document("press", "headlines", description="Web news.")
    glaciers = [Document("ice", f"measure_{at}", description="Measures a glacier.") for at in range(20)]
    ranking = rank([news, *glaciers], by_meaning=by_meaning)
    assert 0 in [hit.index for hit in ranking.search("has the glacier moved recently?", limit=21).hits]
    assert 0 not in [hit.index for hit in ranking.search("has the glacier moved?", limit=21).hits]


KNOWLEDGE = [
    *(Document("charts", f"draw_{kind}_chart", description=f"Draws a {kind} chart.") for kind in "abcdefghijkl"),
    Document("lexicon", "search_articles", description="Search articles of an encyclopedia."),
    Document("lexicon", "get_article", description="The full content of an article."),
    Document("clock", "now", description="The current date and time."),
]


@pytest.mark.parametrize("by_meaning", [False, True])
def test_what_no_entry_speaks_of_may_have_to_be_looked_up(by_meaning: bool) -> None:
    ranking = rank(KNOWLEDGE, by_meaning=by_meaning)

    def found(prompt: str) -> list[str]:
        return [KNOWLEDGE[hit.index].local_name for hit in ranking.search(prompt, limit=10).hits]

    assert found("draw a chart of the trisicosahedron")[8:] == ["search_articles", "get_article"]
    assert found("draw a chart of tomorrow")[8:] == ["search_articles", "get_article"]
    assert not {"search_articles", "now"} & set(found("draw a chart"))


STREETS = [
    *(Document("trains", f"get_{kind}_stations", description=f"Lists {kind} metro stations.") for kind in "abcdefghij"),
    Document("atlas", "text_search", description="Search POI by keyword."),
]


@pytest.mark.parametrize("by_meaning", [False, True])
def test_who_asks_what_is_near_may_need_a_map(by_meaning: bool) -> None:
    ranking = rank(STREETS, by_meaning=by_meaning)

    def found(prompt: str) -> list[str]:
        return [STREETS[hit.index].local_name for hit in ranking.search(prompt, limit=10).hits]

    assert found("Which metro stations are nearest to the tower?")[8] == "text_search"
    assert "text_search" not in found("Which metro stations are open?")


def test_scores_do_not_rise_where_an_implied_entry_stands_before_a_better_one() -> None:
    scores = [hit.score for hit in rank(REPORTS).search("save the report a to /root/out.md", limit=14).hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_the_scope_is_ranked_as_if_there_were_nothing_else() -> None:
    scope = {0, 3, 5, 6}
    alone = [document for index, document in enumerate(CATALOG) if index in scope]
    of_scope = rank(CATALOG, by_meaning=True).search("list the sheets, then the weather", scope=scope, limit=2).hits
    of_alone = rank(alone, by_meaning=True).search("list the sheets, then the weather", limit=2).hits
    assert [CATALOG[hit.index] for hit in of_scope] == [alone[hit.index] for hit in of_alone]
