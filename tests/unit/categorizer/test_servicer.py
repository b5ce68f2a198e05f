"""The rpcs over a real channel, with the embedded store, and Gemini's SDK talking to a stand-in."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import Any

import grpc
import grpc.aio
import pytest

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_categorizer.settings import Settings
from hub_common.store import Store
from tests.support.waiting import until
from tests.unit.categorizer.conftest import categorizer, llm_settings
from tests.unit.categorizer.gemini_stand_in import (
    KEY,
    NEVER,
    GeminiStandIn,
    all_as,
    error_reply,
    json_reply,
    text_reply,
)

pytestmark = pytest.mark.anyio

TIMEOUT_S = 20.0
NO_LLM = Settings()
REFUSED = error_reply(403, "PERMISSION_DENIED", "no")


def definition(name: str, upstream: str = "things", description: str = "") -> pb.Definition:
    return pb.Definition(
        hash=f"hash-of-{upstream}-{name}", upstream_name=upstream, local_name=name, description=description
    )


def asking(*names: str, **taxonomy: Any) -> pb.CategorizeRequest:
    return pb.CategorizeRequest(definitions=[definition(name) for name in names], taxonomy=pb.Taxonomy(**taxonomy))


async def refine(stub: Any, request: pb.CategorizeRequest) -> dict[str, pb.Assignment]:
    return {one.hash: one async for one in stub.Refine(request, timeout=TIMEOUT_S)}


async def breaker_state(stub: Any) -> str:
    return (await stub.Describe(pb.DescribeRequest(), timeout=TIMEOUT_S)).llm.breaker_state


async def refine_in_vain(stub: Any, request: pb.CategorizeRequest) -> str:
    """Refine what the LLM does not answer; what the service says of it."""
    with pytest.raises(grpc.aio.AioRpcError) as fault:
        await refine(stub, request)
    assert fault.value.code() is grpc.StatusCode.UNAVAILABLE
    return str(fault.value.details())


async def categorize(stub: Any, request: pb.CategorizeRequest) -> list[pb.Assignment]:
    return list((await stub.Categorize(request, timeout=TIMEOUT_S)).assignments)


async def test_patterns_and_mappings_answer_in_order(store: Store) -> None:
    request = asking("read_file", "frobnicate", "git_commit")
    request.taxonomy.mappings.add(pattern="things__frob*", category="mine")
    before_ms = int(time.time() * 1000)
    async with categorizer(NO_LLM, store) as stub:
        first, second, third = await categorize(stub, request)
    assert (first.hash, first.category, first.source) == ("hash-of-things-read_file", "filesystem", pb.SOURCE_PATTERN)
    assert (second.category, second.source, second.confidence) == ("mine", pb.SOURCE_MAPPING, 1.0)
    assert third.category == "version-control"
    assert first.decided_at_ms >= before_ms
    assert not any(one.refinable or one.cached or one.model for one in (first, second, third))


async def test_without_an_llm_refine_ends_at_once_and_analysis_is_unavailable(store: Store) -> None:
    async with categorizer(NO_LLM, store) as stub:
        assert await refine(stub, asking("read_file")) == {}
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await stub.AnalyzePrompt(pb.AnalyzePromptRequest(prompt="read it"), timeout=TIMEOUT_S)
        assert fault.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "no LLM" in str(fault.value.details())
        described = await stub.Describe(pb.DescribeRequest(), timeout=TIMEOUT_S)
    assert described == pb.DescribeResponse(cache_ttl_s=NO_LLM.cache_ttl_s)


async def test_thousands_of_definitions_are_answered(store: Store) -> None:
    names = [f"read_file_{number}" for number in range(5_000)]
    async with categorizer(NO_LLM, store) as stub:
        answers = await categorize(stub, asking(*names))
    assert [one.hash for one in answers] == [f"hash-of-things-{name}" for name in names]
    assert {one.category for one in answers} == {"filesystem"}


async def test_what_is_refined_is_cached_for_every_replica(gemini: GeminiStandIn, store: Store) -> None:
    gemini.answer = all_as("database")
    settings = llm_settings(gemini)
    async with categorizer(settings, store) as stub:
        (before,) = await categorize(stub, asking("read_file"))
        assert (before.category, before.refinable) == ("filesystem", True)
        refined = await refine(stub, asking("read_file"))
        one = refined["hash-of-things-read_file"]
        assert (one.category, one.source, one.model, one.confidence) == (
            "database",
            pb.SOURCE_LLM,
            "gemini-2.5-flash",
            0.9,
        )
        assert not one.cached
    async with categorizer(settings, store) as other:
        (after,) = await categorize(other, asking("read_file"))
        assert (after.category, after.source, after.cached, after.refinable) == ("database", pb.SOURCE_LLM, True, False)
        assert after.decided_at_ms == one.decided_at_ms
        told_again = await refine(other, asking("read_file"))
        assert told_again["hash-of-things-read_file"].cached
        described = await other.Describe(pb.DescribeRequest(), timeout=TIMEOUT_S)
    assert len(gemini.requests) == 1
    assert (described.llm_configured, described.provider, described.model) == (True, "gemini", "gemini-2.5-flash")
    assert (described.cache_size, described.cache_hits, described.cache_lookups) == (1, 2, 2)
    assert (described.llm_calls, described.llm_failures) == (0, 0)
    assert (described.cache_ttl_s, described.cache_memory_bytes > 0) == (settings.cache_ttl_s, True)


async def test_definitions_are_asked_in_batches_the_doubtful_first(gemini: GeminiStandIn, store: Store) -> None:
    request = asking("git_commit", "frobnicate", "read_file", "defenestrate", "mapped")
    request.taxonomy.mappings.add(pattern="mapped", category="mine")
    async with categorizer(llm_settings(gemini, llm_batch=2, llm_concurrency=1), store) as stub:
        refined = await refine(stub, request)
    assert len(gemini.requests) == 2
    assert set(gemini.asked_names[:2]) == {"frobnicate", "defenestrate"}
    assert set(gemini.asked_names[2:]) == {"git_commit", "read_file"}
    assert "hash-of-things-mapped" not in refined


async def test_a_changed_definition_or_list_is_asked_again(gemini: GeminiStandIn, store: Store) -> None:
    async with categorizer(llm_settings(gemini), store) as stub:
        await refine(stub, asking("do_it"))
        changed = asking("do_it")
        changed.definitions[0].hash = "another"
        await refine(stub, changed)
        await refine(stub, asking("do_it", categories=["web", "mine"]))
    assert len(gemini.requests) == 3


async def test_equal_definitions_of_two_upstreams_are_kept_apart(gemini: GeminiStandIn, store: Store) -> None:
    gemini.answer = lambda data: {
        "items": [
            {"index": item["index"], "category": "database" if item["server"] == "b" else "web", "confidence": 1}
            for item in data["items"]
        ]
    }
    same = [pb.Definition(hash="same", upstream_name=upstream, local_name="search") for upstream in ("a", "b")]
    request = pb.CategorizeRequest(definitions=same)
    async with categorizer(llm_settings(gemini), store) as stub:
        await refine(stub, request)
        assert [one.category for one in await categorize(stub, request)] == ["web", "database"]


async def test_an_answer_outside_the_list_is_no_answer(gemini: GeminiStandIn, store: Store) -> None:
    gemini.answer = all_as("finance")
    async with categorizer(llm_settings(gemini), store) as stub:
        assert await refine(stub, asking("read_file")) == {}
        (after,) = await categorize(stub, asking("read_file"))
    assert (after.category, after.source, after.refinable) == ("filesystem", pb.SOURCE_PATTERN, True)


@pytest.mark.parametrize(
    ("reply", "questions", "later"),
    [
        (error_reply(401, "UNAUTHENTICATED", "bad key"), 1, True),
        (REFUSED, 1, True),
        (error_reply(429, "RESOURCE_EXHAUSTED", "quota"), 8, True),
        (error_reply(500, "INTERNAL", "oops"), 8, True),
        (error_reply(400, "INVALID_ARGUMENT", "no such question"), 4, False),
        (text_reply("I cannot do that"), 4, False),
    ],
)
async def test_whatever_the_llm_does_the_patterns_stand(
    gemini: GeminiStandIn, store: Store, reply: Any, questions: int, later: bool
) -> None:
    gemini.replies = [reply] * 100
    names = ("read_file", "git_commit", "send_email", "web_search")
    settings = llm_settings(gemini, llm_batch=1, llm_concurrency=1, llm_retries=1, breaker_threshold=50)
    async with categorizer(settings, store) as stub:
        if later:
            assert "the LLM gave no answer" in await refine_in_vain(stub, asking(*names))
        else:
            assert await refine(stub, asking(*names)) == {}
        answers = await categorize(stub, asking(*names))
        assert [one.category for one in answers] == ["filesystem", "version-control", "communication", "search"]
        described = await stub.Describe(pb.DescribeRequest(), timeout=TIMEOUT_S)
        assert described.llm_failures == described.llm_calls > 0
        assert len(gemini.requests) == questions
        gemini.replies = []
        assert len(await refine(stub, asking(*names))) == len(names)


async def test_refining_stops_when_the_llm_is_left_alone(gemini: GeminiStandIn, store: Store) -> None:
    gemini.replies = [error_reply(500, "INTERNAL", "oops")] * 100
    settings = llm_settings(gemini, llm_batch=1, llm_concurrency=1, llm_retries=0, breaker_threshold=3)
    async with categorizer(settings, store) as stub:
        await refine_in_vain(stub, asking(*(f"tool_{number}" for number in range(20))))
    assert len(gemini.requests) == 3


async def test_the_one_question_after_a_pause_goes_on_beside_those_that_are_not_asked(
    gemini: GeminiStandIn, store: Store
) -> None:
    gemini.answer = all_as("cloud")
    gemini.replies = [error_reply(500, "INTERNAL", "oops")]
    settings = llm_settings(gemini, llm_concurrency=4, llm_retries=0, breaker_threshold=1, breaker_open_s=0.5)
    each_of_its_own = pb.CategorizeRequest(definitions=[definition("tool", upstream) for upstream in "abcd"])
    async with categorizer(settings, store) as stub:
        await refine_in_vain(stub, asking("read_file"))
        await until(partial(breaker_state, stub), lambda state: state == "half-open", TIMEOUT_S, "one may be asked")
        asked = len(gemini.requests)
        assert "for 3 definitions" in await refine_in_vain(stub, each_of_its_own)
        assert len(gemini.requests) == asked + 1
        assert sum(one.source == pb.SOURCE_LLM for one in await categorize(stub, each_of_its_own)) == 1
        assert len(await refine(stub, each_of_its_own)) == 4


async def test_a_question_that_is_refused_stands_in_no_other_server_s_way(gemini: GeminiStandIn, store: Store) -> None:
    gemini.answer = all_as("cloud")
    gemini.replies = [error_reply(400, "INVALID_ARGUMENT", "this text is not welcome")]
    settings = llm_settings(gemini, llm_concurrency=1)
    both = [definition(f"tool_{number}", upstream) for upstream in ("one", "two") for number in range(2)]
    async with categorizer(settings, store) as stub:
        answered = await refine(stub, pb.CategorizeRequest(definitions=both))
    assert len(answered) == 2
    assert len({one.hash.split("-")[2] for one in answered.values()}) == 1


async def test_a_caller_that_leaves_ends_its_questions(gemini: GeminiStandIn, store: Store) -> None:
    gemini.replies = [NEVER]
    async with categorizer(llm_settings(gemini), store) as stub:
        call = stub.Refine(asking("read_file"), timeout=TIMEOUT_S)
        assert await asyncio.to_thread(gemini.asked.wait, 10)
        call.cancel()
        assert await asyncio.to_thread(gemini.hung_up.wait, 10)


def shortlist() -> pb.AnalyzePromptRequest:
    return pb.AnalyzePromptRequest(
        prompt="store the weather",
        context="daily",
        shortlist=[
            pb.Candidate(public_name="weather__get", category="search", description="Get the weather"),
            pb.Candidate(public_name="db__insert", category="database", description="Insert a row"),
        ],
    )


async def test_a_prompt_is_analyzed_within_what_is_offered(gemini: GeminiStandIn, store: Store) -> None:
    gemini.replies = [
        json_reply({"categories": ["search", "nonsense"], "tools": [1, 9, 0], "confidence": 0.8, "reasoning": "both"})
    ]
    async with categorizer(llm_settings(gemini), store) as stub:
        answer = await stub.AnalyzePrompt(shortlist(), timeout=TIMEOUT_S)
    assert list(answer.categories) == ["search"]
    assert list(answer.public_names) == ["db__insert", "weather__get"]
    assert (answer.confidence, answer.reasoning, answer.model) == (0.8, "both", "gemini-2.5-flash")
    data = gemini.data_of(gemini.requests[0])
    assert (data["prompt"], data["context"], len(data["tools"])) == ("store the weather", "daily", 2)


@pytest.mark.parametrize("reply", [REFUSED, text_reply("gladly!"), json_reply([1, 2])])
async def test_an_analysis_that_fails_is_unavailable_and_asked_once(
    gemini: GeminiStandIn, store: Store, reply: Any
) -> None:
    gemini.replies = [reply] * 9
    async with categorizer(llm_settings(gemini), store) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await stub.AnalyzePrompt(shortlist(), timeout=TIMEOUT_S)
    assert fault.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "LLM" in str(fault.value.details())
    assert len(gemini.requests) == 1


async def test_an_analysis_keeps_the_callers_deadline(gemini: GeminiStandIn, store: Store) -> None:
    gemini.replies = [NEVER] * 9
    async with categorizer(llm_settings(gemini), store) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await stub.AnalyzePrompt(shortlist(), timeout=2.0)
    assert fault.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_empty_prompt_is_the_callers_fault(store: Store) -> None:
    async with categorizer(NO_LLM, store) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await stub.AnalyzePrompt(pb.AnalyzePromptRequest(prompt="  "), timeout=TIMEOUT_S)
    assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_key_is_never_logged_or_answered(
    gemini: GeminiStandIn, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "wrong-key-8842"
    with caplog.at_level(logging.DEBUG):
        async with categorizer(llm_settings(gemini, gemini_api_key=wrong), store) as stub:
            assert wrong not in await refine_in_vain(stub, asking("read_file"))
            with pytest.raises(grpc.aio.AioRpcError) as fault:
                await stub.AnalyzePrompt(shortlist(), timeout=TIMEOUT_S)
    assert "401" in caplog.text
    assert wrong not in caplog.text
    assert wrong not in str(fault.value)
    assert KEY not in repr(llm_settings(gemini))
