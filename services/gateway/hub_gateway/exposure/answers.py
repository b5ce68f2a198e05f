"""The tools an answer names: one line each, best first, within a budget of tokens.

Pure. The first lines say what a tool does and what it can be given; the later ones only what it needs, so that more of
what was found fits into what a model pays for.
"""

from __future__ import annotations

from collections.abc import Sequence

from hub_gateway.catalog.description import short_signature, signature
from hub_gateway.catalog.effect import effect
from hub_gateway.catalog.entry import Entry
from hub_gateway.catalog.tokens import estimate

TOKENS = 900
"""What the lines of an answer may cost unless a number of tools was asked for; the words around them come on top."""

FULL_LINES = 8
"""Lines with a sentence and the optional parameters."""

LINES = 20
"""Tools an answer names at most unless more were asked for."""

LEAST_LINES = 10
"""Tools it names though the ranking holds fewer of them worth showing: a line more costs a model some twenty tokens, a
second search hundreds."""


NO_TOOL = "No tool fits. Say it in other words."


def search_text(found: Sequence[str], searched: int, how: str) -> str:
    """What a search answers: how to call, and the lines of what was found among so many tools."""
    if not found:
        return NO_TOOL
    head = f"Best of {searched} tools; call one through {how} with its name and arguments:"
    return "\n".join([head, *found])


def lines(entries: Sequence[Entry], *, limit: int = 0, marked: bool = False) -> list[str]:
    """The lines of an answer; always one where there is an entry.

    Args:
        entries: best first.
        limit: that many tools were asked for, and the budget does not count; 0 leaves it to the budget.
        marked: say which of the variants of `hub__call_tool` takes each tool.
    """
    found: list[str] = []
    left = TOKENS
    for place, entry in enumerate(entries[: limit or LINES]):
        line = signature(entry) if place < FULL_LINES else short_signature(entry)
        if marked:
            line = f"[{effect(entry).value}] {line}"
        left -= estimate(line) + 1
        if found and left < 0 and not limit:
            break
        found.append(line)
    return found
