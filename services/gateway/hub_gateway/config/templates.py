"""The grammar of placeholders: a text cut into plain parts and `${...}`, which may hold placeholders in turn.

Pure. Knows neither what a name stands for nor how a command is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MAX_DEPTH = 10
"""Placeholders inside placeholders, the outermost one counted."""


class Placeholder(NamedTuple):
    """What stands between `${` and its `}`."""

    body: Template


Template = tuple["str | Placeholder", ...]
"""Plain texts and placeholders in their order."""


def parse(text: str) -> Template:
    """Cut a text. A `${` that is never closed is plain text, and braces inside a placeholder must pair up.

    Raises:
        ValueError: placeholders are nested deeper than `MAX_DEPTH`.
    """
    return _parse(text, _pairs(text), 0, len(text), MAX_DEPTH)


def _pairs(text: str) -> dict[int, int]:
    """For each opening brace that is closed, where it is closed."""
    opened: list[int] = []
    pairs: dict[int, int] = {}
    for at, character in enumerate(text):
        if character == "{" and (opened or text[at - 1 : at] == "$"):
            opened.append(at)
        elif character == "}" and opened:
            pairs[opened.pop()] = at
    return pairs


def _parse(text: str, pairs: dict[int, int], start: int, end: int, depth: int) -> Template:
    parts: list[str | Placeholder] = []
    plain = start
    at = text.find("${", start, end)
    while at >= 0:
        close = pairs.get(at + 1)
        if close is None:
            at = text.find("${", at + 2, end)
            continue
        if not depth:
            raise ValueError(f"placeholders are nested deeper than {MAX_DEPTH}")
        if plain < at:
            parts.append(text[plain:at])
        parts.append(Placeholder(_parse(text, pairs, at + 2, close, depth - 1)))
        plain = close + 1
        at = text.find("${", plain, end)
    if plain < end:
        parts.append(text[plain:end])
    return tuple(parts)


def is_command(body: Template) -> bool:
    """Whether the body of a placeholder was written as a command. What a variable holds never makes it one."""
    return bool(body) and isinstance(body[0], str) and body[0].lstrip().startswith("cmd:")


def variable(text: str) -> str:
    """The variable that the text of a placeholder names, `env:` before it or not."""
    return text.strip().removeprefix("env:").strip()


def names(template: Template) -> Iterator[str]:
    """The variables a template reads, as far as their names are written out."""
    for part in template:
        if isinstance(part, str):
            continue
        plain = [inner for inner in part.body if isinstance(inner, str)]
        if len(plain) == len(part.body) and not is_command(part.body):
            yield variable("".join(plain))
        yield from names(part.body)
