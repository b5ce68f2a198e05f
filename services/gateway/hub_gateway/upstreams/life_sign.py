"""Whether an upstream lives: it answers the cheapest request of its era."""

from __future__ import annotations

from hub_gateway.errors import UpstreamBusy, UpstreamError, UpstreamTimeout, UpstreamUnauthorized
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.handshake import HUB
from hub_gateway.upstreams.hop import HeadersRefused
from hub_gateway.wire.revisions import Era

_WITHIN_S = 10.0


async def life_sign(connection: Connection) -> UpstreamError | None:
    """Ask for a sign of life and return what is wrong; an error of the upstream's own is a sign, but not that it does
    not speak the link's revision any more.

    Raises:
        UpstreamUnauthorized: it lives, but wants credentials.
    """
    method = "ping" if connection.era is Era.HANDSHAKE else "server/discover"
    try:
        await connection.request(method, {}, caller=HUB, timeout_s=_WITHIN_S)
    except UpstreamUnauthorized:
        raise
    except UpstreamTimeout:
        return UpstreamTimeout(f"it does not answer {method}")
    except (UpstreamBusy, HeadersRefused):
        return None
    except UpstreamError as fault:
        return fault
    return None
