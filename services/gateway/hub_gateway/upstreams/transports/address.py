"""Where an HTTP upstream lives, and the request head every exchange with it begins with.

Pure. Owns the spelling of URLs and headers on the wire; knows no MCP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from hub_gateway.errors import UpstreamDown

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSAFE_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNSAFE_TARGET = re.compile(r"[^\x21-\x7e]")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """An http or https URL, cut into what a socket and a request line need."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port, for people and for comparing."""
        return f"{self.scheme}://{self.authority}"

    def joined(self, reference: str) -> Address:
        """The address that a `Location` header or an `endpoint` event means, seen from this one.

        Raises:
            UpstreamDown: it is no http or https URL.
        """
        try:
            url = urljoin(self.origin + self.target, reference)
        except ValueError as fault:
            raise UpstreamDown(f"the url is not valid: {fault}") from fault
        return parse(url)


def parse(url: str) -> Address:
    """Cut a URL.

    Raises:
        UpstreamDown: it is no http or https URL.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").encode("idna").decode()
    except ValueError as fault:
        raise UpstreamDown(f"the url is not valid: {fault}") from fault
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise UpstreamDown("the url is not valid: it must start with http:// or https:// and name a host")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = _UNSAFE_TARGET.sub(lambda hit: "".join(f"%{byte:02X}" for byte in hit[0].encode()), target)
    return Address(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], target)


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Encode headers, each line ended.

    Raises:
        UpstreamDown: a name or a value holds what HTTP does not allow; the value is not told.
    """
    lines: list[str] = []
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or _UNSAFE_VALUE.search(value):
            raise UpstreamDown(f"the header {name!r} holds characters that HTTP does not allow")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode()


def request_head(verb: str, address: Address, headers: bytes) -> bytes:
    """Encode a request line, Host, and headers that are already encoded; neither body length nor the empty line."""
    return f"{verb} {address.target} HTTP/1.1\r\nHost: {address.authority}\r\n".encode() + headers
