"""Which URIs a resource template can expand to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.uri_templates import MAX_GAPS, UriTemplate

EXPANSIONS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("test://{id}/data", ("test://1/data", "test://a%20b/data", "test:///data"), ("test://1/2/data", "test://1")),
    ("file:///{+path}", ("file:///a/b/c", "file:///"), ("file://x",)),
    ("x:{a}{?b,c}", ("x:1", "x:1?b=2&c=3"), ("x:1#f", "y:1")),
    ("x:{/a*}", ("x:/1/2", "x:"), ("x:1",)),
    ("x:{a}{#f}", ("x:1#2",), ("x:1?2",)),
    ("x:{.a}", ("x:", "x:.1"), ("x:1", "x:.1/2")),
    ("x:{;a}{&b}", ("x:;a=1/2", "x:;a=1&b=2", "x:&b=?"), ("x:1",)),
    ("x:{a*}y", ("x:1/2?y", "x:y"), ("x:1",)),
    ("x.{y}(z)", ("x.1(z)",), ("xa1(z)", "x.1z")),
)


@pytest.mark.parametrize(("template", "matching", "others"), EXPANSIONS)
def test_a_template_matches_what_it_can_expand_to(
    template: str, matching: tuple[str, ...], others: tuple[str, ...]
) -> None:
    found = UriTemplate(template)
    assert [uri for uri in matching if not found.matches(uri)] == []
    assert [uri for uri in others if found.matches(uri)] == []


def test_a_template_of_many_gaps_is_held_against_a_uri_in_one_go() -> None:
    found = UriTemplate("x:" + "{a}b" * 20 + "y")
    assert not found.matches("x:" + "ab" * 200)  # as a regular expression this would not end
    assert found.matches("x:" + "ab" * 200 + "y")


def test_braces_that_nothing_closes_are_text() -> None:
    text = "x:" + "{" * 100_000
    assert UriTemplate(text).matches(text)


def test_behind_the_last_gap_that_is_heeded_any_text_matches() -> None:
    found = UriTemplate("x:" + "{a}/" * (MAX_GAPS + 1))
    assert found.matches("x:" + "1/" * MAX_GAPS + "#?")
    assert not found.matches("x:" + "1/" * (MAX_GAPS - 1) + "#?")


@given(st.text(st.sampled_from("{}+#/?&;.*,:ab"), max_size=12), st.text(max_size=12))
def test_any_text_is_a_template(template: str, uri: str) -> None:
    UriTemplate(template).matches(uri)
