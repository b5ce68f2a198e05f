"""The rpcs of `proto/hub/filter/v1`: decide for a policy, search for a prompt.

Owns the translation between the contract and the rules and ranking, and the refusal of what makes no sense. Does not
know the gateway, nor where categories come from. The service holds no state but catalogs it can be sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry

from hub.filter.v1 import filter_pb2 as pb
from hub.filter.v1 import filter_pb2_grpc
from hub_common import rpc_server
from hub_common.globs import BadGlob
from hub_common.rpc_server import RpcServer
from hub_filter import embedding, rules
from hub_filter.embedding import EmbeddingAbsent, StaticEmbedding
from hub_filter.index import Index, Indexes, hints
from hub_filter.metrics import Metrics
from hub_filter.ranking import Hit
from hub_filter.rules import Mode, Policy, ServerFilter
from hub_filter.settings import Settings
from hub_filter.vectors import Embed

_log = logging.getLogger(__name__)

UNKNOWN_CATALOG = "unknown catalog"
"""The detail text that asks the caller to repeat the call with the catalog attached."""

_MODES = {
    pb.Policy.MODE_OFF: Mode.OFF,
    pb.Policy.MODE_SERVER_ALLOWLIST: Mode.SERVER_ALLOWLIST,
    pb.Policy.MODE_CATEGORY: Mode.CATEGORY,
    pb.Policy.MODE_HYBRID: Mode.HYBRID,
    pb.Policy.MODE_PROMPT_BASED: Mode.PROMPT_BASED,
    pb.Policy.MODE_AUTO: Mode.AUTO,
}
_Context = grpc.aio.ServicerContext[Any, Any]


class _Refused(Exception):
    """The call ends with this status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Filter(filter_pb2_grpc.FilterServiceServicer):
    """See the proto file for what each rpc promises. `clock` gives seconds that only grow."""

    def __init__(
        self, catalogs_held: int, default_limit: int, metrics: Metrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._indexes = Indexes(catalogs_held, metrics.index_seconds.observe, clock)
        self._default_limit = default_limit
        self._metrics = metrics
        self._clock = clock

    def learn(self, embed: Embed) -> None:
        """Let meaning take part in rankings from now on."""
        self._indexes.learn(embed)
        self._metrics.embedding.set(1)

    async def Decide(self, request: pb.DecideRequest, context: _Context) -> pb.DecideResponse:  # noqa: N802
        try:
            with self._measured("Decide"):
                return self._decide(request)
        except _Refused as refusal:
            await context.abort(refusal.code, str(refusal))

    async def Search(self, request: pb.SearchRequest, context: _Context) -> pb.SearchResponse:  # noqa: N802
        try:
            with self._measured("Search"):
                return await self._search(request)
        except _Refused as refusal:
            await context.abort(refusal.code, str(refusal))

    def _decide(self, request: pb.DecideRequest) -> pb.DecideResponse:
        policy = _policy(request)
        index = self._index(request)
        if request.categories and len(request.categories) != len(index):
            raise _invalid(f"{len(request.categories)} categories for {len(index)} entries")
        if policy.mode in (Mode.PROMPT_BASED, Mode.AUTO):
            index.prepare()
        try:
            verdicts = rules.decide(index.subjects, policy, request.categories)
        except BadGlob as fault:
            raise _invalid(f"a glob of the policy is malformed: {fault}") from fault
        return pb.DecideResponse(
            rule_of_entry=verdicts.rule_of_entry,
            rules=[pb.Rule(id=rule.id, allows=rule.allows) for rule in verdicts.rules],
        )

    async def _search(self, request: pb.SearchRequest) -> pb.SearchResponse:
        index = self._index(request)
        scope = frozenset(request.scope) or None
        if scope is not None and max(scope) >= len(index):
            raise _invalid(f"the scope names entry {max(scope)} of {len(index)}")
        used = {use.index: use.calls for use in request.used}
        if used and max(used) >= len(index):
            raise _invalid(f"used names entry {max(used)} of {len(index)}")
        ranking = await index.ranking()
        found = ranking.search(
            request.query,
            context=request.context,
            scope=scope,
            limit=request.limit or self._default_limit,
            budget=request.budget,
            used=used,
        )
        return pb.SearchResponse(hits=map(_hit, found.hits), cut=found.cut)

    def _index(self, request: pb.DecideRequest | pb.SearchRequest) -> Index:
        if not request.catalog_digest:
            raise _invalid("no catalog digest")
        index = self._indexes.find(request.catalog_digest)
        if index is None:
            if not request.HasField("catalog"):
                raise _Refused(grpc.StatusCode.FAILED_PRECONDITION, UNKNOWN_CATALOG)
            index = self._indexes.add(request.catalog_digest, request.catalog)
            self._metrics.catalogs.set(len(self._indexes))
        return index

    @contextmanager
    def _measured(self, rpc: str) -> Generator[None]:
        outcome = "failed"
        begin = self._clock()
        try:
            yield
            outcome = "ok"
        except _Refused as refusal:
            outcome = refusal.code.name.lower()
            raise
        finally:
            self._metrics.calls.labels(rpc, outcome).inc()
            self._metrics.seconds.labels(rpc).observe(self._clock() - begin)


def _hit(hit: Hit) -> pb.Hit:
    parts = hit.parts
    return pb.Hit(
        index=hit.index,
        score=hit.score,
        parts=pb.Parts(
            terms=parts.terms,
            meaning=parts.meaning,
            upstream=parts.upstream,
            implied=parts.implied,
            usage=parts.usage,
        ),
    )


def _invalid(text: str) -> _Refused:
    return _Refused(grpc.StatusCode.INVALID_ARGUMENT, text)


def _policy(request: pb.DecideRequest) -> Policy:
    """The policy of a request. None at all is refused: read as the mode's zero value it would allow everything."""
    if not request.HasField("policy"):
        raise _invalid("no policy")
    message = request.policy
    mode = _MODES.get(message.mode)
    if mode is None:
        raise _invalid(f"unknown policy mode {message.mode}")
    server_filter = None
    if message.HasField("server_filter"):
        server_filter = ServerFilter(frozenset(message.server_filter.servers), message.server_filter.deny)
    categories = frozenset(message.category_filter.categories) if message.HasField("category_filter") else None
    return Policy(
        mode,
        server_filter,
        categories,
        tuple(message.allow.globs) if message.HasField("allow") else None,
        tuple(message.deny.globs),
        hints(message.annotations),
    )


def _learn(servicer: Filter, loaded: asyncio.Future[StaticEmbedding]) -> None:
    if loaded.cancelled():
        return
    match loaded.exception():
        case None:
            servicer.learn(loaded.result().embed)
        case EmbeddingAbsent() as absent:
            _log.warning("entries are ranked by their words alone: %s", absent)
        case fault:
            _log.error("entries are ranked by their words alone: the weights did not load", exc_info=fault)


async def start(
    settings: Settings,
    address: str,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    registry: CollectorRegistry | None = None,
) -> RpcServer:
    """Serve on `address` (`host:port` or `unix:/path`) until the returned server is stopped.

    Metrics are counted in `registry`; serving them is the caller's part.

    Raises:
        OSError: the address cannot be listened on.
    """
    metrics = Metrics(CollectorRegistry() if registry is None else registry)
    servicer = Filter(settings.catalogs_held, settings.default_limit, metrics)
    # Read in a thread: the service answers at once, by terms alone until the weights are there, and for good without.
    loading = asyncio.get_running_loop().run_in_executor(None, embedding.load)
    loading.add_done_callback(lambda loaded: _learn(servicer, loaded))

    def register(server: grpc.aio.Server) -> None:
        filter_pb2_grpc.add_FilterServiceServicer_to_server(servicer, server)

    return await rpc_server.serve(address, register, name="filter", interceptors=interceptors)
