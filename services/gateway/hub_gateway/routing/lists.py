"""Journey B: a list is a pointer to bytes that were made when something changed. Nothing is awaited."""

from __future__ import annotations

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.errors import CallerError
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.wire import rewrite

KINDS = {kind.list_method: kind for kind in EntryKind}


def answer_list(calls: Calls, exchange: Exchange) -> Response:
    """Answer one of the four list methods from the audience's view.

    Raises:
        CallerError: the cursor is none of this list's.
    """
    kind = KINDS[exchange.message.method]
    return exchange.result(calls.view(exchange).page(kind, exchange.era, cursor_of(exchange)))


def cursor_of(exchange: Exchange) -> str | None:
    """The cursor of a request for a list; None where it asks for the first page.

    Raises:
        CallerError: it is no string.
    """
    cursor_raw = exchange.params.get("cursor")
    cursor = rewrite.text(cursor_raw)
    if cursor is None and cursor_raw is not None and bytes(cursor_raw) != b"null":
        raise CallerError(f"Invalid params of {exchange.message.method}: cursor must be a string")
    return cursor
