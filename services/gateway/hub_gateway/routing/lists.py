"""Journey B: a list is a pointer to bytes that were made when something changed. Nothing is awaited."""

from __future__ import annotations

from hub_gateway.catalog.entry import EntryKind
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
    cursor = rewrite.text(exchange.params.get("cursor"))
    return exchange.result(calls.view(exchange).page(kind, exchange.era, cursor))
