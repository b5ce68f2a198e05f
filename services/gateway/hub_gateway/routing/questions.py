"""A stateless upstream's questions, put to a client that has a session.

Owns the loop of 2026-07-28 basic/patterns/mrtr on behalf of a handshake client: an `input_required` result becomes
requests on the client's stream, and the call is made again with the answers. Nothing is answered in the client's place.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw

from hub_gateway.errors import UpstreamGarbage
from hub_gateway.routing.exchange import Exchange
from hub_gateway.upstreams.backoff import Backoff
from hub_gateway.upstreams.pending import Answer, Reply
from hub_gateway.wire import rewrite
from hub_gateway.wire.message import Message

MAX_ROUNDS = 32
"""An upstream that asks more often than this is going round in circles."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
"""Before a call is made again for which nothing was asked: its upstream wants time, and rounds are counted."""

Again = Callable[[rewrite.Members], Awaitable[Reply]]
"""Makes the same call again with these params."""


async def answered(exchange: Exchange, params: rewrite.Members, reply: Reply, again: Again) -> Reply:
    """Ask the client until the upstream has a result, and return that.

    Returns the client's own error as the reply where it refuses to answer.

    Raises:
        UpstreamGarbage: the questions are malformed, or never end.
    """
    pause = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, random.random)
    for _ in range(MAX_ROUNDS):
        if reply.result_raw.find(b"input_required") < 0:
            return reply
        result = _members(reply.result_raw)
        if rewrite.text(result.get("resultType")) != "input_required":
            return reply
        retry = dict(params)
        if asked := _members(result.get("inputRequests", Raw(b"{}"))):
            answers = await _answers(exchange, {key: _question(_members(raw)) for key, raw in asked.items()})
            if isinstance(answers, Reply):
                return answers
            retry["inputResponses"] = Raw(rewrite.join(answers))
            pause.reset()
        else:
            await asyncio.sleep(pause.next_s())
        if "requestState" in result:
            retry["requestState"] = result["requestState"]
        reply = await again(retry)
    raise UpstreamGarbage(f"{exchange.message.method}: still asking after {MAX_ROUNDS} rounds")


async def _answers(exchange: Exchange, questions: dict[str, Message]) -> dict[str, bytes] | Reply:
    """The client's results by the upstream's keys, or its first error, after which no other answer is waited for."""
    asked = [_ask(exchange, question) for question in questions.values()]
    for each in asyncio.as_completed(asked):
        if (answer := await each).error_raw:
            return answer
    return {key: each.result().result_raw for key, each in zip(questions, asked, strict=True)}


def _question(question: rewrite.Members) -> Message:
    method = rewrite.text(question.get("method")) or ""
    params = question.get("params", Raw(b"{}"))
    if method == "elicitation/create" and rewrite.text(_members(params).get("mode")) == "url":
        # 2025-11-25 requires an id that 2026-07-28 dropped (changelog, minor change 11).
        params = Raw(rewrite.replaced(params, "elicitationId", rewrite.encode_text(secrets.token_hex(8))))
    return Message(jsonrpc="2.0", method=method, params=params)


def _ask(exchange: Exchange, question: Message) -> asyncio.Future[Reply]:
    done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    exchange.ask(question, Answer(lambda reply: None if done.done() else done.set_result(reply)))
    return done


def _members(raw: bytes | Raw) -> rewrite.Members:
    try:
        return rewrite.members(raw)
    except msgspec.MsgspecError as fault:
        raise UpstreamGarbage(f"malformed input_required result: {fault}") from fault
