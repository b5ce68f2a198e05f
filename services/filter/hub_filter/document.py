"""An entry as the ranking reads it: its terms and what each weighs, and its text as a sentence.

Owns which texts of an entry count, how much, and how long they may be. Pure. Does not know scores or prompts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from hub_filter import glossary, words

_DESCRIPTION_CHARACTERS = 400
"""Descriptions say what a tool does in their first sentences; the rest is manual, and mentions everything."""

_NAME_CHARACTERS = 400
_NAME_WORDS = 32
_PARAMETERS = 64
_PARAMETER_CHARACTERS = 240
_KEYWORDS = 16
_KEYWORD_CHARACTERS = 80

_FIELDS = {
    "upstream": 2.0,
    "name": 3.0,
    "title": 1.5,
    "description": 1.0,
    "parameters": 0.7,
    "explained": 0.4,
    "keywords": 0.7,
}

_SIGNS = re.compile(r"[_\-./:]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Document(msgspec.Struct, frozen=True):
    """What is known of an entry in words."""

    upstream_name: str
    local_name: str
    title: str = ""
    description: str = ""
    parameters: Sequence[str] = ()
    parameter_descriptions: Sequence[str] = ()
    keywords: Sequence[str] = ()
    """What people who need it say, as a model thinks: a guess, and weighed as one."""
    place: int = 0
    """Where its upstream lists it, from 1; 0 where that is not known."""


class Analysed(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """An entry ready to be ranked. Depends on nothing but the entry, so catalogs that share it share this."""

    upstream_name: str
    weights: Mapping[str, float]
    text: str
    """Upstream, name, title and description in words."""
    name: tuple[str, ...] = ()
    """The different words of upstream and name."""
    place: int = 0
    """As the document has it."""


def analyse(document: Document) -> Analysed:
    """Weigh the terms of one entry and put it into words."""
    title = document.title[:_NAME_CHARACTERS]
    description = _bilingual(document.description[:_DESCRIPTION_CHARACTERS])[:_DESCRIPTION_CHARACTERS]
    texts = {
        "upstream": document.upstream_name,
        "name": document.local_name[:_NAME_CHARACTERS],
        "title": _bilingual(title),
        "description": description,
        "parameters": " ".join(name[:_PARAMETER_CHARACTERS] for name in document.parameters[:_PARAMETERS]),
        "explained": " ".join(text[:_PARAMETER_CHARACTERS] for text in document.parameter_descriptions[:_PARAMETERS]),
        "keywords": " ".join(text[:_KEYWORD_CHARACTERS] for text in document.keywords[:_KEYWORDS]),
    }
    weights: dict[str, float] = {}
    for field, text in texts.items():
        for term in words.terms(text):
            weights[term] = weights.get(term, 0.0) + _FIELDS[field]
    name = _spoken(texts["name"])
    heading = f"{name}. {title}" if title else name
    upstream = _spoken(texts["upstream"])
    words_of_name = words.plain_words(_bilingual(f"{upstream} {name}"))[:_NAME_WORDS]
    sentence = f"{upstream} {heading}. {description}"
    return Analysed(document.upstream_name, weights, sentence, words_of_name, document.place)


def _bilingual(text: str) -> str:
    """The text, with its English before it where the glossary has some."""
    english = glossary.english(text)
    return f"{english}. {text}" if english else text


def _spoken(name: str) -> str:
    """A name as words: `search_issues` and `searchIssues` become `search issues` and `search Issues`."""
    return _HUMP.sub(" ", _SIGNS.sub(" ", name))
