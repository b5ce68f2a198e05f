"""Gemini as a provider, through Google's own SDK.

Owns the translation of a question into `generateContent` with structured output, and of the SDK's failures into ours.
Importing it costs the SDK's import, so it is imported only where a key is given.

Source: Gemini API, Structured output; Thinking; Troubleshooting (error codes); google.rpc.RetryInfo and ErrorInfo.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from google.genai import errors, types
from google.genai.client import Client

from hub_categorizer.llm_faults import LlmGarbage, LlmRefused, LlmTransient, of_status, told
from hub_categorizer.llm_prompts import Prompt

T = TypeVar("T")

NAME = "gemini"

_STUMBLES = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What the SDK raises over an answer that it cannot read; an HTTP library's errors are none of these."""

_SECONDS = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")


class Gemini:
    """See `hub_categorizer.llm.Provider`."""

    def __init__(self, api_key: str, model: str, base_url: str | None, temperature: float) -> None:
        self._key = api_key
        self._model = model
        self._temperature = temperature
        # No timeout here: the SDK would pass it on as a server deadline, which the API refuses below ten seconds. No
        # retry options either: attempts are counted in one place, `llm`.
        options = types.HttpOptions(base_url=base_url)
        # Named explicitly, or the environment could turn this into a Vertex AI client.
        self._client = Client(api_key=api_key, vertexai=False, http_options=options)

    @property
    def name(self) -> str:
        return NAME

    @property
    def model(self) -> str:
        return self._model

    async def answer(self, prompt: Prompt) -> str:
        config = types.GenerateContentConfig(
            system_instruction=prompt.system,
            temperature=self._temperature,
            response_mime_type="application/json",
            response_json_schema=prompt.schema,
            thinking_config=_thinking(self._model),
        )
        models: Any = self._client.aio.models
        response: types.GenerateContentResponse = await self._call(
            models.generate_content(model=self._model, contents=prompt.data, config=config)
        )
        return self._text(response)

    async def check(self) -> None:
        await self._call(self._client.aio.models.get(model=self._model))

    async def close(self) -> None:
        await self._client.aio.aclose()
        self._client.close()

    async def _call(self, asking: Awaitable[T]) -> T:
        try:
            return await asking
        except errors.APIError as fault:
            raise self._translated(fault) from None
        except _STUMBLES:
            raise
        except Exception as fault:
            # The SDK lets its HTTP library's errors through, and which library that is depends on the installation.
            raise LlmTransient(f"not reachable ({type(fault).__name__})") from None

    def _text(self, response: types.GenerateContentResponse) -> str:
        text = response.text
        if not text:
            candidates = response.candidates or []
            reason = candidates[0].finish_reason if candidates else None
            raise LlmGarbage(f"no text in the answer ({reason.value if reason is not None else 'no candidate'})")
        return text

    def _translated(self, fault: errors.APIError) -> LlmTransient | LlmRefused:
        details = cast(Any, fault).details
        # A key that does not exist is answered with 400, and only the details tell it from a bad question.
        bad_key = "API_KEY_INVALID" in str(details)
        words = told(fault.code, fault.status, fault.message, self._key)
        return of_status(fault.code, words, retry_after_s=_retry_after_s(details), of_key=bad_key)


def _thinking(model: str) -> types.ThinkingConfig | None:
    """As little as the model allows: sorting tools needs none, and it multiplies time and price."""
    if model.startswith("gemini-2.5-flash"):
        return types.ThinkingConfig(thinking_budget=0)
    if model.startswith("gemini-3"):
        return types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW)
    return None


def _retry_after_s(details: Any) -> float | None:
    """The `retryDelay` of a RetryInfo among the error's details, in seconds."""
    found = _SECONDS.search(str(_retry_delay(details)))
    return float(found.group(1)) if found else None


def _retry_delay(details: Any) -> Any:
    inner: list[Any] = []
    if isinstance(details, dict):
        members = cast("dict[str, Any]", details)
        if "retryDelay" in members:
            return members["retryDelay"]
        inner = [members.get("error"), members.get("details")]
    elif isinstance(details, list):
        inner = cast("list[Any]", details)
    return next((found for found in map(_retry_delay, inner) if found is not None), None)


def open_gemini(api_key: str, model: str, base_url: str | None, temperature: float) -> Gemini:
    """Open the provider; asks nothing yet."""
    return Gemini(api_key, model, base_url, temperature)
