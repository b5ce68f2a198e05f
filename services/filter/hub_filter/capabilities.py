"""What a prompt needs without saying so: the everyday tools behind a path, an address or a wish for news.

Owns the signs of such a need in a prompt and what an entry must talk about to serve it. Pure. Does not know scores.

Some needs are sure enough to stand among the first hits, others only likely: whoever asks where or what is near may
need a map, whoever asks of what no entry speaks may have to look it up, and whoever says "tomorrow" may have to learn
what day it is.

"Save it to /root/report.md" says nothing of writing files, and its other words lead to tools about reports. The list is
kept to what nearly every set of servers has a tool for, and every sign is one that a person would point at.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

import msgspec

from hub_filter import words


class Capability(msgspec.Struct, frozen=True):
    """Something that everyday tools do."""

    asked_as: str
    """The need in words, as a prompt of its own."""
    requires: tuple[tuple[str, ...], ...] = ()
    """An entry serves it when it has a term of every group. Without groups nothing serves it for certain."""
    then: Capability | None = None
    """What is needed after it, of the same upstream: what was found has to be read."""

    def served_by(self, terms: Container[str]) -> bool:
        """Whether an entry that holds `terms` does this, as far as words can tell."""
        return bool(self.requires) and all(any(term in terms for term in group) for group in self.requires)


def _groups(*texts: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(words.terms(text)) for text in texts)


WRITE_FILE = Capability("write file create a new file with content", _groups("write save", "file"))
READ_FILE = Capability("read file contents from a path", _groups("read", "file"))
FETCH_PAGE = Capability(
    "fetch a web page by url", _groups("fetch scrape browse navigate crawl", "url web page website html")
)
READ_NEWS = Capability("search the web for recent news")
READ_FOUND = Capability(
    "read the full content of the article or page that was found", _groups("article page content web document paper")
)
LOOK_UP = Capability(
    "search an encyclopedia for articles about a topic",
    _groups("search", "article web internet encyclopedia"),
    READ_FOUND,
)
FIND_PLACE = Capability("search for a place on the map by keyword", _groups("search find", "place poi"))
TELL_TIME = Capability("get the current date and time", _groups("current now today", "time date"))

CAPABILITIES: Sequence[Capability] = (
    WRITE_FILE,
    READ_FILE,
    FETCH_PAGE,
    READ_NEWS,
    FIND_PLACE,
    LOOK_UP,
    READ_FOUND,
    TELL_TIME,
)

_FILE = re.compile(
    r"(?:^|[\s`'\"(])(?:\.{0,2}/|~/)[\w./-]+|\b[A-Za-z]:\\|\.(?:txt|md|csv|json|pdf|docx?|xlsx?|py|html|log|png|jpe?g)\b"
)
_MAKES = re.compile(
    r"\b(?:save|write|creat|generat|stor(?:e|ing)|export|output|put|produce|make|append|download|draft|record|compile)"
    r"|保存|写入|生成|创建|导出",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"https?://\S+|\bwww\.\S+")
_RECENT = re.compile(r"\b(?:latest|recent\w*|news|trending|up-to-date)\b|最新|新闻", re.IGNORECASE)

_DAY = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|in \w+ days|(?:next|coming) (?:\w+ )?(?:days?|week|weekend|month))\b"
    r"|今天|今晚|明天|昨天|下周"
)

_PLACE = re.compile(
    r"\b(?:nearest(?! neighbo)|closest|nearby|near (?:me|my|the|here)|around here|where can (?:i|we)|street)\b"
    r"|\bwhere\b[^?!\n]{0,80}\blocated\b|附近|周边"
)


def implied(text: str) -> list[int]:
    """Return the capabilities that `text` shows a need of, as indexes into `CAPABILITIES`, the surest first."""
    found: list[Capability] = []
    if _FILE.search(text):
        found += [WRITE_FILE, READ_FILE] if _MAKES.search(text) else [READ_FILE]
    if ("://" in text or "www." in text) and _ADDRESS.search(text):
        found.append(FETCH_PAGE)
    if _RECENT.search(text):
        found.append(READ_NEWS)
    return [CAPABILITIES.index(capability) for capability in found]


def likely(text: str, *, is_about_unknown: bool) -> list[int]:
    """Return the capabilities that `text` may need: as `implied`, with less certainty.

    Args:
        text: the prompt.
        is_about_unknown: it speaks of things that no entry speaks of.
    """
    # A pattern that heeds no case takes half as long again.
    small = text.lower()
    found = [FIND_PLACE] if _PLACE.search(small) else []
    if is_about_unknown:
        found.append(LOOK_UP)
    if _DAY.search(small):
        found.append(TELL_TIME)
    return [CAPABILITIES.index(capability) for capability in found]
