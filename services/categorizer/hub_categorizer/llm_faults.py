"""Why an LLM gave no usable answer: the tree of its failures, and how an HTTP answer becomes one of them.

Pure. Knows no provider; each provider's module says which of these its SDK means.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager

MESSAGE_CHARS = 200
"""A provider's own words are cut to this."""

TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504, 529})
"""What may be another answer next time. 529 is Anthropic's "overloaded"."""

KEY_STATUS = frozenset({401, 403})
"""What says that the key is not taken."""

QUESTION_STATUS = frozenset({400, 413, 422})
"""What says that this question is not taken, whenever it is asked."""


class LlmFault(Exception):
    """The LLM gave no usable answer. The text says why and holds no secret. `may_pass` says that the same question may
    be answered some other time."""

    may_pass = False


class LlmTransient(LlmFault):
    """It may answer next time. `retry_after_s` is the provider's own wish, None where it has none; `status` the HTTP
    status, None where no HTTP answer came."""

    may_pass = True

    def __init__(self, message: str, retry_after_s: float | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status


class LlmRefused(LlmFault):
    """It will refuse this question, or this key, until somebody does something about it. `of_key` says that it is the
    key; `status` is the HTTP status, None where no HTTP answer came."""

    def __init__(self, message: str, status: int | None = None, *, of_key: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.of_key = of_key
        self.may_pass = of_key or status not in QUESTION_STATUS


class LlmGarbage(LlmFault):
    """It answered, but not what was asked."""


class LlmPaused(LlmFault):
    """It has failed so often that it is left alone for now; it was not asked."""

    may_pass = True


class ProviderAbsent(Exception):
    """The provider's package is not installed. The text says how to install it."""


@contextmanager
def what_is_read() -> Generator[None]:
    """Turns whatever else reading an answer raises into a failure: an SDK takes every answer for one of the API's.

    Raises:
        LlmFault: as it was, or LlmGarbage.
    """
    try:
        yield
    except LlmFault:
        raise
    except Exception as fault:
        raise LlmGarbage(f"unreadable answer ({type(fault).__name__})") from None


def of_status(
    status: int | None, words: str, *, retry_after_s: float | None = None, of_key: bool = False, for_good: bool = False
) -> LlmTransient | LlmRefused:
    """The failure an HTTP status means. `for_good` overrules one that is transient as a rule."""
    if status in TRANSIENT_STATUS and not for_good:
        return LlmTransient(words, retry_after_s, status)
    return LlmRefused(words, status, of_key=of_key or status in KEY_STATUS)


def told(status: int | None, kind: str | None, message: object, secret: str) -> str:
    """A provider's refusal in one bounded line, without the key it may repeat."""
    detail = " ".join(str(message or "").replace(secret, "[redacted]").split())[:MESSAGE_CHARS]
    return " ".join(str(part) for part in (status, kind, detail) if part)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait a provider asks for, in seconds (RFC 9110, 10.2.3; the dated form is not read)."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            wished_s = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if math.isfinite(wished_s) and wished_s >= 0:
            return wished_s
    return None
