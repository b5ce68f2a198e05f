"""What an upstream's error says about the hop between the hub and it, and not about the request.

Pure. Such an error is never a client's: client and hub have a revision of their own, and the hub spelled the headers
(2026-07-28 basic/index §Error Codes; basic/versioning).
"""

from __future__ import annotations

from hub_gateway.errors import UpstreamDown, UpstreamError
from hub_gateway.upstreams.handshake import Agreement, supported_in
from hub_gateway.upstreams.transports.transport import Forgotten
from hub_gateway.wire.errors import HEADER_MISMATCH, UNSUPPORTED_PROTOCOL_VERSION, read_error
from hub_gateway.wire.revisions import Era


class HeadersRefused(UpstreamError):
    """It finds that the headers of a request do not say what the body says: the request has not run (2026-07-28
    transports/streamable-http §Server Validation)."""


class EraChanged(UpstreamDown):
    """The request has not run, and the next link speaks the other era: it is to be put in that one's words."""


def fault_of_hop(agreement: Agreement, error_raw: bytes) -> UpstreamError | None:
    """What is wrong with the hop, if the error says so; None for an error that is about the request.

    Before 2026-07-28 the codes are a server's own. One that speaks an older revision says by -32022 that it does not
    any more only where it names those it speaks, as it must.
    """
    error = read_error(error_raw)
    stateless = agreement.era is Era.STATELESS
    if error.code == UNSUPPORTED_PROTOCOL_VERSION and (stateless or supported_in(error)):
        return Forgotten(f"it does not speak {agreement.revision} any more")
    if error.code == HEADER_MISMATCH and stateless:
        return HeadersRefused(f"it finds headers and body of the request at odds: {error.message}")
    return None
