"""How list changes of a stateless upstream are learnt: one `subscriptions/listen` for each connection.

Owns opening that stream again when it ends (2026-07-28 basic/patterns/subscriptions). What comes on it goes the way of
every notification that belongs to no call.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import msgspec
from msgspec import Raw

from hub_gateway.errors import UpstreamError
from hub_gateway.upstreams.backoff import Backoff
from hub_gateway.upstreams.connection import Connection
from hub_gateway.upstreams.handshake import ON_BEHALF
from hub_gateway.wire.errors import INVALID_PARAMS, METHOD_NOT_FOUND, read_error

_log = logging.getLogger(__name__)

_STEADY_S = 5.0
_FILTERS = {"tools": "toolsListChanged", "prompts": "promptsListChanged", "resources": "resourcesListChanged"}


def wanted(capabilities: dict[str, Any]) -> dict[str, bool]:
    """The notification filter that fits the upstream's capabilities; empty when it announces no list changes."""
    return {name: True for capability, name in _FILTERS.items() if tells_of(capabilities, capability)}


def tells_of(capabilities: dict[str, Any], capability: str) -> bool:
    """Whether the upstream announces that it tells of changes to the lists of a capability."""
    settings = capabilities.get(capability)
    return isinstance(settings, dict) and settings.get("listChanged") is True  # pyright: ignore[reportUnknownMemberType]


async def listen(connection: Connection) -> None:
    """Hold the stream as long as the connection lives; each opening is acknowledged by a notification of its own.

    Returns when the upstream has nothing to tell, or does not know what is asked; any other error of it may pass.
    """
    names = wanted(connection.capabilities)
    if not names:
        return
    loop = asyncio.get_running_loop()
    pause = Backoff(1.0, 30.0, random.random)
    params = {"notifications": Raw(msgspec.json.encode(names))}
    while connection.gone is None:
        opened_s = loop.time()
        try:
            reply = await connection.request("subscriptions/listen", params, caller=ON_BEHALF, timeout_s=None)
        except UpstreamError as fault:
            _log.debug("%s: the subscription broke: %s", connection.name, fault)
        else:
            if reply.error_raw:
                error = read_error(reply.error_raw)
                _log.info("%s: no list changes: %s", connection.name, error.message)
                if error.code in (METHOD_NOT_FOUND, INVALID_PARAMS):
                    return
        if loop.time() - opened_s >= _STEADY_S:
            pause.reset()
        await asyncio.sleep(pause.next_s())
