"""The rpcs of `proto/hub/categorizer/v1`: patterns at once, the LLM when asked and when there is one.

Owns the order in which mappings, cache, patterns and LLM are heard. Whatever the LLM does, the service stays up and the
category that stood stands. Does not know the gateway.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, cast

import grpc
import grpc.aio

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub.categorizer.v1 import categorizer_pb2_grpc
from hub_categorizer import llm_prompts as prompts
from hub_categorizer.cache import Cache, Decision, key_of
from hub_categorizer.llm import Llm, LlmFault, LlmPaused, LlmRefused, Patience
from hub_categorizer.queue import Queue
from hub_categorizer.settings import Settings
from hub_categorizer.taxonomy import Mapping, Taxonomy
from hub_common import rpc_server
from hub_common.breaker import Breaker
from hub_common.logs import add_secret
from hub_common.rpc_server import RpcServer
from hub_common.store import Store
from hub_common.tasks import Tasks

SOURCE_LLM = "llm"

BREATH = 64
"""Definitions judged in one go: in between, the process may share its loop with the gateway."""

ANSWER_MARGIN_S = 0.25
"""What is left of a caller's deadline for the way back."""

# The caller's channel repeats calls that end UNAVAILABLE. Here that would ask the LLM again (gRPC A6, pushback).
_DO_NOT_RETRY = (("grpc-retry-pushback-ms", "-1"),)

_log = logging.getLogger(__name__)
_Context = grpc.aio.ServicerContext[Any, Any]


class _Known(NamedTuple):
    """A definition of one request with what is known of it without the LLM."""

    definition: pb.Definition
    key: str
    assignment: pb.Assignment


class Categorizer(categorizer_pb2_grpc.CategorizerServiceServicer):
    """See the proto file for what each rpc promises. `clock` gives Unix seconds. `llm` None means there is none."""

    def __init__(
        self, llm: Llm | None, cache: Cache, queue: Queue, batch: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._llm = llm
        self._cache = cache
        self._queue = queue
        self._batch = batch
        self._clock = clock

    async def Categorize(  # noqa: N802
        self, request: pb.CategorizeRequest, context: _Context
    ) -> pb.CategorizeResponse:
        del context
        known = await self._known(request, _taxonomy(request.taxonomy))
        return pb.CategorizeResponse(assignments=[one.assignment for one in known])

    async def Refine(  # noqa: N802
        self, request: pb.CategorizeRequest, context: _Context
    ) -> AsyncIterator[pb.Assignment]:
        del context
        llm = self._llm
        if llm is None:
            return
        taxonomy = _taxonomy(request.taxonomy)
        known = await self._known(request, taxonomy)
        for one in known:
            # Decided since the caller asked, by another caller or replica.
            if one.assignment.cached:
                yield one.assignment
        open_ones = {one.key: one for one in known if one.assignment.refinable}
        # Where the patterns are least sure there is most to gain.
        doubtful_first = sorted(open_ones.values(), key=lambda one: one.assignment.confidence)
        batches = [doubtful_first[at : at + self._batch] for at in range(0, len(doubtful_first), self._batch)]
        jobs = [partial(self._decide, llm, batch, taxonomy.categories) for batch in batches]
        try:
            async with aclosing(self._queue.results(jobs)) as results:
                async for assignments in results:
                    for assignment in assignments:
                        yield assignment
        except (LlmRefused, LlmPaused) as fault:
            _log.warning("categories are not refined further: %s: %s", llm.provider, fault)

    async def AnalyzePrompt(  # noqa: N802
        self, request: pb.AnalyzePromptRequest, context: _Context
    ) -> pb.AnalyzePromptResponse:
        if not request.prompt.strip():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the prompt is empty")
        llm = self._llm
        if llm is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no LLM is configured", _DO_NOT_RETRY)
        categories = _taxonomy(request.taxonomy).categories
        shortlist = [prompts.Candidate(one.public_name, one.category, one.description) for one in request.shortlist]
        question = prompts.analyze(request.prompt, request.context, shortlist, categories)
        try:
            choice = await llm.ask(
                question, lambda text: prompts.read_choice(text, shortlist, categories), _time_left_s(context)
            )
        except LlmFault as fault:
            _log.warning("a prompt is not analyzed: %s: %s", llm.provider, fault)
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the LLM gave no answer: {fault}", _DO_NOT_RETRY)
        return pb.AnalyzePromptResponse(
            categories=choice.categories,
            public_names=choice.public_names,
            confidence=choice.confidence,
            reasoning=choice.reasoning,
            model=llm.model,
        )

    async def Describe(self, request: pb.DescribeRequest, context: _Context) -> pb.DescribeResponse:  # noqa: N802
        del request, context
        answer = pb.DescribeResponse(
            cache_size=await self._cache.size(), cache_hits=self._cache.hits, cache_lookups=self._cache.lookups
        )
        if self._llm is not None:
            answer.llm_configured = True
            answer.provider, answer.model = self._llm.provider, self._llm.model
            answer.llm_calls, answer.llm_failures = self._llm.calls, self._llm.failures
        return answer

    async def _known(self, request: pb.CategorizeRequest, taxonomy: Taxonomy) -> list[_Known]:
        llm = self._llm
        definitions = list(request.definitions)
        keys = [self._key(llm, definition, taxonomy.categories) for definition in definitions]
        mapped = [taxonomy.mapped(one.upstream_name, one.local_name) for one in definitions]
        asked = [key for key, category in zip(keys, mapped, strict=True) if category is None and llm is not None]
        decided = await self._cache.find(asked) if asked else {}
        known: list[_Known] = []
        for place, (definition, key, category) in enumerate(zip(definitions, keys, mapped, strict=True)):
            if place % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            if category is not None:
                assignment = self._assignment(definition, category, 1.0, pb.SOURCE_MAPPING)
            elif key in decided:
                assignment = _decided(definition, decided[key], cached=True)
            else:
                verdict = taxonomy.judged(definition.upstream_name, definition.local_name, definition.description)
                assignment = self._assignment(definition, verdict.category, verdict.confidence, pb.SOURCE_PATTERN)
                assignment.refinable = llm is not None
            known.append(_Known(definition, key, assignment))
        return known

    async def _decide(self, llm: Llm, batch: Sequence[_Known], categories: Sequence[str]) -> list[pb.Assignment]:
        """Ask for one batch. An LLM that does not answer, or not usably, leaves the batch as it was.

        Raises:
            LlmRefused, LlmPaused: asking on is no use.
        """
        assignments: list[pb.Assignment] = []
        undecided: list[_Known] = []
        for one in batch:
            # Another call may have had it decided while this one waited in the queue.
            decision = self._cache.recall(one.key)
            if decision is None:
                undecided.append(one)
            else:
                assignments.append(_decided(one.definition, decision, cached=True))
        if not undecided:
            return assignments
        question = prompts.categorize([_subject(one.definition) for one in undecided], categories)
        try:
            answers = await llm.ask(question, lambda text: prompts.read_categories(text, len(undecided), categories))
        except (LlmRefused, LlmPaused):
            raise
        except LlmFault as fault:
            _log.warning("%d categories are not refined: %s: %s", len(undecided), llm.provider, fault)
            return assignments
        decisions: dict[str, Decision] = {}
        for one, answer in zip(undecided, answers, strict=True):
            if answer is not None:
                decision = self._decision(llm, answer)
                decisions[one.key] = decision
                assignments.append(_decided(one.definition, decision, cached=False))
        await self._cache.keep(decisions)
        return assignments

    def _decision(self, llm: Llm, answer: prompts.Answer) -> Decision:
        return Decision(answer.category, answer.confidence, SOURCE_LLM, llm.provider, llm.model, self._now_ms())

    def _assignment(
        self, definition: pb.Definition, category: str, confidence: float, source: pb.Source.ValueType
    ) -> pb.Assignment:
        return pb.Assignment(
            hash=definition.hash,
            category=category,
            confidence=confidence,
            source=source,
            decided_at_ms=self._now_ms(),
        )

    def _key(self, llm: Llm | None, definition: pb.Definition, categories: Sequence[str]) -> str:
        if llm is None:
            return ""
        return key_of(definition.hash, _subject(definition), llm.provider, llm.model, categories)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _taxonomy(message: pb.Taxonomy) -> Taxonomy:
    return Taxonomy.of(message.categories, [Mapping(one.pattern, one.category) for one in message.mappings])


def _subject(definition: pb.Definition) -> prompts.Subject:
    return prompts.Subject(definition.upstream_name, definition.local_name, definition.description)


def _decided(definition: pb.Definition, decision: Decision, *, cached: bool) -> pb.Assignment:
    return pb.Assignment(
        hash=definition.hash,
        category=decision.category,
        confidence=decision.confidence,
        source=pb.SOURCE_LLM,
        model=decision.model,
        decided_at_ms=decision.decided_at_ms,
        cached=cached,
    )


def _time_left_s(context: _Context) -> float | None:
    # None where the caller set no deadline, whatever the stub says.
    left_s = cast("float | None", context.time_remaining())
    return None if left_s is None else max(0.0, left_s - ANSWER_MARGIN_S)


async def start(
    settings: Settings, address: str, store: Store, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
) -> RpcServer:
    """Serve on `address` (`host:port` or `unix:/path`) until the returned server is stopped. The caller closes `store`.

    Raises:
        OSError: the address cannot be listened on.
    """
    llm = await _open_llm(settings)
    cache = Cache(store, settings.cache_ttl_s)
    servicer = Categorizer(llm, cache, Queue(settings.llm_concurrency), settings.llm_batch)

    def register(server: grpc.aio.Server) -> None:
        categorizer_pb2_grpc.add_CategorizerServiceServicer_to_server(servicer, server)

    server = await rpc_server.serve(address, register, name="categorizer", interceptors=interceptors)
    if llm is not None:
        Tasks("categorizer").spawn(_close_after(server, llm), "close-llm")
    return server


async def _open_llm(settings: Settings) -> Llm | None:
    if not settings.gemini_api_key:
        return None
    add_secret(settings.gemini_api_key)
    provider = await asyncio.to_thread(_open_provider, settings, settings.gemini_api_key)
    patience = Patience(
        settings.llm_timeout_s, settings.llm_retries, settings.llm_backoff_s, settings.llm_max_backoff_s
    )
    breaker = Breaker(settings.breaker_threshold, settings.breaker_open_s, time.monotonic)
    _log.info("categories are refined by %s %s", provider.name, provider.model)
    return Llm(provider, patience, breaker)


def _open_provider(settings: Settings, api_key: str) -> Any:
    # Imported here: only a process with a key pays for the SDK, and it pays in a thread.
    from hub_categorizer.llm_gemini import open_gemini

    return open_gemini(api_key, settings.gemini_model, settings.gemini_base_url, settings.temperature)


async def _close_after(server: RpcServer, llm: Llm) -> None:
    await server.wait()
    await llm.close()
