"""The grammar of placeholders holds for any text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.config.templates import Template, names, parse

PIECES = st.sampled_from(["${", "}", "{", "$", "A", "cmd: ", "env:", " "])


def text_of(template: Template) -> str:
    return "".join(part if isinstance(part, str) else f"${{{text_of(part.body)}}}" for part in template)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_a_template_is_its_text_cut_up(text: str) -> None:
    try:
        template = parse(text)
    except ValueError:
        assert text.count("${") > 10
        return
    assert text_of(template) == text


@given(st.text(alphabet=st.characters(exclude_characters="$"), max_size=50))
def test_a_text_without_a_dollar_is_plain(text: str) -> None:
    assert parse(text) == ((text,) if text else ())


def test_names_are_those_written_out() -> None:
    assert list(names(parse("${A} ${env:B} ${cmd: x ${C}} ${input:d} ${P_${E}} ${open"))) == [
        "A",
        "B",
        "C",
        "input:d",
        "E",
    ]


def test_a_long_text_is_cut_in_linear_steps() -> None:
    assert len(parse("${A}" * 50_000)) == 50_000
    assert parse("${" * 50_000) == ("${" * 50_000,)
