"""Where a list ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from hub_gateway.errors import UpstreamGarbage
from hub_gateway.upstreams.pages import MAX_PAGES, pages
from hub_gateway.upstreams.pending import Reply
from hub_gateway.wire import rewrite

pytestmark = pytest.mark.anyio
UNKNOWN = Reply(error_raw=b'{"code":-32601,"message":"no"}')
NO_SUCH_CURSOR = Reply(error_raw=b'{"code":-32602,"message":"invalid cursor"}')
DOWN = Reply(error_raw=b'{"code":-32603,"message":"down"}')


def _page(*items: int, **more: object) -> Reply:
    return Reply(json.dumps({"a": items, **more}).encode())


async def _read(answers: Iterator[Reply]) -> tuple[list[bytes], list[str | None]]:
    """What the pages hold, and the cursors they were asked for with."""
    cursors = list[str | None]()

    async def ask(params: rewrite.Members) -> Reply:
        cursors.append(rewrite.text(params.get("cursor")))
        return next(answers)

    async with aclosing(pages(ask, "a")) as read:
        return [bytes(item) async for page in read for item in page.items], cursors


@pytest.mark.parametrize("last", ({}, {"nextCursor": None}, {"nextCursor": 7}))
async def test_a_list_ends_where_no_cursor_is_and_not_with_an_empty_page(last: dict[str, object]) -> None:
    answers = iter([_page(1, nextCursor="x"), _page(nextCursor="y"), _page(2, **last)])
    assert await _read(answers) == ([b"1", b"2"], [None, "x", "y"])


@pytest.mark.parametrize("again", (_page(2, 1, nextCursor=""), NO_SUCH_CURSOR))
async def test_an_empty_cursor_that_leads_nowhere_ends_the_list(again: Reply) -> None:
    assert await _read(iter([_page(1, 2, nextCursor=""), again])) == ([b"1", b"2"], [None, ""])
    pages_ = [_page(1, 2, nextCursor="x"), _page(3, nextCursor=""), again]
    assert await _read(iter(pages_)) == ([b"1", b"2", b"3"], [None, "x", ""])


async def test_an_empty_cursor_may_lead_on() -> None:
    assert await _read(iter([_page(1, nextCursor=""), _page(2)])) == ([b"1", b"2"], [None, ""])


async def test_a_list_that_is_not_known_is_empty() -> None:
    assert await _read(iter([UNKNOWN])) == ([], [None])


@pytest.mark.parametrize(
    ("answers", "why"),
    (
        ([DOWN], "-32603 down"),
        ([_page(1, nextCursor="x"), UNKNOWN], "-32601 no"),
        ([_page(1, nextCursor="x"), NO_SUCH_CURSOR], "-32602 invalid cursor"),
        ([_page(1, nextCursor=""), DOWN], "-32603 down"),
        ([Reply(b"7")], "no list of a"),
        ([Reply(b'{"a":{}}')], "no list of a"),
        ([_page(nextCursor=each) for each in "xyx"], "circle"),
    ),
)
async def test_what_is_no_list_is_garbage(answers: list[Reply], why: str) -> None:
    with pytest.raises(UpstreamGarbage, match=why):
        await _read(iter(answers))


async def test_a_list_has_an_end() -> None:
    asked = iter(range(10 * MAX_PAGES))
    with pytest.raises(UpstreamGarbage, match="pages"):
        await _read(_page(nextCursor=f"{number}") for number in asked)
    assert next(asked) == MAX_PAGES
