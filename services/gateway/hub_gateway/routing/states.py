"""The `requestState` of a stateless upstream, as its client keeps it: sealed with who gave it, to whom and for what.

Owns what 2026-07-28 basic/patterns/mrtr asks of it: that it is used for the request that it was given for and for no
other, and by the principal that it was given to, whom only the hub knows. What the upstream wrote comes back to it as
it was. States of the hub's own are `held`'s.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

import msgspec
from msgspec import Raw

from hub_gateway.errors import CallerError
from hub_gateway.routing.exchange import Exchange
from hub_gateway.routing.held import MAY_ASK
from hub_gateway.routing.seal import MARK_DIGITS, Seal
from hub_gateway.wire import rewrite

STATE = "requestState"

_PREFIX = "hub2."


class States:
    """Seals states on their way to clients, and opens them on their way back."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def sealed(self, exchange: Exchange, upstream_name: str, name: str | None, result_raw: bytes | Raw) -> bytes | Raw:
        """An `InputRequiredResult` with its state sealed, or with one where it had none, so that its retry finds the
        upstream that asked. Any other result comes back as it is."""
        if exchange.message.method not in MAY_ASK:
            return result_raw
        try:
            result = rewrite.members(result_raw)
        except msgspec.MsgspecError:
            return result_raw  # no result of the protocol's, which its client sees
        if rewrite.text(result.get("resultType")) != "input_required":
            return result_raw
        state = rewrite.text(result.get(STATE))
        kept = quote(upstream_name, safe="").replace(".", "%2E") + ("" if state is None else f".{state}")
        mark = self._seal.mark(_bound(exchange, name, kept))
        return rewrite.join({**result, STATE: rewrite.encode_text(f"{_PREFIX}{mark}.{kept}")})

    def asker(self, exchange: Exchange) -> str | None:
        """The upstream that gave the state of a request; None where the request has none that a client may have got.

        It is not looked at whether the request is the one that the state was given for: `opened` does.
        """
        parts = _parts(exchange.params)
        return None if parts is None else parts[1]

    def opened(
        self, exchange: Exchange, upstream_name: str, name: str | None, params: rewrite.Members
    ) -> rewrite.Members:
        """The params of a retry with the upstream's own state, or without one where it gave none.

        Raises:
            CallerError: the state is not one that the hub gave this client for this request.
        """
        parts = _parts(params)
        if parts is None:
            raise CallerError("Invalid requestState: it was not made by this hub")
        mark, asker, kept, state = parts
        if asker != upstream_name or not self._seal.is_mark(mark, _bound(exchange, name, kept)):
            raise CallerError("Invalid requestState: it belongs to another request")
        if state is None:
            return {key: value for key, value in params.items() if key != STATE}
        return {**params, STATE: Raw(rewrite.encode_text(state))}


def _parts(params: rewrite.Members) -> tuple[str, str, str, str | None] | None:
    """The seal, the upstream, what is sealed, and the upstream's own state where it gave one."""
    state = rewrite.text(params.get(STATE))
    if state is None or not state.startswith(_PREFIX):
        return None
    mark, dot, kept = state.removeprefix(_PREFIX).partition(".")
    if not dot or len(mark) != MARK_DIGITS:
        return None
    upstream, has_state, own = kept.partition(".")
    return mark, unquote(upstream), kept, own if has_state else None


def _bound(exchange: Exchange, name: str | None, kept: str) -> str:
    return "\0".join((exchange.requestor, exchange.message.method, name or "", kept))
