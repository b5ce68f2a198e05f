"""Asking an LLM with patience: deadlines, retries of what may pass, and a breaker for what does not.

Owns the interface of providers, the tree of their failures and the counting. Does not know what is asked
(`llm_prompts`) or whose model it is (`llm_gemini`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from hub_categorizer.llm_prompts import Prompt
from hub_common.breaker import Breaker

T = TypeVar("T")


class LlmFault(Exception):
    """The LLM gave no usable answer. The text says why and holds no secret."""


class LlmTransient(LlmFault):
    """It may answer next time. `retry_after_s` is the provider's own wish, None where it has none."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LlmRefused(LlmFault):
    """It will refuse this question, or this key, every time."""


class LlmGarbage(LlmFault):
    """It answered, but not what was asked."""


class LlmPaused(LlmFault):
    """It has failed so often that it is left alone for now; it was not asked."""


class Provider(Protocol):
    """One model of one provider. Whoever opens it closes it."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    async def answer(self, prompt: Prompt) -> str:
        """One attempt: the text of the answer. The caller's cancellation ends it; there is no deadline inside.

        Raises:
            LlmTransient, LlmRefused, LlmGarbage: there is none.
        """
        ...

    async def close(self) -> None: ...


class Patience(NamedTuple):
    """How long and how often: seconds per attempt, attempts after the first, the pause that doubles, its limit."""

    timeout_s: float
    retries: int
    backoff_s: float
    max_backoff_s: float


class Llm:
    """A provider, asked with patience. `calls` counts questions, `failures` those that came to nothing."""

    def __init__(self, provider: Provider, patience: Patience, breaker: Breaker) -> None:
        self._provider = provider
        self._patience = patience
        self._breaker = breaker
        self.calls = 0
        self.failures = 0

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self._provider.name

    @property
    def model(self) -> str:
        """The model's name."""
        return self._provider.model

    async def ask(self, prompt: Prompt, read: Callable[[str], T], within_s: float | None = None) -> T:
        """Ask, and give the answer to `read`, which raises ValueError for one it cannot use.

        `within_s` bounds all attempts together, in seconds.

        Raises:
            LlmFault: no usable answer.
        """
        if not self._breaker.allow():
            raise LlmPaused(f"left alone for {self._breaker.retry_after_s:.0f} s after repeated failures")
        self.calls += 1
        try:
            answer = await self._within(prompt, within_s)
        except LlmFault:
            self.failures += 1
            self._breaker.failure()
            raise
        self._breaker.success()
        try:
            return read(answer)
        except ValueError as fault:
            self.failures += 1
            raise LlmGarbage(f"unusable answer: {fault}") from None

    async def close(self) -> None:
        """Close the provider."""
        await self._provider.close()

    async def _within(self, prompt: Prompt, within_s: float | None) -> str:
        try:
            async with asyncio.timeout(within_s):
                return await self._attempts(prompt)
        except TimeoutError:
            raise LlmTransient("no answer in time") from None

    async def _attempts(self, prompt: Prompt) -> str:
        pause_s = self._patience.backoff_s
        for _ in range(self._patience.retries):
            try:
                return await self._attempt(prompt)
            except LlmTransient as fault:
                wished_s = fault.retry_after_s or 0.0
                if wished_s > self._patience.max_backoff_s:
                    raise
            # Half of the pause is chance, so that questions that failed together are not asked again together.
            await asyncio.sleep(max(wished_s, pause_s * random.uniform(0.5, 1.0)))
            pause_s = min(pause_s * 2, self._patience.max_backoff_s)
        return await self._attempt(prompt)

    async def _attempt(self, prompt: Prompt) -> str:
        try:
            async with asyncio.timeout(self._patience.timeout_s):
                return await self._provider.answer(prompt)
        except TimeoutError:
            raise LlmTransient(f"no answer within {self._patience.timeout_s:g} s") from None
