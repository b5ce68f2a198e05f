"""Of what a process wrote to stderr before it ended, the part that tells a person why.

Most programs say it last. npm and Node.js end with something else: where a log is, and which version they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LINES = 40
"""Lines that are kept: Node.js writes a stack of ten calls, and what belongs to the error, after its message."""

_NPM = re.compile(r"npm (?:error|ERR!)\s*")
_NPM_ASIDE = re.compile(r"\d*\s*$|A complete log of this run|.*\d{4}-\d\d-\d\dT.*-debug-\d+\.log$")
_NODE_END = re.compile(r"Node\.js v\d")
_NODE_ERROR = re.compile(r"(?:Uncaught )?[A-Za-z_.]*(?:Error|Exception|Rejection)\b.*:")


def last_sentence(lines: Sequence[str]) -> str:
    """The sentence in these lines, the last ones that were written; "" where they say nothing."""
    said = [line for line in lines if line.strip()]
    if not said:
        return ""
    if _NPM.match(said[-1]):
        return _npm(said)
    if _NODE_END.match(said[-1]):
        errors = [line.strip() for line in said if _NODE_ERROR.match(line)]
        if errors:
            return errors[-1]
    return _with_its_beginning(said)


def _npm(said: Sequence[str]) -> str:
    """What npm says of its fault, from the first line on, without what is the same of all faults."""
    words = [line[found.end() :].strip() for line in said if (found := _NPM.match(line))]
    return " ".join(["npm error", *(each for each in words if not _NPM_ASIDE.match(each))])


def _with_its_beginning(said: Sequence[str]) -> str:
    """The last line, with those before it that it goes on from."""
    words: list[str] = []
    for line in reversed(said):
        words.insert(0, line.strip())
        if not line[0].isspace():
            break
    return " ".join(words)
