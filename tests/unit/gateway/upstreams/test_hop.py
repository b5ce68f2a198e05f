"""Which errors of an upstream are about the hop, and which are for the client."""

from __future__ import annotations

import pytest

from hub_gateway.errors import UpstreamError
from hub_gateway.upstreams.handshake import Agreement
from hub_gateway.upstreams.hop import HeadersRefused, fault_of_hop
from hub_gateway.upstreams.transports.transport import Forgotten
from hub_gateway.wire.errors import error_object
from hub_gateway.wire.revisions import era_of

STATELESS, HANDSHAKE = "2026-07-28", "2025-11-25"
SUPPORTED = {"supported": ["2025-06-18"]}


@pytest.mark.parametrize(
    ("revision", "code", "data", "kind"),
    [
        (STATELESS, -32022, SUPPORTED, Forgotten),
        (STATELESS, -32022, None, Forgotten),
        (HANDSHAKE, -32022, SUPPORTED, Forgotten),
        (HANDSHAKE, -32022, {"mine": 1}, None),
        (STATELESS, -32020, None, HeadersRefused),
        (HANDSHAKE, -32020, None, None),
        (STATELESS, -32021, {"requiredCapabilities": {}}, None),
        (STATELESS, -32602, SUPPORTED, None),
    ],
)
def test_the_code_and_the_era_decide(revision: str, code: int, data: object, kind: type[UpstreamError] | None) -> None:
    agreement = Agreement(era_of(revision), revision, {}, b"{}", b"")
    fault = fault_of_hop(agreement, error_object(code, "no", data))
    assert (fault and type(fault)) == kind
