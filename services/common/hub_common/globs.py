"""Globs over names: `*` any text, `?` one character, `[abc]`, `[a-z]` and `[!abc]` one of these or none of these.

Pure. Case counts, and the whole name has to match. The gateway refuses malformed ones when it reads the config, the
filter matches: both with this module, so they never disagree over what a glob means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_LITERAL = re.compile(r"[^*?\[]*")


class BadGlob(ValueError):
    """The text is no glob; the message says why and does not quote it."""


class Globs:
    """Several globs, compiled once and tried together; the first that matches is told.

    Raises:
        BadGlob: one of them is malformed.
    """

    def __init__(self, globs: Sequence[str]) -> None:
        self.globs = tuple(globs)
        self._any = re.compile("|".join(f"({_expression(glob)})" for glob in self.globs) or r"(?!)", re.DOTALL)

    def first(self, *names: str) -> str | None:
        """The first of the globs that matches any of these names; None where none does."""
        found = [match.lastindex for name in names if (match := self._any.fullmatch(name)) is not None]
        places = [place for place in found if place is not None]
        return self.globs[min(places) - 1] if places else None


def fault(glob: str) -> str | None:
    """Why a text is no glob; None where it is one."""
    try:
        _expression(glob)
    except BadGlob as bad:
        return str(bad)
    return None


def literal_start(glob: str) -> str:
    """What every name begins with that the glob matches, as far as the glob says it letter by letter."""
    found = _LITERAL.match(glob)
    return found[0] if found else ""


def _expression(glob: str) -> str:
    if not glob:
        raise BadGlob("must not be empty")
    first, *others = _runs(glob)
    if not others:
        return first
    # What stands between two stars is found at its first place and kept there: no place after it could do better, and
    # no choice of places is tried twice.
    between = "".join(f"(?>.*?{run})" for run in others[:-1] if run)
    return f"{first}{between}.*{others[-1]}"


def _runs(glob: str) -> Iterable[str]:
    """The expressions of what stands between the stars."""
    runs = [""]
    for token in _tokens(glob):
        if token == "*":
            runs.append("")
        else:
            runs[-1] += token
    return runs


def _tokens(glob: str) -> Iterator[str]:
    place = 0
    while place < len(glob):
        sign = glob[place]
        place += 1
        if sign == "*":
            yield "*"
        elif sign == "?":
            yield "."
        elif sign == "[":
            end = glob.find("]", place)
            if end < 0:
                raise BadGlob("a [ is never closed")
            yield _one_of(glob[place:end])
            place = end + 1
        else:
            yield re.escape(sign)


def _one_of(text: str) -> str:
    negated = text.startswith("!")
    members = text[1:] if negated else text
    if not members:
        raise BadGlob("nothing stands between [ and ]")
    parts: list[str] = []
    while members:
        if len(members) >= 3 and members[1] == "-":
            first, last = members[0], members[2]
            if first > last:
                raise BadGlob("a range between [ and ] runs backwards")
            parts.append(f"{re.escape(first)}-{re.escape(last)}")
            members = members[3:]
        else:
            parts.append(re.escape(members[0]))
            members = members[1:]
    return f"[{'^' if negated else ''}{''.join(parts)}]"
