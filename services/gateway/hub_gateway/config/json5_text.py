"""JSON5 text to plain values, with the place of what does not parse.

JSON5 rather than JSON so that a config may hold comments and trailing commas (https://spec.json5.org). Knows no key.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import json5

from hub_gateway.config.faults import member

_JSON5_PLACE = re.compile(r"<string>:(\d+) (.*?)(?: at column (\d+))?", re.DOTALL)


class Parsed(NamedTuple):
    """The value, and the keys that stand twice in one object (the last one counts)."""

    value: Any
    repeated: tuple[str, ...]


def decode(text: str) -> Parsed:
    """Decode one text.

    Strict JSON goes through the standard library, which is some hundred times faster than the JSON5 parser.

    Raises:
        ValueError: the text is no JSON5; the message is "line 3, column 7: ..." and quotes at most one character.
    """
    repeated: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            seen: set[str] = set()
            repeated.extend(k for k, _ in pairs if k in seen or seen.add(k))
        return result

    try:
        value = json.loads(text, object_pairs_hook=members)
    except ValueError:
        repeated.clear()
        value = _decode_json5(text, members)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return Parsed(value, tuple(repeated))


def _decode_json5(text: str, members: Any) -> Any:
    if not text.strip():
        raise ValueError("the file is empty")
    try:
        return json5.loads(text, object_pairs_hook=members)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError as error:
        raise ValueError(_told(str(error))) from None


def _told(message: str) -> str:
    found = _JSON5_PLACE.fullmatch(message)
    if found is None:
        return message
    line, what, column = found.groups()
    place = f"line {line}, column {column}" if column else f"line {line}"
    return f"{place}: {what[:1].lower()}{what[1:]}"


_LINE_END = re.compile(r"\r\n|[\n\r]")
"""What editors count; a comment also ends at U+2028 and U+2029 (https://spec.json5.org §7.2)."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n\r\u2028\u2029]*|/\*.*?\*/)
    |(?P<other>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}\[\]:,]|[^\s{}\[\]:,"'/]+|/)""",
    re.DOTALL | re.VERBOSE,
)


def places(text: str) -> dict[str, int]:
    """The line of every value of a text that `decode` takes, by its path (`a.b[0]`); that of a member is its key's."""
    tokens: list[tuple[str, int]] = []
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "other":
            tokens.append((match[0], line))
        line += len(_LINE_END.findall(match[0]))
    found: dict[str, int] = {}
    if tokens:
        _place(tokens, 0, "", found)
    return found


def _place(tokens: list[tuple[str, int]], at: int, path: str, found: dict[str, int]) -> int:
    """Note the value that begins at a token, and return where the next token is."""
    sign, line = tokens[at]
    found.setdefault(path, line)
    if sign not in ("{", "["):
        return at + 1
    at, number = at + 1, 0
    while tokens[at][0] not in ("}", "]"):
        if sign == "[":
            at = _place(tokens, at, f"{path}[{number}]", found)
        else:
            name, line = tokens[at]
            key = str(json5.loads(name)) if name[0] in "\"'" else name
            own = member(path, key)
            if own in found:  # the key stands twice: the last one counts, with all below it and nothing else
                for each in [each for each in found if each.startswith((f"{own}.", f"{own}["))]:
                    del found[each]
            found[own] = line
            at = _place(tokens, at + 2, own, found)
        number += 1
        at += tokens[at][0] == ","
    return at + 1
