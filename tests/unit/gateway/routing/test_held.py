"""Calls that wait for a stateless client: how long, how many, and what becomes of those nobody comes back for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from hub_gateway.errors import CallerError
from hub_gateway.routing.exchange import Exchange
from hub_gateway.routing.held import Holding, MissingCapability
from hub_gateway.routing.seal import Seal
from hub_gateway.upstreams.pending import Answer, Listener, Reply
from hub_gateway.wire import codec
from hub_gateway.wire.meta import Caller
from hub_gateway.wire.revisions import Era

pytestmark = pytest.mark.anyio
WAIT_S = 5.0
FORM = b'{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"?"}}'


def exchange(name: str = "tool", **params: Any) -> Exchange:
    """A `tools/call` of a stateless client that can be asked for forms."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, **params}}
    caller = Caller(capabilities_raw=b'{"elicitation":{}}')
    made = Exchange(
        codec.decode(json.dumps(body).encode()), era=Era.STATELESS, caller=caller, session=None, outlet=None
    )
    made.read()
    return made


class Upstream:
    """Asks for a form in every call and answers with the form; says when a call was cancelled."""

    def __init__(self, question: bytes | None = FORM) -> None:
        self.cancelled = asyncio.Event()
        self._question = question

    async def request(self, listener: Listener) -> Reply:
        """One call."""
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self._question is not None:
            listener.ask(codec.decode(self._question), Answer(answered.set_result))
        try:
            return await answered
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def saw_cancel(self) -> None:
        """Wait until a call was cancelled."""
        with anyio.fail_after(WAIT_S):
            await self.cancelled.wait()


@asynccontextmanager
async def holding(**options: Any) -> AsyncGenerator[Holding]:
    """Held calls that end with the block."""
    made = Holding("0a0b0c0d", Seal(), **options)
    try:
        yield made
    finally:
        await made.close()


def state_of(reply: Reply) -> str:
    """The requestState of an `input_required` result."""
    return json.loads(reply.result_raw)["requestState"]


async def test_a_call_nobody_comes_back_for_is_cancelled_and_its_state_is_worth_nothing() -> None:
    upstream = Upstream()
    async with holding(expire_s=0.01) as held:
        state = state_of(await held.call(exchange(), upstream.request))
        await upstream.saw_cancel()
        with pytest.raises(CallerError, match=r"expired.*start again"):
            await held.resume(exchange(requestState=state, inputResponses={}))


async def test_when_too_many_wait_the_oldest_goes() -> None:
    oldest, newest = Upstream(), Upstream()
    async with holding(limit=1) as held:
        first = state_of(await held.call(exchange(), oldest.request))
        second = state_of(await held.call(exchange(), newest.request))
        await oldest.saw_cancel()
        with pytest.raises(CallerError):
            await held.resume(exchange(requestState=first, inputResponses={}))
        answers = {"elicitation-1": {"action": "decline"}}
        reply = await held.resume(exchange(requestState=second, inputResponses=answers))
    assert reply == Reply(b'{"action": "decline"}')


@pytest.mark.parametrize("wrong", [None, "accept", 5, [{"action": "accept"}]])
async def test_a_response_that_is_no_result_is_refused_and_the_call_waits_on(wrong: object) -> None:
    async with holding() as held:
        state = state_of(await held.call(exchange(), Upstream().request))
        with pytest.raises(CallerError, match=r"inputResponses\.elicitation-1 must be an object"):
            await held.resume(exchange(requestState=state, inputResponses={"elicitation-1": wrong}))
        good = {"elicitation-1": {"action": "decline"}, "unknown": 5}
        reply = await held.resume(exchange(requestState=state, inputResponses=good))
    assert reply == Reply(b'{"action": "decline"}')


async def test_a_call_goes_on_for_the_arguments_it_was_made_with_and_for_no_others() -> None:
    upstream = Upstream()
    async with holding() as held:
        state = state_of(await held.call(exchange(arguments={"to": "Ada", "n": 1}), upstream.request))
        retry = {"requestState": state, "inputResponses": {"elicitation-1": {"action": "decline"}}}
        for others in ({"to": "Eve", "n": 1}, {"to": "Ada"}, {}):
            with pytest.raises(CallerError, match="another request"):
                await held.resume(exchange(arguments=others, **retry))
        reply = await held.resume(exchange(arguments={"n": 1, "to": "Ada"}, **retry))
    assert reply == Reply(b'{"action": "decline"}')


async def test_a_state_of_another_gateway_is_refused() -> None:
    upstream = Upstream()
    async with holding() as here, holding() as there:
        state = state_of(await here.call(exchange(), upstream.request))
        with pytest.raises(CallerError):
            await there.resume(exchange(requestState=state, inputResponses={}))


@pytest.mark.parametrize("capabilities_raw", [b"{}", b'{"extensions":{}}', b'{"roots":{}}'])
async def test_a_call_that_needs_what_the_client_lacks_is_cancelled(capabilities_raw: bytes) -> None:
    upstream = Upstream()
    asking = exchange()
    asking.caller = Caller(capabilities_raw=capabilities_raw)
    async with holding() as held:
        with pytest.raises(MissingCapability) as refused:
            await held.call(asking, upstream.request)
        await upstream.saw_cancel()
    assert json.loads(refused.value.error_raw)["data"] == {"requiredCapabilities": {"elicitation": {}}}


@pytest.mark.parametrize("capabilities_raw", [b"{}", b'{"elicitation":{}}'])
async def test_a_call_whose_client_goes_away_is_cancelled(capabilities_raw: bytes) -> None:
    upstream = Upstream(question=None)
    asking = exchange()
    asking.caller = Caller(capabilities_raw=capabilities_raw)
    async with holding() as held:
        calling = asyncio.ensure_future(held.call(asking, upstream.request))
        await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await upstream.saw_cancel()


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ('{"message":"?"}', '{"message":"?"}'),
        ('{"message":"?","elicitationId":"e","_meta":{"progressToken":1}}', '{"message":"?"}'),
        ('{"_meta":{"a":1.0,"progressToken":"p"},"message":"?"}', '{"_meta":{"a":1.0},"message":"?"}'),
        ('{"message":"\\"elicitationId\\""}', '{"message":"\\"elicitationId\\""}'),
    ],
)
async def test_a_question_is_asked_without_what_only_sessions_have(written: str, asked: str) -> None:
    question = FORM.replace(b'{"message":"?"}', written.encode())
    async with holding() as held:
        reply = await held.call(exchange(), Upstream(question).request)
    assert f'"params":{asked}' in reply.result_raw.decode()


async def test_closing_cancels_what_waits() -> None:
    upstream = Upstream()
    async with holding() as held:
        await held.call(exchange(), upstream.request)
    await upstream.saw_cancel()


@pytest.mark.parametrize("view", (("other", ""), ("", "another token")))
async def test_a_state_of_another_view_or_token_is_refused(view: tuple[str, str]) -> None:
    upstream = Upstream()
    async with holding() as held:
        state = state_of(await held.call(exchange(), upstream.request))
        other = exchange(requestState=state, inputResponses={})
        other.view_name, other.credential = view
        with pytest.raises(CallerError, match="another request"):
            await held.resume(other)
        answers = {"elicitation-1": {"action": "decline"}}
        assert (await held.resume(exchange(requestState=state, inputResponses=answers))).result_raw
