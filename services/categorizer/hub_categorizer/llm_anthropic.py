"""Anthropic as a provider, through its own SDK.

Owns the translation of a question into a message with structured output, and of the SDK's failures into ours. Importing
it needs the extra `anthropic`. The SDK knows no temperature, so none is sent.

Source: Claude API reference, Messages, Models, Errors; Structured outputs.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar, cast

import anthropic

from hub_categorizer.llm_faults import LlmGarbage, LlmRefused, LlmTransient, of_status, retry_after_s, told
from hub_categorizer.llm_prompts import Prompt

T = TypeVar("T")

NAME = "anthropic"
BASE_URL = "https://api.anthropic.com"

MAX_TOKENS = 8_192
"""What the largest batch takes; the API wants a limit."""


class Anthropic:
    """See `hub_categorizer.llm.Provider`. `version` is the `anthropic-version` header, None for the SDK's own."""

    def __init__(self, api_key: str, model: str, base_url: str | None, version: str | None) -> None:
        self._key = api_key
        self._model = model
        # As for OpenAI: the address is named, and attempts are counted in `llm`.
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url or BASE_URL,
            max_retries=0,
            timeout=None,
            default_headers={"anthropic-version": version} if version else None,
        )

    @property
    def name(self) -> str:
        return NAME

    @property
    def model(self) -> str:
        return self._model

    async def answer(self, prompt: Prompt) -> str:
        messages: Any = self._client.messages
        message: Any = await self._call(
            messages.create(
                model=self._model,
                max_tokens=MAX_TOKENS,
                system=prompt.system,
                messages=[{"role": "user", "content": prompt.data}],
                output_config={"format": {"type": "json_schema", "schema": prompt.schema}},
            )
        )
        return _text(message)

    async def check(self) -> None:
        await self._call(self._client.models.retrieve(self._model))

    async def close(self) -> None:
        await self._client.close()

    async def _call(self, asking: Awaitable[T]) -> T:
        try:
            return await asking
        except anthropic.APIStatusError as fault:
            raise self._translated(fault) from None
        except anthropic.APIConnectionError as fault:
            raise LlmTransient(f"not reachable ({type(fault.__cause__ or fault).__name__})") from None

    def _translated(self, fault: anthropic.APIStatusError) -> LlmTransient | LlmRefused:
        words = told(fault.status_code, fault.type, fault.api_message or fault.message, self._key)
        return of_status(fault.status_code, words, retry_after_s=retry_after_s(fault.response.headers))


def _text(message: Any) -> str:
    # What is no message at all, the SDK hands out as it came.
    blocks: Any = getattr(message, "content", None)
    texts: list[str] = []
    for block in cast("list[Any]", blocks) if isinstance(blocks, list) else []:
        text: Any = getattr(block, "text", None)
        if getattr(block, "type", None) == "text" and isinstance(text, str):
            texts.append(text)
    if not "".join(texts):
        raise LlmGarbage(f"no text in the answer ({getattr(message, 'stop_reason', None)})")
    return "".join(texts)


def open_anthropic(api_key: str, model: str, base_url: str | None, version: str | None) -> Anthropic:
    """Open the provider; asks nothing yet. `base_url` is without the version, as in `https://api.anthropic.com`."""
    return Anthropic(api_key, model, base_url, version)
