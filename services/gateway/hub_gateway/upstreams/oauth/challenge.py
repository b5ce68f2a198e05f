"""What a server says with a 401 or a 403: the `WWW-Authenticate` header, read.

Pure. Owns the grammar (RFC 9110 §11.6.1) and which parameters matter (RFC 6750 §3, RFC 9728 §5.1).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}|[^\s,"=]+))\s*(?:,|$)')
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+|\s*,|\s*$)")
_TOKEN68 = re.compile(r"\s*[A-Za-z0-9\-._~+/]+=*\s*(?:,|$)")
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
    found: dict[str, str] = {}
    scheme, rest = "", header or ""
    while rest.strip(" \t,"):
        rest = rest.lstrip(" \t,")
        if (parameter := _PARAMETER.match(rest)) is not None:
            name, quoted, plain = parameter.groups()
            if scheme == "bearer":
                found.setdefault(name.lower(), plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
            rest = rest[parameter.end() :]
        elif (begin := _SCHEME.match(rest)) is not None:
            scheme, rest = begin[1].lower(), rest[begin.end() :]
            if _PARAMETER.match(rest) is None and (credentials := _TOKEN68.match(rest)) is not None:
                rest = rest[credentials.end() :] if not _SCHEME.match(rest) or "=" in credentials[0] else rest
        else:
            break
    return Challenge(found.get("resource_metadata"), found.get("scope") or None, found.get("error"))
