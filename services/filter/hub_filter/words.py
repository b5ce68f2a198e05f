"""From text to terms: what two texts must share to be about the same thing.

Owns how names and sentences are cut into terms, the words that mean nothing here, and how a long prompt is cut into the
things it asks for. Pure. Does not know entries or scores.

English gets stop words and a light suffix stripper; other alphabets are cut into words, and Chinese, Japanese and
Korean runs, which have no spaces, into overlapping pairs of characters. Hub decision, measured by
bench/eval_ranking.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain

_STOP_WORD_TEXT = (
    "a about above after again all also am an and any are as at be because been before being below "
    "between bit both but by can could did do does doing don down during each few find for from further gave "
    "get give good got had has have having he hello help her here hers hey hi him his how i id if im in "
    "into is isn it its itself ive just kind know let like ll lot made make maybe me more most my myself "
    "need needs no nor not now of off ok okay on once only or other our ours out over own please re "
    "really same she should show so some such sure tell than thank thanks that the their theirs them then "
    "there these they thing things this those through to too under until up use used using ve very via "
    "want was we were what when where which while who whom why will with would you your yours yourself "
)
_STOP_WORDS = frozenset(_STOP_WORD_TEXT.split())

_NO_SPACES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_RUN = re.compile(f"[{_NO_SPACES}]+|[^\\W_{_NO_SPACES}]+")
_IS_NO_SPACES = re.compile(f"[{_NO_SPACES}]")
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+|[A-Z]")
_COMBINING = re.compile("[\u0300-\u036f]+")

_PART_END = re.compile(
    r"[\n\r;!?•。；！？]+|(?<=[.:])\s+|,\s+|[，、]|\s[-–—]\s|—"
    r"|\b(?:and then|then|and also|also|after that|afterwards|finally|next|plus|as well as|and)\b",
    re.IGNORECASE,
)

_SENTENCE_END = re.compile(r"[\n\r]+|(?<=[.!?;:])\s+|[。；！？]")

_SUFFIXES = ("ations", "ation", "ings", "ing", "edly", "ed", "ions", "ion", "ers", "er", "or", "ment", "ly")
_VOWEL = re.compile("[aeiouy]")

_FILE_ENDING = re.compile(r"\.([A-Za-z0-9]{2,6})\b")
_PATH = re.compile(r"(?:^|[\s`'\"(])(?:\.{0,2}/|~/)[\w./-]+")
_URL = re.compile(r"https?://\S+|\bwww\.\S+")
_MEANS = {
    "csv": "csv table spreadsheet",
    "db": "database sqlite",
    "doc": "word document",
    "docx": "word document",
    "gif": "image",
    "html": "html web page",
    "jpeg": "image",
    "jpg": "image",
    "js": "javascript code",
    "json": "json",
    "md": "markdown",
    "mp3": "audio",
    "mp4": "video",
    "pdf": "pdf",
    "png": "image",
    "pptx": "powerpoint presentation",
    "py": "python code",
    "sqlite": "database sqlite",
    "svg": "image",
    "ts": "typescript code",
    "txt": "text",
    "wav": "audio",
    "xls": "excel spreadsheet",
    "xlsx": "excel spreadsheet",
    "zip": "archive",
}


def terms(text: str) -> list[str]:
    """Return the terms of `text` in order, repetitions included.

    Names are taken whole and in pieces, since people write both: `GitHub` gives github, git and hub, `search_issues`
    search and issu. Single letters and stop words give nothing.
    """
    return list(chain.from_iterable(map(_terms_of, _runs(text))))


def plain_words(text: str) -> tuple[str, ...]:
    """Return the different words of `text` as they are spoken, in order: names in pieces and small, without stop words,
    numbers and single letters. What embeds words wants them whole, not as terms."""
    return tuple(dict.fromkeys(chain.from_iterable(map(_plain_words_of, _runs(text)))))


def hints(text: str) -> list[str]:
    """Return terms for what `text` says without the word: `report.xlsx` is about excel, `/tmp/x` about a file."""
    if "." not in text and "/" not in text:
        return []
    said = [_MEANS.get(ending.lower(), "") for ending in _FILE_ENDING.findall(text)] if "." in text else []
    if ("://" in text or "www." in text) and _URL.search(text):
        said.append("url web page")
    if "/" in text and _PATH.search(text):
        said.append("file")
    return list(dict.fromkeys(terms(" ".join(said))))


def parts(text: str) -> Iterator[str]:
    """Cut a prompt into the things it may ask for: sentences, list lines, clauses. Parts may be blank."""
    yield from _PART_END.split(text)


def sentences(text: str) -> Iterator[str]:
    """Cut a prompt into sentences and lines, which hold more of what is meant than parts do. They may be blank."""
    yield from _SENTENCE_END.split(text)


@lru_cache(maxsize=256)
def _runs(text: str) -> Sequence[str]:
    """The unbroken runs of letters and digits; terms and plain words of a piece are wanted shortly after each other."""
    return _RUN.findall(text if text.isascii() else _plain(text))


def _plain(text: str) -> str:
    """The text with width and ligature variants made one, and accents taken off."""
    letters = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
    return unicodedata.normalize("NFC", _COMBINING.sub("", letters))


@lru_cache(maxsize=32_768)
def _terms_of(run: str) -> tuple[str, ...]:
    """The terms of one unbroken run of letters and digits; a prompt's whole, sentences and parts share their runs."""
    if _IS_NO_SPACES.match(run):
        return tuple(run[at : at + 2] for at in range(len(run) - 1)) or (run,)
    pieces: list[str] = _PIECE.findall(run)
    if len(pieces) > 1:
        pieces.append(run)
    return tuple(
        _stem(word)
        for word in (piece.lower() for piece in pieces)
        if word not in _STOP_WORDS and (len(word) > 1 or word.isdigit())
    )


@lru_cache(maxsize=32_768)
def _plain_words_of(run: str) -> tuple[str, ...]:
    if _IS_NO_SPACES.match(run):
        return (run,)
    pieces = (piece.lower() for piece in _PIECE.findall(run))
    return tuple(word for word in pieces if len(word) > 1 and word not in _STOP_WORDS and not word.isdigit())


def _stem(word: str) -> str:
    """Strip English endings so that notify, notifies and notified meet. Not a word, and not meant to be one."""
    if len(word) <= 3 or not word.isascii():
        return word
    word = _singular(word)
    for suffix in _SUFFIXES:
        base = word.removesuffix(suffix)
        if base != word and len(base) >= 3:
            if _VOWEL.search(base):
                doubled = len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz"
                word = base[:-1] if doubled else base
            break
    if len(word) > 4 and word[-1] == "e":
        word = word[:-1]
    if len(word) > 4 and word[-1] == "y":
        word = word[:-1] + "i"
    return word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "ses", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
