"""Static embeddings: a text becomes the mean of its tokens' vectors, and texts of one meaning point one way.

Owns where the weights lie and how they are read. Does not know entries or scores. The weights are those inside the
wheel of the `wordllama` package (256 dimensions, trained for the plain mean); its files are read where they are
installed, so that nothing is imported from it, and nothing is ever fetched.

The table is mapped, not read: replicas on one machine share its 16 MB, and pages that no text needs cost nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Matrix]
"""Gives a row per text, of length 1, or of zeros for a text without tokens."""

_PACKAGE = "wordllama"
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_TENSOR = "embedding.weight"


class EmbeddingAbsent(Exception):
    """There are no weights here; the text says why. The ranking does without."""


class StaticEmbedding:
    """Immutable; any thread may use it."""

    def __init__(self, tokenizer: Any, table: NDArray[np.float16]) -> None:
        """`tokenizer` is one of the `tokenizers` package, whose ids are the rows of `table`."""
        self._tokenizer = tokenizer
        self._table = table

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Embed each text; see `Embed`."""
        rows = np.zeros((len(texts), self._table.shape[1]), dtype=np.float32)
        for row, encoding in zip(rows, self._tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True):
            if encoding.ids:
                row[:] = self._table[encoding.ids].mean(axis=0, dtype=np.float32)
        return unit(rows)


def unit(rows: Matrix) -> Matrix:
    """The rows at length 1; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


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
    return np.memmap(path, dtype="<f2", mode="r", offset=begin, shape=tuple(described["shape"]))
