"""Which category an entry has, by what it is called and how it describes itself.

Pure and deterministic. Owns the ten built-in categories, custom mappings and how the cues of `cues` are weighed. Works
on bare names: the upstream's name helps, but nothing depends on a prefix. Does not know the cache or the LLM.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from hub_categorizer.cues import BUILT_IN, ELSEWHERE, EMPTY_IN_UPSTREAM_NAMES, ORDINARY_WORDS, Cues

OTHER = "other"

CATEGORIES = (*BUILT_IN, OTHER)
"""The built-in categories, in the order in which ties are decided."""

READ_DESCRIPTION_CHARS = 600
"""What a description says after this is detail, and detail misleads."""

# How much a hit counts by where it stands. A product in the upstream's name says what the whole upstream is; what an
# entry's own name says comes before what its description mentions on the way.
_UPSTREAM, _LOCAL, _LEAD, _REST = 0, 1, 2, 3
_PRODUCT_FACTORS = (10.0, 8.0, 3.0, 1.0)
_WORD_FACTORS = (1.5, 2.0, 1.0, 0.4)
_STRONG, _PLAIN, _WEAK = 3.0, 1.5, 0.6

_LEAST_SCORE = 1.3
_DOUBT = 3.0
"""Score that evidence has to outweigh before confidence comes near 1."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[a-z0-9]+")
_SENTENCE_END = re.compile(r"[.!?;\n](?:\s|$)|[。！？]")
_UNSAFE = re.compile(r"[^A-Za-z0-9]")


class Verdict(NamedTuple):
    """A category of the closed list, and how sure the words make it, 0 to 1."""

    category: str
    confidence: float


class Mapping(NamedTuple):
    """One of the user's own rules: a pattern with `*` and `?`, ignoring case."""

    pattern: str
    category: str


class Taxonomy(NamedTuple):
    """A closed list of categories, `other` always in it, and the custom mappings, of which the first match wins."""

    categories: tuple[str, ...] = CATEGORIES
    mappings: tuple[Mapping, ...] = ()

    @classmethod
    def of(cls, categories: Iterable[str], mappings: Iterable[Mapping]) -> Taxonomy:
        """Close the list: no categories mean the built-in ones, and what a mapping names belongs to it too."""
        mapped = tuple(mappings)
        named = [*(categories or CATEGORIES), *(mapping.category for mapping in mapped), OTHER]
        return cls(tuple(dict.fromkeys(name for name in named if name)), mapped)

    def mapped(self, upstream_name: str, local_name: str) -> str | None:
        """The category of the first mapping that fits `upstream__local` (as configured, or as the public name has it)
        or the bare local name."""
        if not self.mappings:
            return None
        safe = _UNSAFE.sub("_", upstream_name)
        names = (f"{upstream_name}__{local_name}", f"{safe}__{local_name}", local_name)
        for mapping in self.mappings:
            fits = _matcher(mapping.pattern)
            if any(map(fits, names)):
                return mapping.category
        return None

    def judged(self, upstream_name: str, local_name: str, description: str) -> Verdict:
        """The category the words point at."""
        return _judged(self.categories, upstream_name, local_name, description[:READ_DESCRIPTION_CHARS])


def judgements_recalled() -> int:
    """How many judgements of this process needed no thought, having been made before."""
    return _judged.cache_info().hits


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], object]:
    expression = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.compile(expression, re.IGNORECASE | re.DOTALL).fullmatch


class _Index(NamedTuple):
    """Cue to its hits: category and weight. `wide` holds cues of scripts that do not part their words."""

    products: dict[str, list[str]]
    words: dict[str, list[tuple[str, float]]]
    wide: list[tuple[str, str, float]]


@lru_cache(maxsize=64)
def _index(categories: tuple[str, ...]) -> _Index:
    index = _Index({}, {}, [])
    for category in categories:
        # A category of the user's own is known by its name.
        cues = (
            ELSEWHERE
            if category == OTHER
            else BUILT_IN.get(category) or Cues(products="", strong=" ".join(_words(category)), plain="", weak="")
        )
        for product in cues.products.split():
            index.products.setdefault(_cue(product), []).append(category)
        for words, weight in ((cues.strong, _STRONG), (cues.plain, _PLAIN), (cues.weak, _WEAK)):
            for word in words.split():
                if word.isascii():
                    index.words.setdefault(_cue(word), []).append((category, weight))
                else:
                    index.wide.append((word, category, weight))
    return index


@lru_cache(maxsize=32_768)
def _judged(categories: tuple[str, ...], upstream_name: str, local_name: str, description: str) -> Verdict:
    lead, rest = _parted(description)
    scores = dict.fromkeys(categories, 0.0)
    index = _index(categories)
    for place, text in enumerate((upstream_name, local_name, lead, rest)):
        _add_scores(scores, index, place, text)
    ranked = sorted(scores.values(), reverse=True)
    best = ranked[0] if ranked else 0.0
    if best < _LEAST_SCORE:
        return Verdict(OTHER, 0.1)
    category = next(name for name, score in scores.items() if score == best)
    runner_up = ranked[1] if len(ranked) > 1 else 0.0
    return Verdict(category, round(min(0.95, best / (best + runner_up + _DOUBT)), 2))


def _parted(description: str) -> tuple[str, str]:
    """The first sentence, and what follows it."""
    text = description.strip()
    end = _SENTENCE_END.search(text)
    return (text[: end.start()], text[end.end() :]) if end else (text, "")


def _add_scores(scores: dict[str, float], index: _Index, place: int, text: str) -> None:
    words = _words(text)
    # A product with an ordinary name is meant where it stands alone, or where it names the upstream.
    ordinary_too = place == _UPSTREAM or (place == _LOCAL and len(words) == 1)
    for cue in dict.fromkeys(_cues(words, index)):
        if place != _UPSTREAM or cue not in EMPTY_IN_UPSTREAM_NAMES:
            for category, weight in index.words.get(cue, ()):
                scores[category] += weight * _WORD_FACTORS[place]
        if ordinary_too or cue not in ORDINARY_WORDS:
            for category in index.products.get(cue, ()):
                scores[category] += _PRODUCT_FACTORS[place]
    if not text.isascii():
        for cue, category, weight in index.wide:
            if cue in text:
                scores[category] += weight * _WORD_FACTORS[place]


def _cues(words: Sequence[str], index: _Index) -> Iterator[str]:
    """The cues in a text, the longest first at each word: `postal_code` hides `code`."""
    start = 0
    while start < len(words):
        for count in (3, 2, 1):
            cue = "_".join(words[start : start + count])
            if cue in index.words or cue in index.products:
                yield cue
                break
        start += min(count, len(words) - start)


def _cue(word: str) -> str:
    return "_".join(map(_singular, word.split("_")))


def _words(text: str) -> list[str]:
    return [_singular(word) for word in _WORD.findall(_CAMEL.sub(" ", text).lower())]


def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")) or word in _KEPT:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1]


_KEPT = frozenset({"redis", "kubernetes", "aws", "postgres", "crates", "requests", "jenkins", "sas", "dns", "ios"})
