"""Static embeddings: a text becomes the mean of its tokens' vectors, and texts of one meaning point one way.

Owns where the weights lie and how they are read. Does not know entries or scores. The weights are those inside the
wheel of the `wordllama` package (256 dimensions, trained for the plain mean); its files are read where they are
installed, so that nothing is imported from it, and nothing is ever fetched.

The table is mapped, not read: replicas on one machine share its 16 MB, and pages that no text needs cost nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs]

from hub_filter.vectors import Matrix, unit

_PACKAGE = "wordllama"
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_TENSOR = "embedding.weight"

_BATCH = 200
"""Texts embedded at a time, which bounds what is in memory."""

_WORDS_KEPT = 32_768
_WORD_CHARACTERS = 64
"""Words whose tokens are remembered: so many, up to this long."""


class EmbeddingAbsent(Exception):
    """There are no weights here; the text says why. The ranking does without."""


class StaticEmbedding:
    """Immutable; any thread may use it."""

    def __init__(self, tokenizer: Any, table: NDArray[np.float16]) -> None:
        """`tokenizer` is one of the `tokenizers` package, whose ids are the rows of `table`."""
        self._tokenizer = tokenizer
        self._table = table
        # Letters outside the vocabulary fall apart into bytes, which mean nothing and would drown the words beside.
        self._bytes = frozenset(at for token, at in tokenizer.get_vocab().items() if token.startswith("<0x"))
        self._ids_of_common = lru_cache(maxsize=_WORDS_KEPT)(self._ids_of_word)

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed each text; a row each, see `hub_filter.vectors.Embed`."""
        rows = np.zeros((len(texts), self._table.shape[1]), dtype=np.float32)
        for begin in range(0, len(texts), _BATCH):
            batch = [self._ids(text) for text in texts[begin : begin + _BATCH]]
            tokens, columns = np.unique(np.array(list(chain.from_iterable(batch)), dtype=np.intp), return_inverse=True)
            owners = np.repeat(np.arange(len(batch)), [len(ids) for ids in batch])
            counts = np.bincount(owners * len(tokens) + columns, minlength=len(batch) * len(tokens))
            weights = counts.reshape(len(batch), len(tokens)).astype(np.float32)
            # Sums, since what is made of length 1 need not be divided first.
            rows[begin : begin + _BATCH] = weights @ self._table[tokens].astype(np.float32)
        return unit(rows)

    def _ids(self, text: str) -> list[int]:
        # No token spans a blank, so a text is its words; and a prompt's whole, sentences and parts share theirs.
        ids: list[int] = []
        for word in text.split():
            ids += self._ids_of_common(word) if len(word) <= _WORD_CHARACTERS else self._ids_of_word(word)
        return ids

    def _ids_of_word(self, word: str) -> tuple[int, ...]:
        ids: list[int] = self._tokenizer.encode(word, add_special_tokens=False).ids
        return tuple(at for at in ids if at not in self._bytes)


def load() -> StaticEmbedding:
    """Read the weights that are installed. Takes a fraction of a second; reads files, and nothing but files.

    Raises:
        EmbeddingAbsent: they are not installed, or are not what is expected.
    """
    # Without a look at the parent package's own code: finding a top-level package runs nothing of it.
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise EmbeddingAbsent(f"the package {_PACKAGE} is not installed")
    folder = Path(found.submodule_search_locations[0])
    try:
        table = _tensor(folder / _WEIGHTS)
        # Not installed where the weights are not, so it cannot be imported above.
        tokenizer: Any = importlib.import_module("tokenizers").Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as fault:
        # The tokenizer raises plain Exception for a file it cannot read.
        raise EmbeddingAbsent(f"the weights in {_PACKAGE} cannot be read: {fault}") from fault
    # The products of a search are small: threads that share them cost more than they save, most of all on busy cores.
    threadpool_limits(limits=1, user_api="blas")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if tokenizer.get_vocab_size() > len(table):
        raise EmbeddingAbsent(f"the weights in {_PACKAGE} are fewer than its tokens")
    return StaticEmbedding(tokenizer, table)


def _tensor(path: Path) -> NDArray[np.float16]:
    """Map the one tensor out of a safetensors file: eight bytes of header length, a JSON header, the numbers."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        described = msgspec.json.decode(file.read(header_bytes))[_TENSOR]
    if described["dtype"] != "F16":
        raise ValueError(f"{_TENSOR} is {described['dtype']}, not F16")
    begin = 8 + header_bytes + described["data_offsets"][0]
    # As a plain array, which keeps the map alive: rows of a map are taken at several times the cost.
    return np.asarray(np.memmap(path, dtype="<f2", mode="r", offset=begin, shape=tuple(described["shape"])))
