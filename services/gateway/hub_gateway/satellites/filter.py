"""The filter service seen from the gateway.

Owns the translation of catalog and policy into the contract (`proto/hub/filter/v1`), the digest that stands for what
the filter is told, the repeat after "unknown catalog", and what is known of the service's health. Its absence is a
`SatelliteError`; the caller has the answer for it.

Verdicts do not depend on keywords, so `decide` names the catalog without them: what the LLM finds in the minutes after
a start does not send the catalog again with every publication, only with the next search.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import grpc
import grpc.aio
import msgspec

from hub.filter.v1 import filter_pb2 as pb
from hub.filter.v1 import filter_pb2_grpc
from hub_common.rpc_channel import open_channel
from hub_gateway.catalog.description import describe
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.errors import SatelliteError
from hub_gateway.exposure.current import Exposure
from hub_gateway.exposure.verdicts import Rule
from hub_gateway.satellites.patience import NotAsked, Patience
from hub_gateway.satellites.standing import Standing

_KINDS = {
    EntryKind.TOOL: pb.KIND_TOOL,
    EntryKind.PROMPT: pb.KIND_PROMPT,
    EntryKind.RESOURCE: pb.KIND_RESOURCE,
    EntryKind.TEMPLATE: pb.KIND_TEMPLATE,
}
_MODES = {
    "server-allowlist": pb.Policy.MODE_SERVER_ALLOWLIST,
    "category": pb.Policy.MODE_CATEGORY,
    "hybrid": pb.Policy.MODE_HYBRID,
    "prompt-based": pb.Policy.MODE_PROMPT_BASED,
    "auto": pb.Policy.MODE_AUTO,
}
_UNKNOWN_CATALOG = "unknown catalog"

TEACH_CALLS = 8
"""Calls that carry the catalog after a replica did not know it. Calls take turns among replicas, so the repeat reaches
another one than the one that asked: without these, that one might never learn."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A search: what for, and how much of it. `budget` bounds `Matches.cut`; 0 leaves it to the limit. `used` says how
    often entries were called before, and tips the scale between those that fit alike."""

    query: str
    context: str = ""
    limit: int
    budget: int = 0
    used: Sequence[tuple[Entry, int]] = ()


class Parts(msgspec.Struct, frozen=True):
    """Why an entry stands where it does: shared words, shared meaning, what its upstream offers altogether and how far
    in front it lists the entry, what the prompt needs without saying so, and calls in the past. Two matches of one
    answer differ in the sum of these by the logarithm of the ratio of their scores."""

    terms: float = 0.0
    meaning: float = 0.0
    upstream: float = 0.0
    implied: float = 0.0
    usage: float = 0.0


class Match(msgspec.Struct, frozen=True):
    """An entry that fits, its score (above 0, at most 1, comparable within one answer only), and why."""

    entry: Entry
    score: float
    parts: Parts = Parts()


class Matches(NamedTuple):
    """What fits, best first, and how many of them, from the first, are worth showing."""

    matches: list[Match]
    cut: int


class _Told(NamedTuple):
    """A catalog as the filter is told it: keywords by position, and the digest that stands for both."""

    catalog: Catalog
    digest: str
    keywords: Mapping[int, tuple[str, ...]] = {}


class Filter:
    """A client of the filter service. Whoever makes it closes it."""

    def __init__(self, target: str, timeout_s: float, interceptors: Sequence[Any] = ()) -> None:
        self._channel = open_channel(target, interceptors)
        self._stub = filter_pb2_grpc.FilterServiceStub(self._channel)
        self._timeout_s = timeout_s
        self._patience = Patience("filter")
        self._teaching = 0
        self._told: tuple[Exposure, _Told] | None = None
        self._made: tuple[str, pb.Catalog] | None = None
        self._worded: tuple[str, pb.Catalog] | None = None
        self._standing = Standing("filter")

    @property
    def reason(self) -> str | None:
        """Why the last call failed; None after a call that did not."""
        return self._standing.reason

    async def decide(
        self, catalog: Catalog, policy: ToolFiltering, mode: str | None, categories: Sequence[str]
    ) -> list[Rule]:
        """The rule for every entry of the catalog, in its order. Without a mode, the rules for single entries decide.

        Raises:
            SatelliteError: no answer in time, or none that fits the catalog.
        """
        request = pb.DecideRequest(
            catalog_digest=catalog.digest_in_order, policy=_policy(policy, mode), categories=categories
        )
        answer: pb.DecideResponse = await self._call(
            self._stub.Decide, request, _Told(catalog, catalog.digest_in_order)
        )
        rules = [Rule(rule.id, rule.allows) for rule in answer.rules]
        if len(answer.rule_of_entry) != len(catalog.entries) or any(p >= len(rules) for p in answer.rule_of_entry):
            raise self._unfit("Decide")
        return [rules[position] for position in answer.rule_of_entry]

    async def search(self, exposure: Exposure, asked: Asked, scope: Sequence[Entry]) -> Matches:
        """Rank the entries in `scope` for a query, best first.

        Raises:
            SatelliteError: no answer in time, or none that fits the catalog.
        """
        told = self._tell(exposure)
        entries, index = exposure.catalog.entries, exposure.catalog.index
        request = pb.SearchRequest(
            catalog_digest=told.digest,
            query=asked.query,
            context=asked.context,
            scope=[index[id(entry)] for entry in scope],
            limit=asked.limit,
            budget=asked.budget,
            used=[pb.Use(index=index[id(entry)], calls=calls) for entry, calls in asked.used],
        )
        answer: pb.SearchResponse = await self._call(self._stub.Search, request, told)
        if any(hit.index >= len(entries) for hit in answer.hits) or answer.cut > len(answer.hits):
            raise self._unfit("Search")
        return Matches([Match(entries[hit.index], hit.score, _parts(hit.parts)) for hit in answer.hits], answer.cut)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close(None)

    async def _call(self, method: Any, request: Any, told: _Told) -> Any:
        if self._teaching > 0:
            self._teaching -= 1
            request.catalog.CopyFrom(self._message(told))
        try:
            try:
                answer = await self._patience.ask(method, request, self._timeout_s)
            except grpc.aio.AioRpcError as fault:
                unknown = fault.code() is grpc.StatusCode.FAILED_PRECONDITION
                if not unknown or _UNKNOWN_CATALOG not in str(fault.details()):
                    raise
                self._teaching = TEACH_CALLS
                request.catalog.CopyFrom(self._message(told))
                answer = await self._patience.ask(method, request, self._timeout_s)
        except grpc.aio.AioRpcError as fault:
            raise self._standing.unwell(fault.code().name) from fault
        except NotAsked as fault:
            raise self._standing.unwell(str(fault)) from fault
        self._standing.well()
        return answer

    def _tell(self, exposure: Exposure) -> _Told:
        """The exposure's catalog with the keywords of its categories; looked up once for as long as it is the same."""
        known = self._told
        if known is None or known[0].catalog is not exposure.catalog or known[0].categories is not exposure.categories:
            known = self._told = (exposure, _with_keywords(exposure))
        return known[1]

    def _message(self, told: _Told) -> pb.Catalog:
        """What is told, as the contract has it; made once for as long as it is the same. Definitions are described once
        for all keywords that come later."""
        if self._made is None or self._made[0] != told.catalog.digest_in_order:
            self._made = (told.catalog.digest_in_order, _catalog(told.catalog))
        if not told.keywords:
            return self._made[1]
        if self._worded is None or self._worded[0] != told.digest:
            worded = pb.Catalog()
            worded.CopyFrom(self._made[1])
            for position, keywords in told.keywords.items():
                worded.entries[position].keywords.extend(keywords)
            self._worded = (told.digest, worded)
        return self._worded[1]

    def _unfit(self, rpc: str) -> SatelliteError:
        return self._standing.unwell(f"the answer to {rpc} does not fit the catalog")


def _with_keywords(exposure: Exposure) -> _Told:
    catalog = exposure.catalog
    found = ((position, exposure.category(entry).keywords) for position, entry in enumerate(catalog.entries))
    keywords = {position: words for position, words in found if words}
    if not keywords:
        return _Told(catalog, catalog.digest_in_order)
    total = hashlib.sha256(f"{catalog.digest_in_order}\n".encode())
    total.update(msgspec.json.encode(list(keywords.items())))
    return _Told(catalog, total.hexdigest(), keywords)


def _parts(parts: pb.Parts) -> Parts:
    return Parts(parts.terms, parts.meaning, parts.upstream, parts.implied, parts.usage)


def _policy(policy: ToolFiltering, mode: str | None) -> pb.Policy:
    built = pb.Policy(mode=pb.Policy.MODE_OFF if mode is None else _MODES[mode])
    if policy.server_filter is not None:
        built.server_filter.deny = policy.server_filter.mode == "denylist"
        built.server_filter.servers.extend(policy.server_filter.servers)
    if policy.category_filter is not None:
        built.category_filter.categories.extend(policy.category_filter.categories)
    if policy.tools is not None:
        if policy.tools.allow is not None:
            built.allow.CopyFrom(pb.Globs(globs=policy.tools.allow))
        built.deny.globs.extend(policy.tools.deny)
    if policy.annotations is not None:
        built.annotations.CopyFrom(pb.Annotations(**msgspec.structs.asdict(policy.annotations)))
    return built


def _catalog(catalog: Catalog) -> pb.Catalog:
    built = pb.Catalog()
    for entry in catalog.entries:
        described = describe(entry)
        prefixed_name = catalog.prefixed(entry)
        built.entries.add(
            kind=_KINDS[entry.kind],
            upstream_name=entry.upstream_name,
            local_name=entry.local_name,
            public_name=entry.public_name,
            title=described.title,
            description=described.text,
            parameters=[parameter.name for parameter in described.parameters],
            parameter_descriptions=[parameter.description for parameter in described.parameters],
            prefixed_name=prefixed_name if prefixed_name != entry.public_name else "",
            annotations=pb.Annotations(**described.hints._asdict()) if entry.kind is EntryKind.TOOL else None,
            place=entry.place,
        )
    return built
