"""What a stateless client lists is the same to the byte: whatever was called, on any gateway, over reconnects."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, gateway
from tests.unit.gateway.routing.menu import ANALYZE, CALL, DESCRIBE, SEARCH, Menu, menu

pytestmark = pytest.mark.anyio
FILTERING: dict[str, Any] = {"enabled": True, "mode": "prompt-based"}
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    (ANALYZE, {"prompt": "send an email to somebody"}),
    (SEARCH, {"query": "weather"}),
    (DESCRIBE, {"names": ["mail__send_email"]}),
    (CALL, {"name": "memory__recall", "arguments": {"person": "x"}}),
    ("mail__list_inbox", {}),
    ("nobody__knows", {}),
)


@pytest.fixture
async def built(tmp_path: Path) -> AsyncGenerator[Menu]:
    (tmp_path / "one").mkdir()
    async with menu(
        tmp_path / "one", filtering=FILTERING, views={"all": {"toolFiltering": {"enabled": False}}}
    ) as made:
        yield made


async def lists(house: House) -> list[Any]:
    """Every list of every view, less the id of the request."""
    found: list[Any] = []
    for url in (house.url, f"{house.url}/v/all"):
        for method in LISTS:
            body = (await RawClient(url).request(method)).body
            found.append(body.partition(b'"result":')[2])
    return found


async def test_lists_are_the_same_bytes_whatever_was_called(built: Menu, tmp_path: Path) -> None:
    dice = random.Random(4)
    urls = {name: {"url": server.url} for name, server in built.servers.items()}
    (tmp_path / "two").mkdir()
    views = {"all": {"toolFiltering": {"enabled": False}}}
    async with gateway(urls, tmp_path / "two", filtering=FILTERING, views=views) as other:
        before = await lists(built.house)
        assert all(before)
        assert await lists(other) == before
        for _ in range(12):
            house = dice.choice((built.house, other))
            name, arguments = dice.choice(CALLS)
            if dice.random() < 0.5:
                await RawClient(house.url).call(name, arguments)
            else:
                async with raw_session(house.url) as client:
                    await client.call(name, arguments)
            assert await lists(house) == before
        await other.gateway.fleet.stop("mail")
        await other.settled()
        assert await lists(other) != before
        await other.gateway.fleet.start("mail")
        await other.ready(*built.servers)
        assert await lists(other) == await lists(built.house) == before
    async with gateway(urls, tmp_path / "two", filtering=FILTERING, views=views) as again:
        assert await lists(again) == before
