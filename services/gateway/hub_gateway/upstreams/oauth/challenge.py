"""What a server says with a 401 or a 403: the `WWW-Authenticate` header, read.

Pure. Owns the grammar (RFC 9110 §11.6.1) and which parameters matter (RFC 6750 §3, RFC 9728 §5.1).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SEPARATORS = re.compile(r"[\s,]*")
_SCHEME = re.compile(_TOKEN)
# Plain values that are no tokens, such as URLs, are against the grammar and common.
_PARAMETER = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_ESCAPED = re.compile(r"\\(.)")


class Challenge(NamedTuple):
    """The Bearer challenge; all None where there is none."""

    resource_metadata: str | None = None
    """Where the protected resource metadata is."""
    scope: str | None = None
    """Scopes that the refused request needs, with spaces between them."""
    error: str | None = None

    @property
    def wants_scope(self) -> bool:
        """Whether the token is good and its scope is not (RFC 6750 §3.1)."""
        return self.error == "insufficient_scope"


def read(header: str | None) -> Challenge:
    """Read the Bearer challenge of a header, which may hold several challenges of several schemes."""
    text, at, scheme = header or "", 0, ""
    found: dict[str, str] = {}
    while True:
        at = _SEPARATORS.match(text, at).end()  # pyright: ignore[reportOptionalMemberAccess]  # it matches nothing too
        if (parameter := _PARAMETER.match(text, at)) is not None:
            name, quoted, plain = parameter.groups()
            if scheme == "bearer":
                found.setdefault(name.lower(), plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
            at = parameter.end()
        elif (begin := _SCHEME.match(text, at)) is not None:
            scheme, at = begin[0].lower(), begin.end()
        else:
            return Challenge(found.get("resource_metadata"), found.get("scope") or None, found.get("error"))
