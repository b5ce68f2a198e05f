"""The catalogs this replica holds, each with a ranking made when it is first wanted.

Owns what is held and for how long, and the one thread that makes rankings. Does not know where digests come from: a
digest stands for a content, so what is held under it is never replaced.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from weakref import WeakValueDictionary

from hub.filter.v1 import filter_pb2
from hub_filter.ranking import Analysed, Document, Ranking, analyse

_log = logging.getLogger(__name__)


class Index:
    """One catalog: whose its entries are, at once; their ranking, a moment later."""

    def __init__(self, catalog: filter_pb2.Catalog, build: Callable[[filter_pb2.Catalog], Future[Ranking]]) -> None:
        self.upstream_names = tuple(entry.upstream_name for entry in catalog.entries)
        """The upstream of each entry."""
        self._catalog = catalog
        self._build = build
        self._ranking: Future[Ranking] | None = None

    def __len__(self) -> int:
        """How many entries the catalog has."""
        return len(self.upstream_names)

    def prepare(self) -> None:
        """Have the ranking made in the background, so that the first search does not wait. Idempotent."""
        if self._ranking is None:
            self._ranking = self._build(self._catalog)
            self._catalog = filter_pb2.Catalog()

    async def ranking(self) -> Ranking:
        """Return the ranking, made once whoever asks. Cancelling a waiter stops nothing for the others."""
        self.prepare()
        assert self._ranking is not None
        return await asyncio.shield(asyncio.wrap_future(self._ranking))


class Indexes:
    """The catalogs held, by digest; at most `capacity`, the one unused for longest goes first.

    Rankings are made one at a time in a thread that ends with the last reference to this object. A catalog that shares
    entries with one that is held shares the work on them, so one changed upstream costs what that upstream offers.
    """

    def __init__(self, capacity: int, built: Callable[[float], None], clock: Callable[[], float]) -> None:
        """`built` is told, in that thread, how many seconds by `clock` each ranking took."""
        self._capacity = capacity
        self._built = built
        self._clock = clock
        self._held: OrderedDict[str, Index] = OrderedDict()
        self._analysed: WeakValueDictionary[bytes, Analysed] = WeakValueDictionary()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="filter-index")

    def __len__(self) -> int:
        """How many catalogs are held."""
        return len(self._held)

    @property
    def analysed(self) -> int:
        """How many different entries the rankings held stand on."""
        return len(self._analysed)

    def find(self, digest: str) -> Index | None:
        """Return the catalog of this digest, or None when it is not held."""
        index = self._held.get(digest)
        if index is not None:
            self._held.move_to_end(digest)
        return index

    def add(self, digest: str, catalog: filter_pb2.Catalog) -> Index:
        """Hold `catalog`, which the caller leaves alone from now on; if the digest is held, that catalog stands."""
        index = self.find(digest)
        if index is None:
            index = self._held[digest] = Index(catalog, self._submit)
            while len(self._held) > self._capacity:
                self._held.popitem(last=False)
        return index

    def _submit(self, catalog: filter_pb2.Catalog) -> Future[Ranking]:
        ranking = self._thread.submit(self._make, catalog)
        ranking.add_done_callback(_log_fault)
        return ranking

    def _make(self, catalog: filter_pb2.Catalog) -> Ranking:
        begin = self._clock()
        ranking = Ranking([self._analyse(entry) for entry in catalog.entries])
        self._built(self._clock() - begin)
        return ranking

    def _analyse(self, entry: filter_pb2.Entry) -> Analysed:
        key = hashlib.blake2b(entry.SerializeToString(deterministic=True), digest_size=16).digest()
        analysed = self._analysed.get(key)
        if analysed is None:
            analysed = self._analysed[key] = analyse(_document(entry))
        return analysed


def _document(entry: filter_pb2.Entry) -> Document:
    return Document(
        upstream_name=entry.upstream_name,
        local_name=entry.local_name,
        title=entry.title,
        description=entry.description,
        parameters=list(entry.parameters),
        parameter_descriptions=list(entry.parameter_descriptions),
    )


def _log_fault(ranking: Future[Ranking]) -> None:
    if not ranking.cancelled() and (fault := ranking.exception()) is not None:
        _log.error("a catalog could not be indexed", exc_info=fault)
