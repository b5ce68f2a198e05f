"""The rpcs of `proto/hub/categorizer/v1`: patterns at once, the LLM when asked and when there is one.

Owns the order in which overrides, mappings, cache, patterns and LLM are heard. Whatever the LLM does, the service
stays up and the category that stood stands. Does not know the gateway.
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
from hub_categorizer import messages
from hub_categorizer.analysis import Analyses, Asked
from hub_categorizer.cache import Analyzed, Cache, key_of
from hub_categorizer.claims import Claims
from hub_categorizer.described import llm_stats, provider_status
from hub_categorizer.key import Status
from hub_categorizer.llm import Llm, LlmFault, LlmRefused
from hub_categorizer.llm_faults import ProviderAbsent
from hub_categorizer.providers import open_llm
from hub_categorizer.queue import Queue, QueueFull
from hub_categorizer.refinement import Known, Refinement, batches
from hub_categorizer.settings import Settings
from hub_categorizer.taxonomy import Taxonomy, judgements_recalled
from hub_common import rpc_server
from hub_common.rpc_server import RpcServer
from hub_common.store import Store
from hub_common.tasks import Tasks

BREATH = 64
"""Definitions judged in one go: in between, the process may share its loop with the gateway."""

CLAIM_MARGIN_S = 5.0
"""What a claim lasts beyond the question it is for."""

ANSWER_MARGIN_S = 0.25
"""What is left of a caller's deadline for the way back."""

# The caller's channel repeats calls that end UNAVAILABLE. Here that would ask the LLM again (gRPC A6, pushback).
_DO_NOT_RETRY = (("grpc-retry-pushback-ms", "-1"),)

_log = logging.getLogger(__name__)
_Context = grpc.aio.ServicerContext[Any, Any]


class Asking(NamedTuple):
    """An LLM and all that stands in front of it. `batch` is definitions per question, `deadline_s` seconds for one
    question with all its attempts."""

    llm: Llm
    analyses: Analyses
    queue: Queue
    claims: Claims
    batch: int
    deadline_s: float


class Categorizer(categorizer_pb2_grpc.CategorizerServiceServicer):
    """See the proto file for what each rpc promises. `clock` gives Unix seconds.

    `asking` is an LLM, or why there is none though one is configured, or None.
    """

    def __init__(self, asking: Asking | Status | None, cache: Cache, clock: Callable[[], float] = time.time) -> None:
        self._asking = asking if isinstance(asking, Asking) else None
        self._llm = self._asking.llm if self._asking else None
        self._absent = asking if isinstance(asking, Status) else None
        self._cache = cache
        self._clock = clock
        self._lookups = 0
        self._hits = 0

    async def Categorize(  # noqa: N802
        self, request: pb.CategorizeRequest, context: _Context
    ) -> pb.CategorizeResponse:
        del context
        known = await self._known(request, messages.taxonomy(request.taxonomy))
        return pb.CategorizeResponse(assignments=[one.assignment for one in known])

    async def Refine(  # noqa: N802
        self, request: pb.CategorizeRequest, context: _Context
    ) -> AsyncIterator[pb.Assignment]:
        asking = self._asking
        if asking is None:
            return
        taxonomy = messages.taxonomy(request.taxonomy)
        known = await self._known(request, taxonomy)
        for one in known:
            # Decided since the caller asked, by another caller or replica.
            if one.assignment.cached:
                yield one.assignment
        refinement = Refinement(asking.llm, self._cache, asking.claims, asking.deadline_s, self._clock)
        open_ones = [one for one in known if one.assignment.refinable]
        jobs = [partial(refinement.decide, each, taxonomy.categories) for each in batches(open_ones, asking.batch)]
        try:
            async with aclosing(asking.queue.results(jobs)) as results:
                async for assignments in results:
                    for assignment in assignments:
                        yield assignment
        except LlmRefused as fault:
            _log.warning("categories are not refined further: %s: %s", asking.llm.provider, fault)
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the LLM gave no answer: {fault}", _DO_NOT_RETRY)
        except QueueFull as fault:
            _log.warning("some categories are refined later: %s", fault)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the LLM's queue is full: {fault}")
        if refinement.unanswered:
            why = f"the LLM gave no answer for {refinement.unanswered} definitions"
            await context.abort(grpc.StatusCode.UNAVAILABLE, why, _DO_NOT_RETRY)

    async def AnalyzePrompt(  # noqa: N802
        self, request: pb.AnalyzePromptRequest, context: _Context
    ) -> pb.AnalyzePromptResponse:
        if not request.prompt.strip():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the prompt is empty")
        asking = self._asking
        if asking is None:
            why = f"no LLM: {self._absent.reason}" if self._absent else "no LLM is configured"
            await context.abort(grpc.StatusCode.UNAVAILABLE, why, _DO_NOT_RETRY)
        shortlist = [prompts.Candidate(one.public_name, one.category, one.description) for one in request.shortlist]
        asked = Asked(request.prompt, request.context, shortlist, messages.taxonomy(request.taxonomy).categories)
        try:
            choice, cached = await asking.analyses.of(asked, _time_left_s(context))
        except LlmFault as fault:
            _log.warning("a prompt is not analyzed: %s: %s", asking.llm.provider, fault)
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the LLM gave no answer: {fault}", _DO_NOT_RETRY)
        return pb.AnalyzePromptResponse(
            categories=choice.categories,
            public_names=choice.public_names,
            confidence=choice.confidence,
            reasoning=choice.reasoning,
            model=asking.llm.model,
            requests=choice.requests,
            cached=cached,
        )

    async def Describe(self, request: pb.DescribeRequest, context: _Context) -> pb.DescribeResponse:  # noqa: N802
        del context
        answer = pb.DescribeResponse(
            cache_size=await self._cache.size(),
            cache_hits=self._cache.hits,
            cache_lookups=self._cache.lookups,
            cache_ttl_s=self._cache.ttl_s,
            cache_memory_bytes=self._cache.memory_bytes,
            category_lookups=self._lookups,
            category_hits=self._hits,
        )
        if self._absent is not None:
            answer.provider_status.CopyFrom(provider_status(self._absent))
        if self._asking is not None:
            llm = self._asking.llm
            status = await llm.key.check() if request.check_key else llm.key.status
            answer.llm_configured = True
            answer.provider, answer.model = llm.provider, llm.model
            answer.llm_calls, answer.llm_failures = llm.calls, llm.failures
            answer.provider_status.CopyFrom(provider_status(status))
            answer.llm.CopyFrom(llm_stats(llm, self._asking.queue, self._asking.analyses.kept))
        return answer

    async def _known(self, request: pb.CategorizeRequest, taxonomy: Taxonomy) -> list[Known]:
        llm = self._llm
        definitions = list(request.definitions)
        keys = [self._key(llm, definition, taxonomy.categories) for definition in definitions]
        overrides = {one.public_name: one.category for one in request.taxonomy.overrides}
        fixed = [messages.fixed(one, overrides, taxonomy) for one in definitions]
        asked = [key for key, by_hand in zip(keys, fixed, strict=True) if by_hand is None and llm is not None]
        decided = await self._cache.find(asked) if asked else {}
        known: list[Known] = []
        for place, (definition, key, by_hand) in enumerate(zip(definitions, keys, fixed, strict=True)):
            if place % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            if by_hand is not None:
                assignment = self._assignment(definition, by_hand[0], 1.0, by_hand[1])
            elif key in decided:
                self._lookups += 1
                self._hits += 1
                assignment = messages.decided(definition, decided[key], cached=True)
            else:
                assignment = self._judged(definition, taxonomy)
                assignment.refinable = llm is not None
            known.append(Known(definition, key, assignment))
        return known

    def _judged(self, definition: pb.Definition, taxonomy: Taxonomy) -> pb.Assignment:
        before = judgements_recalled()
        verdict = taxonomy.judged(definition.upstream_name, definition.local_name, definition.description)
        self._lookups += 1
        self._hits += judgements_recalled() - before
        return self._assignment(definition, verdict.category, verdict.confidence, pb.SOURCE_PATTERN)

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
        return key_of(definition.hash, messages.subject(definition), llm.provider, llm.model, categories)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


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
    asking = await _asking(settings, store)
    servicer = Categorizer(asking, Cache(store, settings.cache_ttl_s))

    def register(server: grpc.aio.Server) -> None:
        categorizer_pb2_grpc.add_CategorizerServiceServicer_to_server(servicer, server)

    server = await rpc_server.serve(address, register, name="categorizer", interceptors=interceptors)
    if isinstance(asking, Asking):
        tasks = Tasks("categorizer")
        tasks.spawn(asking.llm.key.watch(), "key")
        tasks.spawn(_close_after(server, asking.llm, tasks), "close-llm")
    return server


async def _asking(settings: Settings, store: Store) -> Asking | Status | None:
    try:
        llm = await open_llm(settings)
    except ProviderAbsent as fault:
        _log.error("categories come from patterns alone: %s", fault)
        return Status("no-package", None, str(fault))
    if llm is None:
        return None
    analyses = Analyses(llm, Analyzed(store, settings.cache_ttl_s), settings.llm_concurrency)
    queue = Queue(settings.llm_concurrency, settings.llm_queue)
    claims = Claims(store, settings.llm_deadline_s + CLAIM_MARGIN_S)
    return Asking(llm, analyses, queue, claims, settings.llm_batch, settings.llm_deadline_s)


async def _close_after(server: RpcServer, llm: Llm, tasks: Tasks) -> None:
    await server.wait()
    await tasks.close()
    await llm.close()
