"""Which texts of a server's entry are secrets: by the name they stand under, and by the place they stand in.

Pure. A secret that a person wrote out is one too, not only what a placeholder stands for. Told too many rather than too
few, but no harmless word by itself: what is secret is blotted out of every log line and every sentence about a server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

_WORDS = (
    r"(?:KEY|TOKEN|SECRET|PASS|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|AUTH|AUTHORIZATION|COOKIE|SIGNATURE"
    r"|(?<![A-Z])PAT|(?<![A-Z])SIG)"
)
_NAME = re.compile(_WORDS + r"(?![A-Z])|^input:", re.IGNORECASE)
_OPTION = re.compile(rf"-{{0,2}}[\w.-]*{_WORDS}", re.IGNORECASE)
_ASSIGNED = re.compile(rf"{_OPTION.pattern}\s*[=:]\s*(.+)", re.IGNORECASE | re.DOTALL)
_USER = re.compile(r"://[^/?#\s@:]*:([^/?#\s@]+)@")
_QUERY = re.compile(r"[?&]([^=&#\s]+)=([^&#\s]+)")


def is_secret_name(name: str) -> bool:
    """Whether what a variable, header or parameter of this name holds is taken for a secret."""
    return _NAME.search(name) is not None


def of_named(values: Mapping[str, str]) -> Iterator[str]:
    """The secrets among values with a name: `env`, `headers`."""
    for name, value in values.items():
        if is_secret_name(name):
            yield from _with_last_word(value)
        yield from of_url(value)


def of_arguments(arguments: Sequence[str]) -> Iterator[str]:
    """The secrets on a command line: `--api-key=…`, `--token …`, `-e API_KEY=…`, `-H "Authorization: Bearer …"`."""
    for place, argument in enumerate(arguments):
        if (assigned := _ASSIGNED.fullmatch(argument)) is not None:
            yield from _with_last_word(assigned[1])
        elif argument.startswith("-") and _OPTION.fullmatch(argument) and place + 1 < len(arguments):
            following = arguments[place + 1]
            if not following.startswith("-"):
                yield following
        yield from of_url(argument)


def of_url(text: str, written: str | None = None) -> Iterator[str]:
    """The secrets of the URLs in a text: a password, and parameters with the name of a secret.

    `written` is the URL as it stands in the config; every parameter that holds a placeholder there is a secret.
    """
    for hit in _USER.finditer(text):
        yield from _decoded(hit[1])
    replaced = {name for name, value in _QUERY.findall(written or "") if "$" in value}
    for name, value in _QUERY.findall(text):
        if name in replaced or is_secret_name(name):
            yield from _decoded(value)


def _with_last_word(value: str) -> Iterator[str]:
    yield value
    yield value.rpartition(" ")[2]  # "Bearer abc": the second word stands alone elsewhere


def _decoded(value: str) -> Iterator[str]:
    yield value
    yield unquote(value)
