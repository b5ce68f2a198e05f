"""Asking the LLM about definitions it has not seen: which go into one question, and what its answer is worth.

Owns the batches and what becomes of an answer. Does not know the rpc or who waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_categorizer import llm_prompts as prompts
from hub_categorizer import messages
from hub_categorizer.cache import Cache, Decision
from hub_categorizer.claims import Claims
from hub_categorizer.llm import Llm, LlmFault, LlmPaused, LlmRefused

SOURCE_LLM = "llm"

LOOK_S = 0.5
"""How often one looks whether another, who asks about the same, has its answer."""

_log = logging.getLogger(__name__)


class Known(NamedTuple):
    """A definition of one request with what is known of it without the LLM."""

    definition: pb.Definition
    key: str
    assignment: pb.Assignment


def batches(known: Sequence[Known], size: int) -> list[list[Known]]:
    """What is asked together, each key once, the doubtful first: where the patterns are least sure there is most to
    gain.

    A batch holds definitions of one upstream only. Whatever a description talks the LLM into, it reaches none but its
    own author's entries.
    """
    by_upstream: dict[str, list[Known]] = {}
    for one in {one.key: one for one in known}.values():
        by_upstream.setdefault(one.definition.upstream_name, []).append(one)
    found: list[list[Known]] = []
    for ones in by_upstream.values():
        ones.sort(key=_doubt)
        found += [ones[at : at + size] for at in range(0, len(ones), size)]
    return sorted(found, key=lambda batch: _doubt(batch[0]))


def _doubt(one: Known) -> float:
    return one.assignment.confidence


class Refinement:
    """Decides by one LLM and keeps what it said. `clock` gives Unix seconds."""

    def __init__(self, llm: Llm, cache: Cache, claims: Claims, deadline_s: float, clock: Callable[[], float]) -> None:
        self._llm = llm
        self._cache = cache
        self._claims = claims
        self._deadline_s = deadline_s
        self._clock = clock
        self.unanswered = 0
        """Definitions of which the LLM said nothing, and may say something later."""
        self._is_paused = False

    async def decide(self, batch: Sequence[Known], categories: Sequence[str]) -> list[pb.Assignment]:
        """Ask for one batch, or wait for whoever asks for a part of it already, at most as long as a question may take.

        An LLM that does not answer, or not usably, leaves the batch as it was. One that refuses a question may take
        that of another server.

        Raises:
            LlmRefused: asking on is no use: it is the key that is refused.
        """
        assignments: list[pb.Assignment] = []
        open_ones = list(batch)
        for _ in range(1 + int(self._deadline_s / LOOK_S)):
            taken = await self._claims.take(one.key for one in open_ones)
            try:
                # Looked at only now: whoever let go of a claim has kept its answer before.
                decided = await self._cache.look([one.key for one in open_ones])
                assignments += [
                    messages.decided(one.definition, decided[one.key], cached=True)
                    for one in open_ones
                    if one.key in decided
                ]
                open_ones = [one for one in open_ones if one.key not in decided]
                if mine := [one for one in open_ones if one.key in taken]:
                    assignments += await self._ask(mine, categories)
            finally:
                await self._claims.release(taken)
            open_ones = [one for one in open_ones if one.key not in taken]
            if not open_ones:
                break
            await asyncio.sleep(LOOK_S)
        self.unanswered += len(open_ones)
        return assignments

    async def _ask(self, undecided: Sequence[Known], categories: Sequence[str]) -> list[pb.Assignment]:
        question = prompts.categorize([messages.subject(one.definition) for one in undecided], categories)
        try:
            answers = await self._llm.ask(
                question, lambda text: prompts.read_categories(text, len(undecided), categories), self._deadline_s
            )
        except LlmFault as fault:
            if isinstance(fault, LlmRefused) and fault.of_key:
                raise
            if fault.may_pass:
                self.unanswered += len(undecided)
            self._tell(fault, len(undecided))
            return []
        decisions: dict[str, Decision] = {}
        assignments: list[pb.Assignment] = []
        for one, answer in zip(undecided, answers, strict=True):
            if answer is not None:
                decision = self._decision(answer)
                decisions[one.key] = decision
                assignments.append(messages.decided(one.definition, decision, cached=False))
        await self._cache.keep(decisions)
        return assignments

    def _tell(self, fault: LlmFault, count: int) -> None:
        """Say why definitions are not refined; that the LLM is left alone, once for all of them: it goes on with its
        probe, and nothing is asked for the others."""
        if not isinstance(fault, LlmPaused):
            _log.warning("%d categories are not refined: %s: %s", count, self._llm.provider, fault)
        elif not self._is_paused:
            self._is_paused = True
            _log.warning("categories are not refined further: %s: %s", self._llm.provider, fault)

    def _decision(self, answer: prompts.Answer) -> Decision:
        category, confidence, keywords = answer
        now_ms = int(self._clock() * 1000)
        return Decision(category, confidence, SOURCE_LLM, self._llm.provider, self._llm.model, now_ms, keywords)
