"""The LLM asked with patience, Gemini's own SDK over HTTP to a stand-in."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub_categorizer.llm import Llm, LlmGarbage, LlmRefused, LlmTransient, Patience
from hub_categorizer.llm_gemini import open_gemini
from hub_categorizer.llm_prompts import Prompt
from hub_common.breaker import Breaker
from tests.unit.categorizer.gemini_stand_in import (
    KEY,
    NEVER,
    GeminiStandIn,
    Reply,
    error_reply,
    json_reply,
    text_reply,
)

pytestmark = pytest.mark.anyio

PROMPT = Prompt("be brief", '{"items": []}', {"type": "object", "properties": {"a": {"type": "integer"}}})
PATIENCE = Patience(timeout_s=10.0, retries=2, backoff_s=0.001, max_backoff_s=0.01)
UNAVAILABLE = error_reply(503, "UNAVAILABLE", "overloaded")
TOO_MANY = error_reply(429, "RESOURCE_EXHAUSTED", "quota")


@asynccontextmanager
async def open_llm(
    gemini: GeminiStandIn,
    *,
    key: str = KEY,
    url: str | None = None,
    model: str = "gemini-2.5-flash",
    patience: Patience = PATIENCE,
) -> AsyncIterator[Llm]:
    llm = Llm(open_gemini(key, model, url or gemini.url, 0.0), patience, Breaker(2, 30.0, time.monotonic))
    try:
        yield llm
    finally:
        await llm.close()


async def test_an_answer_is_asked_for_with_its_schema(gemini: GeminiStandIn) -> None:
    gemini.replies = [json_reply({"a": 1})]
    async with open_llm(gemini) as llm:
        assert await llm.ask(PROMPT, json.loads) == {"a": 1}
        assert (llm.provider, llm.model, llm.calls, llm.failures) == ("gemini", "gemini-2.5-flash", 1, 0)
    (request,) = gemini.requests
    generation = request["generationConfig"]
    assert generation["responseMimeType"] == "application/json"
    assert generation["responseJsonSchema"] == PROMPT.schema
    assert generation["thinkingConfig"] == {"thinking_budget": 0}
    assert request["systemInstruction"]["parts"] == [{"text": "be brief"}]


@pytest.mark.parametrize(
    ("model", "thinking"), [("gemini-2.5-pro", None), ("gemini-3-flash", {"thinking_level": "LOW"})]
)
async def test_thinking_is_as_little_as_the_model_allows(
    gemini: GeminiStandIn, model: str, thinking: dict[str, str] | None
) -> None:
    async with open_llm(gemini, model=model) as llm:
        await llm.ask(PROMPT, json.loads)
    assert gemini.requests[0]["generationConfig"].get("thinkingConfig") == thinking


@pytest.mark.parametrize("passing", [TOO_MANY, error_reply(500, "INTERNAL", "oops"), UNAVAILABLE, Reply(502, "<html>")])
async def test_what_may_pass_is_asked_again(gemini: GeminiStandIn, passing: Reply) -> None:
    gemini.replies = [passing, passing, json_reply("fine")]
    async with open_llm(gemini) as llm:
        assert await llm.ask(PROMPT, json.loads) == "fine"
        assert (llm.calls, llm.failures) == (1, 0)
    assert len(gemini.requests) == 3


async def test_what_does_not_pass_ends(gemini: GeminiStandIn) -> None:
    gemini.replies = [UNAVAILABLE] * 9
    async with open_llm(gemini) as llm:
        with pytest.raises(LlmTransient, match="503 UNAVAILABLE overloaded"):
            await llm.ask(PROMPT, json.loads)
        assert (llm.calls, llm.failures) == (1, 1)
    assert len(gemini.requests) == 1 + PATIENCE.retries


@pytest.mark.parametrize(
    ("code", "status"),
    [(400, "INVALID_ARGUMENT"), (401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (404, "NOT_FOUND")],
)
async def test_a_refusal_is_not_asked_again(gemini: GeminiStandIn, code: int, status: str) -> None:
    gemini.replies = [error_reply(code, status, "no")] * 9
    async with open_llm(gemini) as llm:
        with pytest.raises(LlmRefused, match=f"{code} {status} no"):
            await llm.ask(PROMPT, json.loads)
    assert len(gemini.requests) == 1


async def test_a_bad_key_is_refused_and_not_repeated(gemini: GeminiStandIn) -> None:
    async with open_llm(gemini, key="wrong-key-123") as llm:
        with pytest.raises(LlmRefused) as refused:
            await llm.ask(PROMPT, json.loads)
    assert "401 UNAUTHENTICATED bad key [redacted]" in str(refused.value)


async def test_a_wait_the_provider_asks_for_beyond_our_patience_ends_at_once(gemini: GeminiStandIn) -> None:
    retry_info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
    gemini.replies = [error_reply(429, "RESOURCE_EXHAUSTED", "quota", retry_info)] * 9
    async with open_llm(gemini) as llm:
        with pytest.raises(LlmTransient) as fault:
            await llm.ask(PROMPT, json.loads)
    assert fault.value.retry_after_s == 34.07
    assert len(gemini.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        text_reply("not json"),
        text_reply(""),
        Reply(200, "<html>"),
        Reply(200, {}),
        Reply(200, {"candidates": [{"finishReason": "SAFETY"}]}),
        Reply(200, {"promptFeedback": {"blockReason": "SAFETY"}}),
    ],
)
async def test_garbage_is_told_and_not_asked_again(gemini: GeminiStandIn, reply: Reply) -> None:
    gemini.replies = [reply] * 9
    async with open_llm(gemini) as llm:
        with pytest.raises(LlmGarbage):
            await llm.ask(PROMPT, json.loads)
        assert llm.failures == 1
    assert len(gemini.requests) == 1


async def test_an_attempt_has_a_limit(gemini: GeminiStandIn) -> None:
    gemini.replies = [NEVER, json_reply("fine")]
    async with open_llm(gemini, patience=PATIENCE._replace(timeout_s=0.5)) as llm:
        assert await llm.ask(PROMPT, json.loads) == "fine"
    assert gemini.hung_up.wait(10)


async def test_all_attempts_together_have_the_callers_limit(gemini: GeminiStandIn) -> None:
    gemini.replies = [NEVER]
    async with open_llm(gemini) as llm:
        with pytest.raises(LlmTransient, match="no answer in time"):
            await llm.ask(PROMPT, json.loads, within_s=0.3)
        assert llm.failures == 1


async def test_nobody_there_is_told_without_secrets(gemini: GeminiStandIn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with open_llm(gemini, url=f"http://127.0.0.1:{port}") as llm:
        with pytest.raises(LlmTransient, match="not reachable"):
            await llm.ask(PROMPT, json.loads)


async def test_a_key_that_does_not_exist_is_told_from_a_bad_question(gemini: GeminiStandIn) -> None:
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    gemini.replies = [error_reply(400, "INVALID_ARGUMENT", "no", reason), error_reply(400, "INVALID_ARGUMENT", "no")]
    async with open_llm(gemini) as llm:
        with pytest.raises(LlmRefused) as fault:
            await llm.ask(PROMPT, json.loads)
        assert fault.value.of_key
        assert (llm.key.status.state, llm.key.status.http_status) == ("refused", 400)
        with pytest.raises(LlmRefused) as fault:
            await llm.ask(PROMPT, json.loads)
        assert not fault.value.of_key


async def test_cancelling_hangs_up(gemini: GeminiStandIn) -> None:
    gemini.replies = [NEVER]
    async with open_llm(gemini) as llm:
        asking = asyncio.ensure_future(llm.ask(PROMPT, json.loads))
        await asyncio.to_thread(gemini.asked.wait, 10)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await asyncio.to_thread(gemini.hung_up.wait, 10)


def test_the_key_is_in_no_text_of_the_provider() -> None:
    provider: Any = open_gemini(KEY, "m", None, 0.0)
    assert KEY not in f"{provider!r} {provider}"
