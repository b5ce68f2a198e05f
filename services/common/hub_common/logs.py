"""Logging of a process: one stream (stderr), one of two styles, and no secret in it.

Owns the root logger's output and the set of secret strings. Does not know where the secrets come from: whoever resolves
one calls `add_secret`.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from opentelemetry import trace

REDACTED = "[redacted]"

SHORTEST_SECRET = 4
"""Shorter strings are not redacted: they would blot out half of every line and guard nothing."""

_NOISY = (
    "anthropic",
    "asyncio",
    "google_genai",
    "grpc",
    "hpack",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "openai",
    "mcp",
    "urllib3",
    "uvicorn.access",
    "watchfiles",
)
# Upstreams choose some of the text that is logged: their escape sequences must not reach a terminal.
_CONTROL = {code: "?" for code in [*range(0x20), *range(0x7F, 0xA0)] if chr(code) not in "\n\t"}


class _Secrets:
    """Known secret strings, each also in the forms it takes when it is quoted into JSON, Python or a URL."""

    def __init__(self) -> None:
        self._forms: dict[str, set[str]] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        if len(value) < SHORTEST_SECRET:
            return
        if value in self._forms:
            return
        forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
        encoded = value.encode(errors="replace")  # what the environment holds need not be text
        forms |= {quote(encoded), quote(encoded, safe="")}
        forms.add(encoded.decode("latin-1"))  # as a header is read by whoever repeats it
        self._forms[value] = forms
        self._compile()

    def remove(self, value: str) -> None:
        if self._forms.pop(value, None) is not None:
            self._compile()

    def _compile(self) -> None:
        forms = {form for each in self._forms.values() for form in each}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def redact(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text) if self._pattern is not None else text


_secrets = _Secrets()


def add_secret(value: str) -> None:
    """Never let `value` appear in the log from now on. Strings under `SHORTEST_SECRET` characters are left alone."""
    _secrets.add(value)


def forget_secret(value: str) -> None:
    """`value` is no secret any more: for those that are replaced again and again, such as access tokens."""
    _secrets.remove(value)


def redacted(text: str) -> str:
    """Return `text` with every known secret replaced, for texts that go elsewhere than into the log."""
    return _secrets.redact(text)


def configure(level: str, style: Literal["console", "json"], redact: Iterable[str] = ()) -> None:
    """Send the root logger's records of `level` and above to stderr. A second call replaces the first.

    Console lines are for people. A JSON line has `time` (RFC 3339, UTC), `level`, `logger`, `message`, and `trace_id`
    and `exception` when there is one. Libraries that chatter are heard from WARNING on.

    Raises:
        ValueError: no such level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no such log level: {level}")
    for value in redact:
        add_secret(value)
    output = _Output(sys.stderr)
    output.setFormatter(_JsonLines() if style == "json" else _ConsoleLines())
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _Output)]:
        root.removeHandler(earlier)
    root.addHandler(output)
    root.setLevel(number)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(True)


class _Output(logging.StreamHandler[Any]):
    """Marks the handler that `configure` may replace; a test runner's own stay."""


class _ConsoleLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return _encodable(_secrets.redact(super().format(record)).translate(_CONTROL))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _secrets.redact(record.getMessage()),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
        if record.exc_info:
            line["exception"] = _secrets.redact(self.formatException(record.exc_info))
        return msgspec.json.encode({name: _encodable(text) for name, text in line.items()}).decode()


def _encodable(text: str) -> str:
    """The text, where it has half a surrogate pair with an escape for it: names of files may hold any byte."""
    return text.encode(errors="backslashreplace").decode()
