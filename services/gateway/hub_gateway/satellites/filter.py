"""The filter service seen from the gateway.

Owns the translation of catalog and policy into the contract (`proto/hub/filter/v1`), the repeat after "unknown catalog"
and what is known of the service's health. Its absence is a `SatelliteError`; the caller has the answer for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from hub.filter.v1 import filter_pb2 as pb
from hub.filter.v1 import filter_pb2_grpc
from hub_common.rpc_channel import open_channel
from hub_gateway.catalog.description import describe
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.model import ToolFiltering
from hub_gateway.errors import SatelliteError
from hub_gateway.exposure.verdicts import Rule

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
}
_UNKNOWN_CATALOG = "unknown catalog"

TEACH_CALLS = 8
"""Calls that carry the catalog after a replica did not know it. Calls take turns among replicas, so the repeat reaches
another one than the one that asked: without these, that one might never learn."""


class Filter:
    """A client of the filter service. Whoever makes it closes it."""

    def __init__(self, target: str, timeout_s: float, interceptors: Sequence[Any] = ()) -> None:
        self._channel = open_channel(target, interceptors)
        self._stub = filter_pb2_grpc.FilterServiceStub(self._channel)
        self._timeout_s = timeout_s
        self._teaching = 0
        self._made: tuple[str, pb.Catalog] | None = None
        self.reason: str | None = None
        """Why the last call failed; None after a call that did not."""

    async def decide(self, catalog: Catalog, policy: ToolFiltering, mode: str, categories: Sequence[str]) -> list[Rule]:
        """The rule for every entry of the catalog, in its order.

        Raises:
            SatelliteError: no answer in time, or none that fits the catalog.
        """
        request = pb.DecideRequest(catalog_digest=catalog.digest, policy=_policy(policy, mode), categories=categories)
        answer: pb.DecideResponse = await self._call(self._stub.Decide, request, catalog)
        rules = [Rule(rule.id, rule.allows) for rule in answer.rules]
        if len(answer.rule_of_entry) != len(catalog.entries) or any(p >= len(rules) for p in answer.rule_of_entry):
            raise self._unfit("Decide")
        return [rules[position] for position in answer.rule_of_entry]

    async def search(
        self, catalog: Catalog, query: str, context: str, scope: Sequence[Entry], limit: int
    ) -> list[tuple[Entry, float]]:
        """Rank the entries in `scope` for a query, best first, with their scores.

        Raises:
            SatelliteError: no answer in time, or none that fits the catalog.
        """
        positions = [catalog.index[id(entry)] for entry in scope]
        request = pb.SearchRequest(
            catalog_digest=catalog.digest, query=query, context=context, scope=positions, limit=limit
        )
        answer: pb.SearchResponse = await self._call(self._stub.Search, request, catalog)
        if any(hit.index >= len(catalog.entries) for hit in answer.hits):
            raise self._unfit("Search")
        return [(catalog.entries[hit.index], hit.score) for hit in answer.hits]

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close(None)

    async def _call(self, method: Any, request: Any, catalog: Catalog) -> Any:
        if self._teaching > 0:
            self._teaching -= 1
            request.catalog.CopyFrom(self._message(catalog))
        try:
            try:
                answer = await method(request, timeout=self._timeout_s)
            except grpc.aio.AioRpcError as fault:
                unknown = fault.code() is grpc.StatusCode.FAILED_PRECONDITION
                if not unknown or _UNKNOWN_CATALOG not in str(fault.details()):
                    raise
                self._teaching = TEACH_CALLS
                request.catalog.CopyFrom(self._message(catalog))
                answer = await method(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as fault:
            self.reason = f"filter: {fault.code().name}"
            raise SatelliteError(self.reason) from fault
        self.reason = None
        return answer

    def _message(self, catalog: Catalog) -> pb.Catalog:
        """The catalog as the contract has it; made once for as long as it is the same."""
        if self._made is None or self._made[0] != catalog.digest:
            self._made = (catalog.digest, _catalog(catalog))
        return self._made[1]

    def _unfit(self, rpc: str) -> SatelliteError:
        self.reason = f"filter: the answer to {rpc} does not fit the catalog"
        return SatelliteError(self.reason)


def _policy(policy: ToolFiltering, mode: str) -> pb.Policy:
    built = pb.Policy(mode=_MODES[mode])
    if policy.server_filter is not None:
        built.server_filter.deny = policy.server_filter.mode == "denylist"
        built.server_filter.servers.extend(policy.server_filter.servers)
    if policy.category_filter is not None:
        built.category_filter.categories.extend(policy.category_filter.categories)
    return built


def _catalog(catalog: Catalog) -> pb.Catalog:
    built = pb.Catalog()
    for entry in catalog.entries:
        described = describe(entry)
        built.entries.add(
            kind=_KINDS[entry.kind],
            upstream_name=entry.upstream_name,
            local_name=entry.local_name,
            public_name=entry.public_name,
            title=described.title,
            description=described.text,
            parameters=[parameter.name for parameter in described.parameters],
            parameter_descriptions=[parameter.description for parameter in described.parameters],
        )
    return built
