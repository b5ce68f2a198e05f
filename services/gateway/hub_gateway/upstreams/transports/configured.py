"""The headers of a server's entry in the config, as they go with every request.

Pure. Owns which of them are the protocol's to set.
"""

from __future__ import annotations

from hub_gateway.upstreams.transports.address import encode_headers
from hub_gateway.wire import headers

_PROTOCOL_HEADERS = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept",
        "accept-encoding",
        "content-type",
        headers.SESSION_ID,
        headers.PROTOCOL_VERSION,
        headers.METHOD,
        headers.NAME,
        headers.LAST_EVENT_ID,
    }
)


def configured_headers(given: dict[str, str]) -> bytes:
    """Encode the headers of the config, without those that are the protocol's own to set.

    Raises:
        UpstreamDown: a name or a value holds what HTTP does not allow.
    """
    kept = {key: value for key, value in given.items() if key.lower() not in _PROTOCOL_HEADERS}
    if not any(key.lower() == "user-agent" for key in kept):
        kept["User-Agent"] = "mcp-hub"
    # Without a word about codings a server may choose any (RFC 9110 §12.5.3).
    return encode_headers({**kept, "Accept-Encoding": "identity"})
