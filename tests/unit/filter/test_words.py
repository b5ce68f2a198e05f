"""Names and sentences meet in the same terms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_filter import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("search_issues", ["search", "issu"]),
        ("searchIssues", ["search", "issu", "searchissu"]),
        ("GitHub", ["git", "hub", "github"]),
        ("getHTTPResponse", ["http", "respons", "gethttprespons"]),
        ("k8s", ["8", "k8s"]),
        ("café", ["cafe"]),
        ("用github搜索", ["用", "github", "搜索"]),
        ("網頁內容", ["網頁", "頁內", "內容"]),
        ("прочитать файл", ["прочитать", "фаил"]),
        ("what is the", []),
        ("", []),
    ],
)
def test_text_is_cut_into_terms(text: str, expected: list[str]) -> None:
    assert words.terms(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("searchIssues of GitHub", ("search", "issues", "git", "hub")),
        ("get_files, 2 files at a time", ("files", "time")),
        ("café 用github搜索", ("cafe", "用", "github", "搜索")),
        ("what is the", ()),
    ],
)
def test_text_is_cut_into_words_as_they_are_spoken(text: str, expected: tuple[str, ...]) -> None:
    assert words.plain_words(text) == expected


@pytest.mark.parametrize(
    "family",
    [
        ["notify", "notifies", "notified", "notifying"],
        ["search", "searches", "searching"],
        ["convert", "converts", "converter", "converting"],
        ["plot", "plots", "plotting"],
        ["branch", "branches"],
        ["file", "files"],
    ],
)
def test_forms_of_a_word_meet_in_one_term(family: list[str]) -> None:
    assert len({term for word in family for term in words.terms(word)}) == 1


@pytest.mark.parametrize(("one", "other"), [("status", "state"), ("process", "proceed"), ("analysis", "anal")])
def test_different_words_stay_apart(one: str, other: str) -> None:
    assert words.terms(one) != words.terms(other)


def test_a_file_name_hints_at_what_opens_it() -> None:
    assert "excel" in words.hints("sum up ./data/report.xlsx")
    assert words.terms("file")[0] in words.hints("sum up ./data/report.xlsx")
    assert words.terms("web")[0] in words.hints("read https://example.com")
    assert words.hints("sum up the report") == []


def test_a_prompt_is_cut_where_one_wish_ends_and_the_next_begins() -> None:
    prompt = "Find the paper, then summarise it and mail it to Bob.\n- book a flight"
    assert [part.strip() for part in words.parts(prompt) if part.strip()] == [
        "Find the paper",
        "summarise it",
        "mail it to Bob.",
        "- book a flight",
    ]


@given(st.text(max_size=300))
def test_any_text_gives_terms_that_are_never_blank(text: str) -> None:
    assert all(term.strip() for term in [*words.terms(text), *words.hints(text)])
    assert [*words.parts(text)]
