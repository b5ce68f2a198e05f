"""The categorizer service seen from the gateway.

Owns the translation into the contract (`proto/hub/categorizer/v1`) and what is known of the service's health. Its
absence is a `SatelliteError`: entries keep the category they had, prompts keep the filter's shortlist.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import grpc
import grpc.aio

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub.categorizer.v1 import categorizer_pb2_grpc
from hub_common.rpc_channel import open_channel
from hub_gateway.catalog.description import describe
from hub_gateway.catalog.entry import Entry
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.errors import SatelliteError
from hub_gateway.exposure.current import Category
from hub_gateway.satellites.patience import NotAsked, Patience
from hub_gateway.satellites.standing import Standing

_SOURCES = {
    pb.SOURCE_PATTERN: "pattern",
    pb.SOURCE_MAPPING: "mapping",
    pb.SOURCE_LLM: "llm",
    pb.SOURCE_OVERRIDE: "override",
}

_NO_LLM = "no LLM"
"""How the service begins to say, with UNAVAILABLE, that it has none that it could ask."""

CHECK_TIMEOUT_S = 12.0
"""More than the service gives a provider to say whether it takes a key."""


class Assigned(NamedTuple):
    """A category, and whether an LLM could still do better."""

    category: Category
    refinable: bool


class Analysis(NamedTuple):
    """What the LLM made of a prompt: categories, and tools of the shortlist by public name."""

    categories: frozenset[str]
    public_names: tuple[str, ...]
    confidence: float
    reasoning: str
    requests: tuple[str, ...] = ()
    """What the prompt asks for, one capability each."""


class Categorizer:
    """A client of the categorizer service. Whoever makes it closes it."""

    def __init__(self, target: str, timeout_s: float, llm_timeout_s: float, interceptors: Sequence[Any] = ()) -> None:
        self._channel = open_channel(target, interceptors)
        self._stub = categorizer_pb2_grpc.CategorizerServiceStub(self._channel)
        self._timeout_s = timeout_s
        self._analyzing = Patience("categorizer")
        self._llm_timeout_s = llm_timeout_s
        self._has_llm = True
        """Unless the service said of the last prompt that it has none: then it takes no LLM's time to answer."""
        self._standing = Standing("categorizer")

    @property
    def reason(self) -> str | None:
        """Why the last call failed; None after a call that did not."""
        return self._standing.reason

    async def categorize(self, entries: Sequence[Entry], policy: ToolFiltering) -> list[Assigned]:
        """The category of every entry, in order, without asking an LLM.

        Raises:
            SatelliteError: no answer in time, or one for other entries.
        """
        request = pb.CategorizeRequest(definitions=map(_definition, entries), taxonomy=_taxonomy(policy))
        answer: pb.CategorizeResponse = await self._call(self._stub.Categorize, request, self._timeout_s)
        if len(answer.assignments) != len(entries):
            raise self._standing.unwell("the answer to Categorize does not fit the entries")
        return [_assigned(assignment) for assignment in answer.assignments]

    async def refine(self, entries: Sequence[Entry], policy: ToolFiltering) -> AsyncIterator[str]:
        """Yield the digest of each entry as the LLM has decided on it. One that is not among them when it ends is not
        worth asking for again.

        Raises:
            SatelliteError: the service went away, or the LLM does not go on now.
        """
        request = pb.CategorizeRequest(definitions=map(_definition, entries), taxonomy=_taxonomy(policy))
        try:
            async for assignment in self._stub.Refine(request):
                yield assignment.hash
        except grpc.aio.AioRpcError as fault:
            raise self._failed(fault) from fault

    async def analyze_prompt(
        self, prompt: str, context: str, shortlist: Mapping[Entry, str], policy: ToolFiltering
    ) -> Analysis:
        """Ask the LLM what of the shortlist (entry to category) fits a prompt.

        Raises:
            SatelliteError: no LLM is configured, it did not answer in time, or it is not asked.
        """
        request = pb.AnalyzePromptRequest(prompt=prompt, context=context, taxonomy=_taxonomy(policy))
        for entry, category in shortlist.items():
            request.shortlist.add(public_name=entry.public_name, category=category, description=describe(entry).text)
        timeout_s = self._llm_timeout_s if self._has_llm else self._timeout_s
        answer: pb.AnalyzePromptResponse = await self._call(self._patiently, request, timeout_s)
        return Analysis(
            frozenset(answer.categories),
            tuple(answer.public_names),
            answer.confidence,
            answer.reasoning,
            tuple(answer.requests),
        )

    async def describe(self, *, check_key: bool = False) -> pb.DescribeResponse:
        """How the service is set up, how its cache and its LLM do, and whether the LLM's key is taken: as is known, or
        with `check_key` as the provider says now. Leaves `reason` as it is.

        Raises:
            SatelliteError: no answer in time.
        """
        timeout_s = CHECK_TIMEOUT_S if check_key else self._timeout_s
        try:
            return await self._stub.Describe(pb.DescribeRequest(check_key=check_key), timeout=timeout_s)
        except grpc.aio.AioRpcError as fault:
            raise SatelliteError(f"categorizer: {fault.code().name}") from fault

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close(None)

    async def _patiently(self, request: pb.AnalyzePromptRequest, timeout: float) -> pb.AnalyzePromptResponse:
        return await self._analyzing.ask(self._analyze, request, timeout)

    async def _analyze(self, request: pb.AnalyzePromptRequest, timeout: float) -> pb.AnalyzePromptResponse:
        """AnalyzePrompt. Where the last one ran out of time, it is found out first, in less time, whether anybody is
        there: with an LLM that is slow the service still answers, and prompts may be rarer than pauses."""
        if self._analyzing.in_doubt:
            await self._stub.Describe(pb.DescribeRequest(), timeout=self._timeout_s)
        try:
            answer = await self._stub.AnalyzePrompt(request, timeout=timeout)
        except grpc.aio.AioRpcError as fault:
            self._has_llm = not str(fault.details()).startswith(_NO_LLM)
            raise
        self._has_llm = True
        return answer

    async def _call(self, method: Any, request: Any, timeout_s: float) -> Any:
        try:
            answer = await method(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as fault:
            raise self._failed(fault) from fault
        except NotAsked as fault:
            raise self._standing.unwell(str(fault)) from fault
        self._standing.well()
        return answer

    def _failed(self, fault: grpc.aio.AioRpcError) -> SatelliteError:
        """What a call's end means; what is said of the LLM is the service's own word, and not its absence."""
        if "LLM" not in str(fault.details()):
            return self._standing.unwell(fault.code().name)
        self._standing.well()
        return SatelliteError(f"categorizer: {fault.details()}")


def _definition(entry: Entry) -> pb.Definition:
    return pb.Definition(
        hash=entry.digest,
        upstream_name=entry.upstream_name,
        local_name=entry.local_name,
        public_name=entry.public_name,
        description=describe(entry).text,
    )


def _taxonomy(policy: ToolFiltering) -> pb.Taxonomy:
    built = pb.Taxonomy()
    if policy.category_filter is not None:
        for pattern, category in policy.category_filter.custom_mappings.items():
            built.mappings.add(pattern=pattern, category=category)
        for public_name, category in policy.category_filter.category_overrides.items():
            built.overrides.add(public_name=public_name, category=category)
    return built


def _assigned(assignment: pb.Assignment) -> Assigned:
    source = _SOURCES.get(assignment.source, "pattern")
    keywords = tuple(assignment.keywords)
    category = Category(assignment.category, assignment.confidence, source, assignment.model, keywords)
    return Assigned(category, assignment.refinable)
