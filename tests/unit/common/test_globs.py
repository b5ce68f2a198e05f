"""Globs over names mean what shells and Python mean by them; what is malformed is no glob."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_common.globs import BadGlob, Globs, fault, literal_start

SIGNS = "ab_*?."
PIECES = st.sampled_from(("a", "b", "_", "__", "*", "**", "?", ".", "[ab]", "[!a]", "[a-b]", "[*]", "[x?]"))
NAMES = st.text("abx_.*?", max_size=12)


@settings(max_examples=2_000)
@given(st.lists(PIECES, min_size=1, max_size=8).map("".join), NAMES)
def test_a_glob_matches_what_python_s_own_does(glob: str, name: str) -> None:
    assert (Globs([glob]).first(name) == glob) == fnmatchcase(name, glob)


@given(st.lists(st.text(SIGNS, min_size=1, max_size=5), max_size=5), NAMES, NAMES)
def test_the_first_of_several_that_matches_any_name_is_told(globs: list[str], one: str, other: str) -> None:
    expected = next((glob for glob in globs if fnmatchcase(one, glob) or fnmatchcase(other, glob)), None)
    assert Globs(globs).first(one, other) == expected


@pytest.mark.parametrize(
    ("glob", "why"),
    (
        ("", "empty"),
        ("a[bc", "never closed"),
        ("a[]", "nothing stands between"),
        ("a[!]b", "nothing stands between"),
        ("[z-a]*", "runs backwards"),
    ),
)
def test_what_is_malformed_is_no_glob(glob: str, why: str) -> None:
    assert why in (fault(glob) or "")
    with pytest.raises(BadGlob, match=why):
        Globs(["ok", glob])


def test_many_stars_over_a_long_name_end_soon() -> None:
    # Tried in every combination, these would not end.
    assert Globs(["*a" * 30 + "*b"]).first("a" * 5_000) is None


def test_case_counts_and_a_line_break_is_a_character() -> None:
    assert Globs(["a*"]).first("A") is None
    assert Globs(["a*c", "a?c"]).first("a\nc") == "a*c"


@pytest.mark.parametrize(("glob", "start"), (("a__*", "a__"), ("*", ""), ("a[b]", "a"), ("a?", "a"), ("abc", "abc")))
def test_what_a_glob_says_letter_by_letter(glob: str, start: str) -> None:
    assert literal_start(glob) == start
