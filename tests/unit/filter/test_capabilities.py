"""What a prompt needs without saying so, and what serves it."""

from __future__ import annotations

import pytest

from hub_filter import words
from hub_filter.capabilities import (
    CAPABILITIES,
    FETCH_PAGE,
    FIND_PLACE,
    LOOK_UP,
    READ_FILE,
    READ_NEWS,
    TELL_TIME,
    WRITE_FILE,
    Capability,
    implied,
    likely,
)


@pytest.mark.parametrize(
    ("prompt", "needs"),
    [
        ("Save the summary to /root/report.md", [WRITE_FILE, READ_FILE]),
        ("把报告保存到 ./report.md", [WRITE_FILE, READ_FILE]),
        ("how many lines has data.csv?", [READ_FILE]),
        ("what does https://example.com say", [FETCH_PAGE]),
        ("the latest on Mars", [READ_NEWS]),
        ("write a poem", []),
        ("and/or", []),
        ("", []),
    ],
)
def test_signs_in_a_prompt_show_a_need(prompt: str, needs: list[Capability]) -> None:
    assert [CAPABILITIES[index] for index in implied(prompt)] == needs


@pytest.mark.parametrize(
    ("prompt", "unknown", "needs"),
    [
        ("what is a dodecahedron", True, [LOOK_UP]),
        ("Who plays Tomorrow?", True, [LOOK_UP, TELL_TIME]),
        ("remind me in three days", False, [TELL_TIME]),
        ("明天的天气", False, [TELL_TIME]),
        ("Which pharmacy is CLOSEST to the station?", False, [FIND_PLACE]),
        ("附近有没有书店", False, [FIND_PLACE]),
        ("where is the Trisicosahedron café located?", True, [FIND_PLACE, LOOK_UP]),
        ("the file located at /tmp/x", False, []),
        ("plot the nearest neighbours", False, []),
        ("list the files", False, []),
    ],
)
def test_what_is_unknown_near_or_a_matter_of_days_is_likely_looked_up(
    prompt: str, unknown: bool, needs: list[Capability]
) -> None:
    assert [CAPABILITIES[index] for index in likely(prompt, is_about_unknown=unknown)] == needs


@pytest.mark.parametrize(
    ("capability", "text", "serves"),
    [
        (WRITE_FILE, "Write text to a file", True),
        (WRITE_FILE, "Write a note", False),
        (READ_FILE, "Reads files", True),
        (FETCH_PAGE, "Fetch a website", True),
        (FETCH_PAGE, "Fetch a row", False),
        (LOOK_UP, "Search articles", True),
        (LOOK_UP, "Search the rows of a table", False),
        (FIND_PLACE, "Search for places by keyword", True),
        (FIND_PLACE, "Replace text that a search finds", False),
        (TELL_TIME, "Get the current time", True),
        (READ_NEWS, "Search the web for recent news", False),
    ],
)
def test_an_entry_serves_what_its_words_cover(capability: Capability, text: str, serves: bool) -> None:
    assert capability.served_by(set(words.terms(text))) is serves
