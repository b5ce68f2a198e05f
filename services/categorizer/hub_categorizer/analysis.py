"""What a prompt needs, as the LLM sees it: once per prompt, then from the cache.

Owns the bound on prompts under way and what is remembered of one. Does not know the rpc.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hub_categorizer import llm_prompts as prompts
from hub_categorizer.cache import Analyzed, prompt_key_of
from hub_categorizer.llm import Llm, LlmPaused


class Asked(NamedTuple):
    """A prompt, what is known of its surroundings, and what the answer may choose from."""

    prompt: str
    context: str
    shortlist: Sequence[prompts.Candidate]
    categories: Sequence[str]


class Analyses:
    """Analyses by one LLM. At most `width` are under way; for more, the caller has the better answer at hand."""

    def __init__(self, llm: Llm, kept: Analyzed, width: int) -> None:
        self._llm = llm
        self._width = width
        self._running = 0
        self.kept = kept

    async def of(self, asked: Asked, within_s: float | None) -> tuple[prompts.Choice, bool]:
        """The choice, and whether it comes from the cache. Takes at most `within_s` seconds.

        Raises:
            LlmFault: no usable answer, or too many prompts at a time.
        """
        about = (self._llm.provider, self._llm.model, asked.categories)
        key = prompt_key_of(asked.prompt, asked.context, asked.shortlist, about)
        if kept := (await self.kept.find([key])).get(key):
            return kept, True
        if self._running >= self._width:
            raise LlmPaused("busy with other prompts")
        question = prompts.analyze(*asked)
        self._running += 1
        try:
            choice = await self._llm.ask(
                question, lambda text: prompts.read_choice(text, asked.shortlist, asked.categories), within_s
            )
        finally:
            self._running -= 1
        await self.kept.keep({key: choice})
        return choice, False
