"""OpenAI as a provider, through its own SDK; also whatever else speaks Chat Completions at another address.

Owns the translation of a question into a chat completion with structured output, and of the SDK's failures into ours.
Importing it needs the extra `openai`.

Source: OpenAI API reference, Chat Completions, Models; Structured outputs; Error codes.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

import openai

from hub_categorizer.llm_faults import LlmGarbage, LlmRefused, LlmTransient, of_status, retry_after_s, told
from hub_categorizer.llm_prompts import Prompt

T = TypeVar("T")

NAME = "openai"
BASE_URL = "https://api.openai.com/v1"

_REASONING = re.compile(r"(?:o[0-9]|gpt-(?:[5-9]|[1-9][0-9]))")
"""Families that think before they answer: they take no temperature, and thought can be asked to be short."""


class OpenAi:
    """See `hub_categorizer.llm.Provider`."""

    def __init__(self, api_key: str, model: str, base_url: str | None, temperature: float) -> None:
        self._key = api_key
        self._model = model
        self._manner: dict[str, Any] = {"temperature": temperature}
        if _REASONING.match(model):
            self._manner = {"reasoning_effort": "low"}
        # The address is named, or the environment could send the key elsewhere. No retries and no timeout: attempts and
        # their limit are counted in one place, `llm`.
        self._client = openai.AsyncOpenAI(api_key=api_key, base_url=base_url or BASE_URL, max_retries=0, timeout=None)

    @property
    def name(self) -> str:
        return NAME

    @property
    def model(self) -> str:
        return self._model

    async def answer(self, prompt: Prompt) -> str:
        completions: Any = self._client.chat.completions
        completion: Any = await self._call(
            completions.create(
                model=self._model,
                messages=[{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.data}],
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "strict": True, "schema": prompt.schema},
                },
                **self._manner,
            )
        )
        return _text(completion)

    async def check(self) -> None:
        await self._call(self._client.models.retrieve(self._model))

    async def close(self) -> None:
        await self._client.close()

    async def _call(self, asking: Awaitable[T]) -> T:
        try:
            return await asking
        except openai.APIStatusError as fault:
            raise self._translated(fault) from None
        except openai.APIConnectionError as fault:
            raise LlmTransient(f"not reachable ({type(fault.__cause__ or fault).__name__})") from None

    def _translated(self, fault: openai.APIStatusError) -> LlmTransient | LlmRefused:
        words = told(fault.status_code, fault.code or fault.type, _words(fault), self._key)
        # A quota that is used up is a 429 too, and waiting does not fill it.
        used_up = fault.code == "insufficient_quota"
        return of_status(
            fault.status_code, words, retry_after_s=retry_after_s(fault.response.headers), for_good=used_up
        )


def _words(fault: openai.APIStatusError) -> object:
    """The provider's own words, which the SDK wraps in its own."""
    body = fault.body
    return cast("dict[str, Any]", body).get("message") if isinstance(body, dict) else fault.message


def _text(completion: Any) -> str:
    choices = getattr(completion, "choices", None)
    if not choices:
        raise LlmGarbage("no choice in the answer")
    text = getattr(choices[0].message, "content", None)
    if not isinstance(text, str) or not text:
        raise LlmGarbage(f"no text in the answer ({choices[0].finish_reason})")
    return text


def open_openai(api_key: str, model: str, base_url: str | None, temperature: float) -> OpenAi:
    """Open the provider; asks nothing yet. `base_url` includes the version, as in `https://api.openai.com/v1`."""
    return OpenAi(api_key, model, base_url, temperature)
