"""Bringing home every page of every list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.errors import UpstreamDown
from hub_gateway.upstreams.refresh import Refresh
from tests.support import processes, raw_messages
from tests.unit.gateway.upstreams.everything import config, linked, serving
from tests.unit.gateway.upstreams.scripted import Request, Scripted, Write, answer, scripted

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("page", [0, 3])
@pytest.mark.parametrize("era", ["stateless", "handshake"])
async def test_every_page_of_every_kind_comes_home_as_raw_bytes_in_order(page: int, era: str) -> None:
    with serving("http", "--tools", "20", "--page", str(page), "--era", era, module=processes.RAW) as server:
        async with linked(server) as link:
            refresh = Refresh(link.connection, Offering(), 10)
            await refresh.run()
    assert list(refresh.offering.tools) == raw_messages.definitions(raw_messages.Offer(20, 0, era))
    assert len(refresh.offering.prompts) == len(refresh.offering.resources) == len(refresh.offering.templates) == 7
    assert refresh.faults == {}


async def test_pages_that_go_round_in_a_circle_are_a_fault() -> None:
    with serving("http", "--tools", "20", "--page", "3", "--endless", module=processes.RAW) as server:
        async with linked(server) as link:
            refresh = Refresh(link.connection, Offering(tools=(b"{}",)), 10)
            await refresh.run([EntryKind.TOOL])
    assert refresh.offering.tools == (b"{}",)
    assert "circle" in refresh.faults[EntryKind.TOOL]


async def test_of_a_list_that_fails_on_a_later_page_what_came_is_offered_where_there_was_nothing() -> None:
    cursors: list[str | None] = []

    async def play(request: Request, write: Write) -> bool:
        message = msgspec.json.decode(request.body)
        if message["method"] == "server/discover":
            member = b'"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}'
        else:
            cursors.append(message["params"].get("cursor"))
            failed = b'"error":{"code":-32603,"message":"out of order"}'
            member = failed if cursors[-1] else b'"result":{"tools":[{"name":"a"}],"nextCursor":"2"}'
        await write(answer(b'{"jsonrpc":"2.0","id":%d,%b}' % (message["id"], member)))
        return True

    async with scripted(play) as server, linked(config(url=server.url)) as link:
        refresh = Refresh(link.connection, Offering(), 10)
        await refresh.run([EntryKind.TOOL])
        assert refresh.offering.tools == (b'{"name":"a"}',)
        assert "out of order" in refresh.faults[EntryKind.TOOL]
        assert cursors == [None, "2"]


Lists = Callable[[str], bytes]


def _server(lists: Lists):
    async def play(request: Request, write: Write) -> bool:
        message = msgspec.json.decode(request.body)
        if message["method"] == "server/discover":
            member = b'"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"resources":{}}}'
        else:
            member = lists(message["method"])
        if member == b"cut":
            return False
        await write(answer(b'{"jsonrpc":"2.0","id":%d,%b}' % (message["id"], member)))
        return True

    return scripted(play)


def _methods(server: Scripted) -> list[str]:
    return [request.headers["mcp-method"] for request in server.requests[1:]]


async def test_only_kinds_the_capabilities_name_are_asked_for() -> None:
    async with _server(lambda method: b'"result":{"tools":[],"resources":[],"resourceTemplates":[]}') as server:
        async with linked(config(url=server.url)) as link:
            await Refresh(link.connection, Offering(prompts=(b"{}",)), 10).run()
        assert _methods(server) == ["tools/list", "resources/list", "resources/templates/list"]


async def test_a_list_the_upstream_does_not_know_is_empty() -> None:
    unknown = b'"error":{"code":-32601,"message":"no"}'
    lists = {"resources/list": b'"result":{"resources":[{"uri":"a:b"}]}', "tools/list": b'"result":{"tools":[]}'}
    async with _server(lambda method: lists.get(method, unknown)) as server, linked(config(url=server.url)) as link:
        refresh = Refresh(link.connection, Offering(templates=(b"{}",)), 10)
        await refresh.run()
    assert refresh.offering == Offering(resources=(b'{"uri":"a:b"}',))
    assert refresh.faults == {}


@pytest.mark.parametrize(
    "fault",
    [b'"error":{"code":-32603,"message":"database is down"}', b'"result":{"tools":7}', b'"result":[]', b"cut"],
)
async def test_a_list_that_fails_keeps_what_it_held(fault: bytes) -> None:
    # Where an idle socket is closed a list is asked for once more, so it takes two to fail.
    answers = [fault] * (2 if fault == b"cut" else 1) + [b'"result":{"tools":[{"name":"b"}]}']
    async with _server(lambda method: answers.pop(0)) as server, linked(config(url=server.url)) as link:
        refresh = Refresh(link.connection, Offering(tools=(b'{"name":"a"}',)), 10)
        await refresh.run([EntryKind.TOOL])
        assert refresh.offering.tools == (b'{"name":"a"}',)
        assert EntryKind.TOOL in refresh.faults
        await refresh.run([EntryKind.TOOL])
        assert refresh.offering.tools == (b'{"name":"b"}',)
        assert refresh.faults == {}


async def test_an_unchanged_list_leaves_the_offering_as_it_is() -> None:
    listed = b'"result":{"tools":[{"name":"a"}]}'
    async with _server(lambda method: listed) as server, linked(config(url=server.url)) as link:
        refresh = Refresh(link.connection, Offering(), 10)
        await refresh.run([EntryKind.TOOL])
        before = refresh.offering
        await refresh.run([EntryKind.TOOL])
        assert refresh.offering is before


async def test_a_refresh_goes_on_where_the_one_that_it_joined_is_cancelled() -> None:
    listed: list[str] = []

    def lists(method: str) -> bytes:
        listed.append(method)
        return b'"result":{"tools":[{"name":"v%d"}],"resources":[]}' % len(listed)

    async with _server(lists) as server, linked(config(url=server.url)) as link:
        refresh = Refresh(link.connection, Offering(), 10)
        first = asyncio.ensure_future(refresh.run([EntryKind.TOOL, EntryKind.RESOURCE]))
        await asyncio.sleep(0)
        joined = asyncio.ensure_future(refresh.run([EntryKind.TOOL]))
        await asyncio.sleep(0)
        first.cancel()
        await joined
        assert first.cancelled()
        assert listed[-2:] == ["tools/list", "resources/list"]
        assert refresh.offering.tools == (b'{"name":"v%d"}' % (len(listed) - 1),)


async def test_a_refresh_while_one_runs_joins_it_and_lists_once_more() -> None:
    count = 0

    def lists(method: str) -> bytes:
        nonlocal count
        count += 1
        return b'"result":{"tools":[{"name":"v%d"}]}' % count

    async with _server(lists) as server, linked(config(url=server.url)) as link:
        refresh = Refresh(link.connection, Offering(), 10)
        first = asyncio.ensure_future(refresh.run([EntryKind.TOOL]))
        await asyncio.sleep(0)
        await asyncio.gather(first, *(refresh.run([EntryKind.TOOL]) for _ in range(10)))
    assert count == 2
    assert refresh.offering.tools == (b'{"name":"v2"}',)


@pytest.mark.parametrize(
    ("said", "is_stale"),
    [
        ('"ttlMs":0', True),
        ('"ttlMs":-5', True),
        ('"ttlMs":0.5', True),
        ('"ttlMs":60000', False),
        ('"ttlMs":"soon"', False),
        ('"ttlMs":null', False),
        ('"x":1', False),
    ],
)
async def test_a_list_is_stale_when_its_hint_has_run_out(said: str, is_stale: bool) -> None:
    listed = f'"result":{{{said},"tools":[],"resources":[],"resourceTemplates":[]}}'.encode()
    async with _server(lambda method: listed) as server, linked(config(url=server.url)) as link:
        refresh = Refresh(link.connection, Offering(), 10)
        assert refresh.stale(0) == []
        await refresh.run()
        await asyncio.sleep(0.01)
        expected = [EntryKind.TOOL, EntryKind.RESOURCE, EntryKind.TEMPLATE] if is_stale else []
        assert refresh.stale(0) == expected
        assert refresh.stale(10) == []


async def test_the_first_page_that_is_stale_makes_the_list_so() -> None:
    pages = [b'"result":{"tools":[],"ttlMs":0,"nextCursor":"2"}', b'"result":{"tools":[],"ttlMs":60000}']
    async with _server(lambda method: pages.pop(0)) as server, linked(config(url=server.url)) as link:
        refresh = Refresh(link.connection, Offering(), 10)
        await refresh.run([EntryKind.TOOL])
        assert refresh.stale(0) == [EntryKind.TOOL]


async def test_lists_of_whose_changes_the_upstream_tells_are_not_stale() -> None:
    with serving("http", "--era", "stateless") as server:
        async with linked(server) as link:
            refresh = Refresh(link.connection, Offering(), 10)
            link.connection.settle(msgspec.structs.replace(link.connection.agreement, capabilities={"tools": {}}))
            await refresh.run()
            assert refresh.stale(0) == [EntryKind.TOOL]
            changes = {"tools": {"listChanged": True}}
            link.connection.settle(msgspec.structs.replace(link.connection.agreement, capabilities=changes))
            assert refresh.stale(0) == []


async def test_a_lost_connection_ends_the_refresh_and_keeps_what_it_held() -> None:
    with serving("http", "--tools", "5", module=processes.RAW) as server:
        async with linked(server) as link:
            refresh = Refresh(link.connection, Offering(tools=(b"{}",)), 10)
            await link.connection.close()
            with pytest.raises(UpstreamDown):
                await refresh.run()
    assert refresh.offering == Offering(tools=(b"{}",))
