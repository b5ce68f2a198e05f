"""Texts as directions: the vectors a ranking compares, whoever made them.

Owns their shapes. Pure: the function that embeds a text is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]
Embed = Callable[[Sequence[str]], Matrix]
"""Gives a row per text, of length 1, or of zeros for a text that has nothing to embed."""


class Vectors(NamedTuple):
    """The entries of a ranking, a row each, and what embeds a prompt into the same space."""

    entries: Matrix
    embed: Embed


def unit(rows: Matrix) -> Matrix:
    """The rows at length 1; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
