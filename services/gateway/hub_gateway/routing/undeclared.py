"""What a stateless upstream answers, and its stateless client did not declare that it can take.

Owns the look into results that are not complete: one is forwarded only where the client named the capability for it on
this very request. Every request declares anew (2026-07-28 basic §Per-request protocol fields), so an upstream that
remembers an earlier one, or looks at none, is not taken at its word.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from hub_gateway.errors import UpstreamGarbage
from hub_gateway.routing.exchange import Exchange
from hub_gateway.routing.held import MAY_ASK, declared, lacking
from hub_gateway.routing.task_handles import needs_extension
from hub_gateway.sessions.reverse import NEEDS, can_answer, required
from hub_gateway.wire import rewrite


class _NoQuestion(Exception):
    """What is asked is no request of a server to a client."""


def check(exchange: Exchange, upstream_name: str, result_raw: bytes) -> None:
    """Check that a client may be given a result.

    Raises:
        MissingCapability: it is a task, and the client does not declare the extension (SEP-2663 §Capability
            Negotiation: it must not be returned); or it asks what the client does not declare (2026-07-28
            basic/patterns/mrtr §Server Requirements: it must not be sent).
        UpstreamGarbage: it asks what nobody may, or on a request that may not ask (mrtr §Supported Requests).
    """
    try:
        members = rewrite.members(result_raw)
    except msgspec.MsgspecError:
        return
    kind = rewrite.text(members.get("resultType"))
    if kind == "task":
        needs_extension(exchange)
    elif kind == "input_required":
        try:
            missing = _missing(exchange, rewrite.members(members.get("inputRequests", b"")))
        except (msgspec.MsgspecError, _NoQuestion) as fault:
            raise UpstreamGarbage(f"{upstream_name}: malformed input_required result: {fault}") from fault
        if missing:
            raise lacking(missing)
        if exchange.message.method not in MAY_ASK:
            raise UpstreamGarbage(f"{upstream_name}: {exchange.message.method} may not be answered with questions")


def _missing(exchange: Exchange, questions: rewrite.Members) -> dict[str, Any]:
    """The capabilities that a client must have declared to be asked all of this, and has not.

    Raises:
        _NoQuestion: one is no request that a client can be asked (mrtr §Server Requirements: it must be one of three).
    """
    capabilities = declared(exchange)
    missing: dict[str, Any] = {}
    for question_raw in questions.values():
        question = rewrite.members(question_raw)
        method, params_raw = rewrite.text(question.get("method")) or "", question.get("params", Raw(b"{}"))
        if method not in NEEDS:
            raise _NoQuestion(f"no client can be asked {method or 'a request without a method'}")
        if not can_answer(capabilities, method, params_raw):
            for capability, forms in required(method, params_raw).items():
                missing.setdefault(capability, {}).update(forms)
    return missing
