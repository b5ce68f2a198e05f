"""What a prompt needs without saying so, and what serves it."""

from __future__ import annotations

import pytest

from hub_filter import words
from hub_filter.capabilities import CAPABILITIES, FETCH_PAGE, READ_FILE, READ_NEWS, WRITE_FILE, Capability, implied


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
    ("capability", "text", "serves"),
    [
        (WRITE_FILE, "Write text to a file", True),
        (WRITE_FILE, "Write a note", False),
        (READ_FILE, "Reads files", True),
        (FETCH_PAGE, "Fetch a website", True),
        (FETCH_PAGE, "Fetch a row", False),
        (READ_NEWS, "Search the web for recent news", False),
    ],
)
def test_an_entry_serves_what_its_words_cover(capability: Capability, text: str, serves: bool) -> None:
    assert capability.served_by(set(words.terms(text))) is serves
