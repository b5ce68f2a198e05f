"""An entry becomes weighed terms and a sentence."""

from __future__ import annotations

import pytest

from hub_filter import glossary, words
from hub_filter.document import Document, analyse


def test_the_text_of_an_entry_is_its_names_in_words_and_its_description() -> None:
    analysed = analyse(Document("git-hub", "searchIssues_byLabel", title="Issues", description="Finds issues."))
    assert analysed.text == "git hub search Issues by Label. Issues. Finds issues."


def test_the_words_of_a_name_are_those_of_upstream_and_entry_each_once() -> None:
    assert analyse(Document("git-issues", "searchIssues_byLabel")).name == ("git", "issues", "search", "label")
    assert analyse(Document("x", "查询天气")).name == ("query", "look", "weather", "查询天气")


def test_a_name_weighs_more_than_a_description() -> None:
    weights = analyse(Document("up", "cat", description="dog")).weights
    assert weights["cat"] > weights["dog"] > 0


def test_a_chinese_description_has_its_english_beside_it() -> None:
    analysed = analyse(Document("up", "x", description="查询天气"))
    assert "weather" in analysed.text
    assert words.terms("weather")[0] in analysed.weights
    assert words.terms("天气")[0] in analysed.weights


def test_a_description_is_read_to_a_bound() -> None:
    analysed = analyse(Document("up", "x", description="word " * 1_000 + "zebra"))
    assert "zebra" not in analysed.weights
    assert len(analysed.text) < 500


@pytest.mark.parametrize(
    ("text", "english"),
    [("天气预报", "weather forecast"), ("搜索文件夹", "search folder"), ("plain words", ""), ("Größe", ""), ("", "")],
)
def test_the_longest_listed_words_are_translated(text: str, english: str) -> None:
    assert glossary.english(text) == english
