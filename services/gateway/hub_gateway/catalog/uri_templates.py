"""Which URIs a resource template can expand to (RFC 6570).

Pure. Generous, since it only picks the upstream to ask. Templates and URIs are other people's, so the time of a look
grows with their length alone: a regular expression with many gaps would try every way to fill them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_GAPS = 64
"""Expressions of a template that are heeded; behind so many, any text matches."""

_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")


class _Gap(NamedTuple):
    """What may stand for an expression: nothing, or `lead` and after it whatever is none of `ends`."""

    lead: str
    ends: str


_ANYTHING = _Gap("", "")
_GAPS = {
    "": _Gap("", "/?#"),
    "+": _ANYTHING,
    "#": _Gap("#", ""),
    ".": _Gap(".", "/?#"),
    "/": _Gap("/", "?#"),
    ";": _Gap(";", "?#"),
    "?": _Gap("?", "#"),
    "&": _Gap("&", "#"),
}


class UriTemplate:
    """One template, whatever its text: what is no expression stands for itself."""

    def __init__(self, text: str) -> None:
        self._parts: list[str | _Gap] = []
        end = 0
        for found in _EXPRESSION.finditer(text):
            self._parts.append(text[end : found.start()])
            if len(self._parts) >= 2 * MAX_GAPS:
                self._parts.append(_ANYTHING)
                return
            many = found[2].rstrip().endswith("*")
            self._parts.append(_ANYTHING if many and not found[1] else _GAPS[found[1]])
            end = found.end()
        self._parts.append(text[end:])

    def matches(self, uri: str) -> bool:
        """Whether the template can expand to this URI."""
        places = [0]
        for part in self._parts:
            places = _behind_text(part, uri, places) if isinstance(part, str) else _behind_gap(part, uri, places)
            if not places:
                return False
        return places[-1] == len(uri)


def _behind_text(text: str, uri: str, places: list[int]) -> list[int]:
    """Where a text ends that stands at one of these places."""
    return [place + len(text) for place in places if uri.startswith(text, place)]


def _behind_gap(gap: _Gap, uri: str, places: list[int]) -> list[int]:
    """Where a gap may end that begins at one of these places: each of them once, in order."""
    found = set(places)
    reached = -1
    for place in places:
        start = place + len(gap.lead)
        if start <= reached or not uri.startswith(gap.lead, place):
            continue  # from within what another has gone over, no further
        reached = start
        while reached < len(uri) and uri[reached] not in gap.ends:
            reached += 1
        found.update(range(start, reached + 1))
    return sorted(found)
