"""Second links that do not come up hold up nobody twice."""

from __future__ import annotations

import sys

import pytest

from hub_gateway.upstreams import second_links
from hub_gateway.upstreams.second_links import SecondLinks
from hub_gateway.upstreams.supervisor import Ears, Supervisor
from hub_gateway.wire.revisions import Era
from tests.support.waiting import until
from tests.unit.gateway.upstreams.everything import CONTEXT, config

pytestmark = pytest.mark.anyio

SILENT = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if m["method"] == "server/discover":
        result = {"supportedVersions": ["2026-07-28"], "capabilities": {}}
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": result}), flush=True)
"""
WAIT_S = 20.0


async def test_a_server_that_does_not_answer_initialize_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_links, "AGAIN_S", 0.0)
    ears = Ears(lambda _name: None, lambda _name, _message: None)
    # Long enough for the child to start and be asked, and for the first call to wait until that has failed.
    first = Supervisor(config(command=sys.executable, args=("-c", SILENT), connect_timeout_s=2.0), CONTEXT, ears)
    seconds = SecondLinks(CONTEXT, ears, lambda _name, _session_id, _message: None)
    first.start()
    try:

        async def linked() -> bool:
            return first.connection is not None and first.connection.era is Era.STATELESS

        await until(linked, bool, WAIT_S, "the first link")
        assert await seconds.for_sessions(first) is first
        again = seconds.for_sessions(first)
        with pytest.raises(StopIteration) as done:
            again.send(None)  # it is tried anew, and not waited for
        assert done.value.value is first
        assert seconds.existing(first.name) is None
    finally:
        await seconds.close()
        await first.stop()
