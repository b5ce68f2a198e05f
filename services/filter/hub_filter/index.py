"""The catalogs this replica holds, each with a ranking made when it is first wanted.

Owns what is held and for how long, and the one thread that makes rankings. Does not know where digests come from: a
digest stands for a content, so what is held under it is never replaced. Nor where embeddings come from: until they are
handed in, rankings stand on terms alone; then those that are held are made again, and answer as before until they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from hub.filter.v1 import filter_pb2
from hub_filter.document import Analysed, Document, analyse
from hub_filter.ranking import Ranking
from hub_filter.rules import Hints, Subject
from hub_filter.vectors import Embed, Vectors

_log = logging.getLogger(__name__)


class Index:
    """One catalog: its entries as the rules see them, at once; their ranking, a moment later."""

    def __init__(self, catalog: filter_pb2.Catalog, build: Callable[[filter_pb2.Catalog], Future[Ranking]]) -> None:
        self.subjects = tuple(map(_subject, catalog.entries))
        """Each entry as the rules see it."""
        self._catalog = catalog
        self._build = build
        self._ranking: Future[Ranking] | None = None

    def __len__(self) -> int:
        """How many entries the catalog has."""
        return len(self.subjects)

    def prepare(self) -> None:
        """Have the ranking made in the background, so that the first search does not wait. Idempotent."""
        if self._ranking is None:
            self._ranking = self._build(self._catalog)
            self._catalog = filter_pb2.Catalog()

    def improve(self, again: Callable[[Future[Ranking]], Future[Ranking]]) -> None:
        """Have the ranking made `again`, if it is made or being made; searches go on with the present one meanwhile."""
        if self._ranking is not None:
            again(self._ranking).add_done_callback(self._swap)

    def _swap(self, ranking: Future[Ranking]) -> None:
        if not ranking.cancelled() and ranking.exception() is None:
            self._ranking = ranking

    async def ranking(self) -> Ranking:
        """Return the ranking, made once whoever asks. Cancelling a waiter stops nothing for the others."""
        self.prepare()
        assert self._ranking is not None
        if self._ranking.done():
            return self._ranking.result()  # nothing to wait for, and to wait would cost a round of the loop
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
        self._embed: Embed | None = None
        # Half precision: what an entry means survives it, and it halves what waits here for the next catalog.
        self._vectors: WeakKeyDictionary[Analysed, NDArray[np.float16]] = WeakKeyDictionary()
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

    def learn(self, embed: Embed) -> None:
        """Let meaning take part from now on: in rankings to come, and in those held as soon as they are made again."""
        self._embed = embed
        for index in self._held.values():
            index.improve(lambda ranking: self._watched(self._thread.submit(self._make_again, ranking)))

    def _submit(self, catalog: filter_pb2.Catalog) -> Future[Ranking]:
        return self._watched(self._thread.submit(self._make, catalog))

    def _watched(self, ranking: Future[Ranking]) -> Future[Ranking]:
        ranking.add_done_callback(_log_fault)
        return ranking

    def _make(self, catalog: filter_pb2.Catalog) -> Ranking:
        begin = self._clock()
        return self._ranking([self._analyse(entry) for entry in catalog.entries], begin)

    def _make_again(self, ranking: Future[Ranking]) -> Ranking:
        # Made before this job by the same thread, so nothing is waited for.
        made = ranking.result()
        return made if made.has_vectors else self._ranking(made.entries, self._clock())

    def _ranking(self, entries: Sequence[Analysed], begin_s: float) -> Ranking:
        ranking = Ranking(entries, self._vectors_of(entries))
        self._built(self._clock() - begin_s)
        return ranking

    def _vectors_of(self, entries: Sequence[Analysed]) -> Vectors | None:
        """The vectors of `entries`; only those that no ranking held has stood on are computed."""
        embed = self._embed
        if embed is None or not entries:
            return None
        new = [entry for entry in dict.fromkeys(entries) if entry not in self._vectors]
        # An entry whose keywords came later is another one of the same text.
        known = {entry.text: vector for entry, vector in self._vectors.items()} if new else {}
        texts = [text for text in dict.fromkeys(entry.text for entry in new) if text not in known]
        if texts:
            known.update(zip(texts, map(np.copy, embed(texts).astype(np.float16)), strict=True))
        for entry in new:
            self._vectors[entry] = known[entry.text]
        return Vectors(np.stack([self._vectors[entry] for entry in entries]).astype(np.float32), embed)

    def _analyse(self, entry: filter_pb2.Entry) -> Analysed:
        key = hashlib.blake2b(entry.SerializeToString(deterministic=True), digest_size=16).digest()
        analysed = self._analysed.get(key)
        if analysed is None:
            analysed = self._analysed[key] = analyse(_document(entry))
        return analysed


def hints(said: filter_pb2.Annotations) -> Hints:
    """Hints of the contract as the rules have them: None where nothing is said."""
    return Hints(
        said.read_only if said.HasField("read_only") else None,
        said.destructive if said.HasField("destructive") else None,
        said.idempotent if said.HasField("idempotent") else None,
        said.open_world if said.HasField("open_world") else None,
    )


def _subject(entry: filter_pb2.Entry) -> Subject:
    names = (entry.public_name, entry.prefixed_name) if entry.prefixed_name else (entry.public_name,)
    said = hints(entry.annotations) if entry.kind == filter_pb2.KIND_TOOL else None
    return Subject(entry.upstream_name, names, said)


def _document(entry: filter_pb2.Entry) -> Document:
    return Document(
        upstream_name=entry.upstream_name,
        local_name=entry.local_name,
        title=entry.title,
        description=entry.description,
        parameters=list(entry.parameters),
        parameter_descriptions=list(entry.parameter_descriptions),
        keywords=list(entry.keywords),
        place=entry.place,
    )


def _log_fault(ranking: Future[Ranking]) -> None:
    if not ranking.cancelled() and (fault := ranking.exception()) is not None:
        _log.error("a catalog could not be indexed", exc_info=fault)
