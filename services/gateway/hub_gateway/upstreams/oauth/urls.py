"""The addresses that OAuth is about: where metadata is found, what a token is for, what may be fetched.

Pure. Sources: RFC 9728 §3.1, RFC 8414 §3.1 and §5, RFC 8707 §2, 2026-07-28 basic/authorization/
authorization-server-discovery.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_RESOURCE, _SERVER, _OPENID = "oauth-protected-resource", "oauth-authorization-server", "openid-configuration"


def resource_metadata_urls(named: str | None, url: str) -> list[str]:
    """Where a server's protected resource metadata may be, in order; `named` is what its challenge said."""
    parts = urlsplit(url)
    found = [named] if named else []
    if parts.path not in ("", "/"):
        found.append(f"{origin(url)}/.well-known/{_RESOURCE}{parts.path}")
    found.append(f"{origin(url)}/.well-known/{_RESOURCE}")
    return list(dict.fromkeys(found))


def server_metadata_urls(issuer: str) -> list[str]:
    """Where an authorization server's metadata may be, in order."""
    base, path = origin(issuer), urlsplit(issuer).path.rstrip("/")
    if not path:
        return [f"{base}/.well-known/{_SERVER}", f"{base}/.well-known/{_OPENID}"]
    return [
        f"{base}/.well-known/{_SERVER}{path}",
        f"{base}/.well-known/{_OPENID}{path}",
        f"{base}{path}/.well-known/{_OPENID}",
    ]


def origin(url: str) -> str:
    """Scheme, host and port as they are written, without credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def canonical(url: str) -> str:
    """The resource indicator of a server: no fragment, and neither credentials nor a query, which may hold secrets."""
    parts = urlsplit(url)
    authority = parts.netloc.rpartition("@")[2].lower()
    return urlunsplit(SplitResult(parts.scheme.lower(), authority, parts.path, "", ""))


def covers(resource: str, url: str) -> bool:
    """Whether a token for `resource` is meant for the server at `url`: the same place, or one above it."""
    try:
        above, below = urlsplit(resource), urlsplit(url)
        same = _place(above) == _place(below)
    except ValueError:
        return False
    return same and f"{below.path.rstrip('/')}/".startswith(f"{above.path.rstrip('/')}/")


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_document_url(url: str) -> bool:
    """Whether a URL can be a client id (2026-07-28 client-registration §Implementation Requirements)."""
    parts = urlsplit(url)
    return parts.scheme == "https" and bool(parts.hostname) and parts.path not in ("", "/") and not parts.fragment


def with_query(url: str, parameters: dict[str, str]) -> str:
    """Add parameters to what query the URL has."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(parameters, quote_via=quote))))
    return urlunsplit(parts._replace(query=query, fragment=""))


def united(*scopes: str | None) -> str | None:
    """The scopes of all texts, each once, in order; None where there is none."""
    return " ".join(dict.fromkeys(word for scope in scopes if scope for word in scope.split())) or None


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme.lower(), parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme.lower())
