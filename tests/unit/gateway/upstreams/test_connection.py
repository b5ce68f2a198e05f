"""A connection's promises, on every transport and in both eras, against servers of the Python SDK."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from hub_gateway.config.server_model import ServerConfig
from hub_gateway.errors import UpstreamDown, UpstreamTimeout
from hub_gateway.upstreams.pending import Answer, Reply
from hub_gateway.wire.message import Message
from tests.support import processes, raw_messages
from tests.unit.gateway.upstreams.everything import Ear, Linked, call, linked, serving, text
from tests.unit.gateway.upstreams.eyes import until

pytestmark = pytest.mark.anyio
KINDS = [("http", "stateless"), ("http", "handshake"), ("stdio", "stateless"), ("stdio", "handshake"), ("sse", "both")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def server(request: pytest.FixtureRequest) -> Iterator[ServerConfig]:
    """A server of each transport and era."""
    transport, era = request.param
    with serving(transport, "--era", era) as config:
        yield config


@pytest.fixture(scope="module")
async def link(server: ServerConfig, anyio_backend: Any) -> AsyncIterator[Linked]:
    """One connection to it for all tests, so keys are used once."""
    async with linked(server) as link:
        yield link


@pytest.fixture(scope="module", params=[kind for kind in KINDS if kind[1] != "stateless"], ids="-".join)
def asking_server(request: pytest.FixtureRequest) -> Iterator[ServerConfig]:
    """A server that sends requests: only those of the handshake era do (2026-07-28 changelog, major change 7)."""
    transport, era = request.param
    with serving(transport, "--era", era) as config:
        yield config


@pytest.fixture(scope="module")
async def asking(asking_server: ServerConfig, anyio_backend: Any) -> AsyncIterator[Linked]:
    """One connection to it for all tests."""
    async with linked(asking_server) as link:
        yield link


async def test_a_call_is_answered_with_the_bytes_of_its_result(link: Linked) -> None:
    assert text(await link.call("echo", {"text": "h\u00f6 \u2028"})) == "h\u00f6 \u2028"


async def test_the_upstream_tells_who_it_is_and_what_it_can(link: Linked) -> None:
    assert msgspec.json.decode(link.connection.server_info_raw)["name"] == "everything"
    assert link.connection.instructions == "Use echo to test whether the way is open."
    assert "tools" in link.connection.capabilities
    assert b'"tools"' in link.connection.capabilities_raw


async def test_an_error_of_the_upstreams_own_is_a_reply(link: Linked) -> None:
    assert (await link.call("no-such-tool"))["error"]["code"] == -32602


async def test_many_calls_at_once_keep_their_answers_apart(link: Linked) -> None:
    answers = await asyncio.gather(*(link.call("echo", {"text": str(number)}) for number in range(40)))
    assert [text(answer) for answer in answers] == [str(number) for number in range(40)]


async def test_progress_comes_to_its_own_call_under_the_callers_token(link: Linked) -> None:
    ears = [Ear(), Ear()]
    tokens = [b'"tok-a"', b"17"]
    await asyncio.gather(
        *(
            link.call("progress", {"label": f"call {n}", "meet": "x"}, listener=ears[n], progress_token_raw=tokens[n])
            for n in (0, 1)
        )
    )
    for n in (0, 1):
        heard = [msgspec.json.decode(message.params) for message in ears[n].relayed]
        assert [progress["progress"] for progress in heard] == [1, 2, 3]
        assert {progress["message"] for progress in heard} == {f"call {n}"}
        assert {progress["progressToken"] for progress in heard} == {msgspec.json.decode(tokens[n])}


async def test_a_log_message_of_a_call_is_heard_by_the_call(link: Linked) -> None:
    ear = Ear()
    await link.call("log", {"text": "hello log"}, listener=ear)
    assert [msgspec.json.decode(message.params)["data"] for message in ear.relayed] == ["hello log"]


async def test_a_cancelled_call_is_cancelled_upstream(link: Linked) -> None:
    task = asyncio.ensure_future(link.call("slow", {"key": "cancel"}))
    await link.call("slow_state", {"key": "cancel", "state": "waiting"})
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert text(await link.call("slow_state", {"key": "cancel", "state": "cancelled"})) == "cancelled"


async def test_a_call_past_its_deadline_is_cancelled_upstream(link: Linked) -> None:
    with pytest.raises(UpstreamTimeout, match=r"no answer within 0\.3 seconds"):
        await link.call("slow", {"key": "late"}, timeout_s=0.3)
    assert text(await link.call("slow_state", {"key": "late", "state": "cancelled"})) == "cancelled"
    assert text(await link.call("echo", {"text": "still here"})) == "still here"


async def test_a_call_that_is_cancelled_in_the_moment_of_its_deadline_is_cancelled(link: Linked) -> None:
    task = asyncio.ensure_future(link.call("slow", {"key": "both"}, timeout_s=0.5))
    await link.call("slow_state", {"key": "both", "state": "waiting"})
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    time.sleep(0.6)  # noqa: ASYNC251 - so that both come due in one round of the loop, the cancellation first
    await asyncio.wait((task,))
    assert task.cancelled()
    assert text(await link.call("slow_state", {"key": "both", "state": "cancelled"})) == "cancelled"


async def test_a_late_answer_finds_nobody_and_harms_nobody(link: Linked) -> None:
    with pytest.raises(UpstreamTimeout):
        await link.call("slow", {"key": "very late"}, timeout_s=0.2)
    await link.call("slow_release", {"key": "very late"})
    assert text(await link.call("echo", {"text": "a"})) == "a"


class _Slow(Ear):
    """Answers what it is asked after so long."""

    def __init__(self, reply: Reply, after_s: float) -> None:
        super().__init__()
        self._answer, self._after_s = reply, after_s

    def ask(self, message: Message, answer: Answer) -> None:
        asyncio.get_running_loop().call_later(self._after_s, answer, self._answer)


async def test_a_call_does_not_end_while_somebody_thinks_about_its_question(asking: Linked) -> None:
    ear = _Slow(Reply(b'{"action":"decline"}'), 0.7)
    answer = await asking.call("test_elicitation", {"message": "Who?"}, listener=ear, timeout_s=0.3)
    assert "decline" in text(answer)


async def test_a_request_of_the_upstream_comes_to_the_call_and_its_answer_goes_back(asking: Linked) -> None:
    result = {"role": "assistant", "content": {"type": "text", "text": "Berlin"}, "model": "m"}
    ear = Ear(Reply(msgspec.json.encode(result)))
    assert "Berlin" in text(await asking.call("test_sampling", {"prompt": "capital?"}, listener=ear))
    assert [message.method for message in ear.asked] == ["sampling/createMessage"]


async def test_a_refusal_goes_back_too(asking: Linked) -> None:
    ear = Ear(Reply(error_raw=b'{"code":-1,"message":"the user said no"}'))
    assert "the user said no" in str(await asking.call("test_sampling", {"prompt": "?"}, listener=ear))


async def test_a_request_that_belongs_to_no_call_is_answered_with_an_error(asking: Linked) -> None:
    assert "no call under way" in str(await asking.call("test_sampling", {"prompt": "?"}))


async def test_closing_fails_what_is_under_way(server: ServerConfig) -> None:
    async with linked(server) as link:
        task = asyncio.ensure_future(link.call("slow", {"key": "closing"}))
        await link.call("slow_state", {"key": "closing", "state": "waiting"})
        await link.connection.close()
        with pytest.raises(UpstreamDown):
            await task
        with pytest.raises(UpstreamDown, match="was closed"):
            await link.call("echo", {"text": "x"})
        assert not link.lost.done()


# Oddities no SDK server shows


@pytest.mark.parametrize("transport", ["http", "stdio"])
@pytest.mark.parametrize("era", ["stateless", "handshake"])
async def test_the_bytes_of_a_result_are_the_upstreams(transport: str, era: str) -> None:
    with serving(transport, "--era", era, module=processes.RAW) as config:
        async with linked(config) as link:
            reply = await call(link.connection, "raw_exotic")
            assert raw_messages.EXOTIC in reply.result_raw
            assert (await call(link.connection, "raw_error")).error_raw == raw_messages.ERROR
            big = await call(link.connection, "raw_big", {"bytes": 5_000_000})
            assert len(big.result_raw) > 5_000_000


@pytest.mark.parametrize("tool", ["raw_noise", "raw_wrong_id", "raw_sse"])
@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_noise_around_an_answer_is_skipped(transport: str, tool: str) -> None:
    with serving(transport, module=processes.RAW) as config:
        async with linked(config) as link:
            assert (await link.call(tool))["structuredContent"]["one"] == 1.0


@pytest.mark.parametrize("tool", ["raw_hang", "raw_garbage"])
async def test_an_answer_that_never_comes_is_a_timeout_or_garbage_and_the_link_lives(tool: str) -> None:
    with serving("stdio", module=processes.RAW) as config:
        async with linked(config) as link:
            with pytest.raises(UpstreamTimeout):
                await link.call(tool, timeout_s=0.3)
            assert "structuredContent" in await link.call("raw_exotic")


async def test_a_crash_fails_every_call_at_once_and_is_told_once() -> None:
    with serving("stdio", module=processes.RAW) as config:
        async with linked(config) as link:
            hanging = [asyncio.ensure_future(link.call("raw_hang")) for _ in range(3)]
            await until(lambda: link.connection.in_flight, lambda count: count == 3, "three calls")
            with pytest.raises(UpstreamDown, match="exited with code 66"):
                await link.call("raw_crash")
            for result in await asyncio.gather(*hanging, return_exceptions=True):
                assert isinstance(result, UpstreamDown)
            assert "code 66" in link.lost.result()


async def test_one_deadline_does_not_disturb_another(link: Linked) -> None:
    async def late(timeout_s: float) -> Any:
        with pytest.raises(UpstreamTimeout, match=f"{timeout_s:g} seconds"):
            await link.call("slow", {"key": f"d{timeout_s}"}, timeout_s=timeout_s)

    await asyncio.gather(late(0.4), late(0.2), late(0.3), link.call("echo", {"text": "x"}))
