"""Asking an LLM with patience: deadlines, retries of what may pass, a rate, and a breaker for what does not pass.

Owns the interface of providers and the order of these. Does not know what is asked (`llm_prompts`) or whose model it is
(`llm_gemini`, `llm_openai`, `llm_anthropic`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from hub_categorizer.key import Key
from hub_categorizer.llm_counts import Counts
from hub_categorizer.llm_faults import LlmFault, LlmGarbage, LlmPaused, LlmRefused, LlmTransient, what_is_read
from hub_categorizer.llm_prompts import Prompt
from hub_categorizer.pace import Pace
from hub_common.breaker import Breaker

__all__ = ["Llm", "LlmFault", "LlmGarbage", "LlmPaused", "LlmRefused", "LlmTransient", "Patience", "Provider"]

T = TypeVar("T")

STARTS_PER_S = 10.0


class Provider(Protocol):
    """One model of one provider. Whoever opens it closes it."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    async def answer(self, prompt: Prompt) -> str:
        """One attempt: the text of the answer. The caller's cancellation ends it; there is no deadline inside.

        Raises:
            LlmTransient, LlmRefused, LlmGarbage: there is none. Anything else: the SDK stumbled over what came.
        """
        ...

    async def check(self) -> None:
        """Ask whether the key is taken and the model is there, at no cost. One attempt, no deadline inside.

        Raises:
            LlmTransient, LlmRefused, LlmGarbage: it is not, or nobody said. Anything else as in `answer`.
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
    """A provider, asked with patience. `pace` is over all questions; `clock` gives seconds that only grow."""

    def __init__(
        self,
        provider: Provider,
        patience: Patience,
        breaker: Breaker,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._patience = patience
        self._pace = pace or Pace(STARTS_PER_S)
        self._clock = clock
        self.breaker = breaker
        self.counts = Counts()
        self.key = Key(provider)

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self._provider.name

    @property
    def model(self) -> str:
        """The model's name."""
        return self._provider.model

    @property
    def calls(self) -> int:
        """Questions asked."""
        return self.counts.calls

    @property
    def failures(self) -> int:
        """Questions that came to nothing."""
        return self.counts.failures

    async def ask(self, prompt: Prompt, read: Callable[[str], T], within_s: float | None = None) -> T:
        """Ask, and give the answer to `read`, which raises ValueError for one it cannot use.

        `within_s` bounds all attempts together, in seconds.

        Raises:
            LlmFault: no usable answer.
        """
        # The probe of a breaker that is half open is one attempt: what it is to find out is known after that.
        retries = self._patience.retries if self.breaker.state == "closed" else 0
        if not self.breaker.allow():
            raise LlmPaused(f"left alone for {self.breaker.retry_after_s:.0f} s after repeated failures")
        self.counts.calls += 1
        began_s = self._clock()
        try:
            answer = await self._within(prompt, within_s, retries)
        except LlmFault as fault:
            self._failed(fault)
            self.counts.took(self._clock() - began_s)
            raise
        self.breaker.success()
        self.key.taken()
        self.counts.took(self._clock() - began_s)
        try:
            usable = read(answer)
        except ValueError as fault:
            self.counts.failures += 1
            raise LlmGarbage(f"unusable answer: {fault}") from None
        self.counts.successes += 1
        return usable

    async def close(self) -> None:
        """Close the provider."""
        await self._provider.close()

    def _failed(self, fault: LlmFault) -> None:
        self.counts.failures += 1
        was_open = self.breaker.state == "open"
        self.breaker.failure()
        if not was_open and self.breaker.state == "open":
            self.counts.breaker_trips += 1
        if isinstance(fault, LlmRefused):
            self.key.refused(fault)

    async def _within(self, prompt: Prompt, within_s: float | None, retries: int) -> str:
        try:
            async with asyncio.timeout(within_s):
                return await self._attempts(prompt, retries)
        except TimeoutError:
            self.counts.timeouts += 1
            raise LlmTransient("no answer in time") from None

    async def _attempts(self, prompt: Prompt, retries: int) -> str:
        pause_s = self._patience.backoff_s
        for _ in range(retries):
            try:
                return await self._attempt(prompt)
            except LlmTransient as fault:
                wished_s = fault.retry_after_s or 0.0
                if wished_s > self._patience.max_backoff_s:
                    raise
            # Half of the pause is chance, so that questions that failed together are not asked again together.
            await asyncio.sleep(max(wished_s, pause_s * random.uniform(0.5, 1.0)))
            pause_s = min(pause_s * 2, self._patience.max_backoff_s)
            self.counts.retries += 1
        return await self._attempt(prompt)

    async def _attempt(self, prompt: Prompt) -> str:
        await self._pace.turn()
        try:
            async with asyncio.timeout(self._patience.timeout_s):
                with what_is_read():
                    return await self._provider.answer(prompt)
        except TimeoutError:
            self.counts.timeouts += 1
            raise LlmTransient(f"no answer within {self._patience.timeout_s:g} s") from None
