"""What becomes of the client's lines before any hub has them."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from hub_cli.connect_bridge import Bridge
from hub_cli.connect_http import Endpoint
from hub_cli.connect_stdio import Stdout
from tests.support.hub import free_port
from tests.support.inbox import WAIT_S
from tests.support.stdio_client import enveloped

pytestmark = pytest.mark.anyio
PATIENCE_S = 3600.0


async def test_a_request_that_is_cancelled_before_it_is_sent_holds_up_no_end() -> None:
    read_end, write_end = os.pipe()
    stdout = Stdout(write_end, lambda: None)
    bridge = Bridge(Endpoint(f"http://127.0.0.1:{free_port()}/mcp", {}), stdout, PATIENCE_S, asyncio.Event())
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": enveloped({})}
    gone = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    for message in (asked, gone):  # in one turn of the loop, as when both stand in one chunk of the input
        bridge.take(json.dumps(message).encode())
    async with asyncio.timeout(WAIT_S):
        await bridge.finish(PATIENCE_S, asyncio.Event(), PATIENCE_S)
    stdout.close(WAIT_S)
    os.close(write_end)
    assert os.read(read_end, 1) == b""
    os.close(read_end)
