"""Results of the hub's own tools.

Text and nothing else: of a result that has `structuredContent` too, some clients show a model the one, some the other
and some both, so it would hide the text or double what it costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hub_gateway.exposure.view import Look
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.wire import rewrite


class BadArguments(Exception):
    """The arguments of one of the hub's own tools do not fit its schema.

    Told as the tool's own error, which models are shown, so that they can put it right (2025-11-25, Tools, Error
    Handling: input validation errors are tool execution errors).
    """


def text_result(exchange: Exchange, look: Look, texts: Sequence[str], *, is_error: bool = False) -> Response:
    """Answer a call with these texts, as the client's era wants it."""
    content = msgspec.json.encode([{"type": "text", "text": text} for text in texts])
    result = rewrite.join({"content": content, "isError": b"true" if is_error else b"false"})
    if exchange.session is None:
        result = rewrite.prepended(result, look.stateless_head(cacheable=False))
    return exchange.result(result)
