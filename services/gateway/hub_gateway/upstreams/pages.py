"""Reading a list of an upstream to its end, page by page (2025-11-25 and 2026-07-28 server/utilities/pagination).

Owns where a list ends, that each does, and what is said of the freshness of a page. Does not know what is listed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

import msgspec
from msgspec import Raw

from hub_gateway.errors import UpstreamGarbage
from hub_gateway.upstreams.pending import Reply
from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import INVALID_PARAMS, METHOD_NOT_FOUND, read_error
from hub_gateway.wire.message import own

MAX_PAGES = 1_000

Ask = Callable[[rewrite.Members], Awaitable[Reply]]
"""Asks for the page that these params name."""

_number = msgspec.json.Decoder(float)


class Page(NamedTuple):
    """What stands on one page, and for how many seconds that is fresh: infinite where nothing is said."""

    items: list[Raw]
    fresh_s: float


async def pages(ask: Ask, member: str) -> AsyncGenerator[Page]:
    """Yield what stands in this member of each page; nothing where the upstream does not know the list. A page without
    items is not the last one where it has a cursor. Whoever reads closes it.

    An empty cursor is one (2026-07-28 server/utilities/pagination §Implementation Guidelines). Some write it where
    there is none: then it is refused, or leads to the first page again, and the list has ended before.

    Raises:
        UpstreamGarbage: it refuses a page, a page is no list, or the list has no end.
        UpstreamError: as `ask` says.
    """
    params: rewrite.Members = {}
    seen: set[bytes] = set()
    first: Page | None = None
    emptily = False
    for _ in range(MAX_PAGES):
        reply = await ask(params)
        if reply.error_raw:
            error = read_error(reply.error_raw)
            if (error.code == METHOD_NOT_FOUND and not seen) or (error.code == INVALID_PARAMS and emptily):
                return
            raise UpstreamGarbage(f"it answered {error.code} {error.message}")
        try:
            page = rewrite.members(reply.result_raw)
            found = Page(rewrite.items(page.get(member, Raw(b"[]"))), _fresh_s(page.get("ttlMs")))
        except msgspec.MsgspecError as fault:
            raise UpstreamGarbage(f"its answer is no list of {member}: {fault}") from fault
        first = first or found
        if emptily and sorted(map(bytes, found.items)) == sorted(map(bytes, first.items)):
            return
        cursor = page.get("nextCursor")
        if cursor is None or rewrite.text(cursor) is None:  # `null`, which some write where there is none
            yield found
            return
        cursor_raw = own(cursor)
        if cursor_raw in seen:
            raise UpstreamGarbage("its pages go round in a circle")
        seen.add(cursor_raw)
        yield found
        params, emptily = {"cursor": Raw(cursor_raw)}, not rewrite.text(cursor)
    raise UpstreamGarbage(f"its list has more than {MAX_PAGES} pages")


def _fresh_s(hint: Raw | None) -> float:
    """What `ttlMs` says (2026-07-28 server/utilities/caching): less than nothing counts as nothing."""
    try:
        return float("inf") if hint is None else max(0.0, _number.decode(hint) / 1_000)
    except msgspec.MsgspecError:
        return float("inf")
