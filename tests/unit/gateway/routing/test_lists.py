"""What a list is asked with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clients import RawClient, raw_session
from tests.support.gateway import gateway

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("method", ("tools/list", "resources/templates/list"))
async def test_a_cursor_that_is_no_text_is_refused(tmp_path: Path, method: str) -> None:
    async with gateway({}, tmp_path) as house, raw_session(house.url) as session:
        for client in (session, RawClient(house.url)):
            for cursor in (5, {}, False, "", "x"):
                answer = (await client.request(method, {"cursor": cursor})).json()
                assert answer["error"]["code"] == -32602, cursor
            assert "result" in (await client.request(method, {"cursor": None})).json()
