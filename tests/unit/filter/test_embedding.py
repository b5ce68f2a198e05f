"""Static embeddings come from installed files, without a network, and bring near what means the same."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from hub_filter import embedding
from hub_filter.embedding import EmbeddingAbsent, StaticEmbedding


@lru_cache
def loaded() -> StaticEmbedding:
    return embedding.load()


def likeness(one: str, other: str) -> float:
    rows = loaded().embed([one, other])
    return float(rows[0] @ rows[1])


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("purchase a product", "buy something in a shop", "tune a piano"),
        ("picture", "photo", "calendar"),
        ("delete a file", "remove a document", "weather in Paris"),
    ],
)
def test_texts_of_one_meaning_point_one_way(text: str, near: str, far: str) -> None:
    assert likeness(text, near) > likeness(text, far) + 0.1


def test_rows_have_length_one_and_blank_texts_are_zeros() -> None:
    rows = loaded().embed(["", "a file", "搜索", ""])
    assert np.linalg.norm(rows, axis=1).tolist() == pytest.approx([0, 1, 1, 0], abs=1e-5)
    assert loaded().embed([]).shape == (0, 256)
    assert not loaded().embed(["", " "]).any()


def test_letters_outside_the_vocabulary_do_not_drown_the_words_beside_them() -> None:
    assert likeness("weather", "𐍈𐍉𐍊 weather 𐌰𐌱𐌲") > 0.8


def test_a_text_has_the_same_row_alone_and_among_many() -> None:
    texts = [f"tool number {number}" if number % 7 else "" for number in range(450)]
    together = loaded().embed(texts)
    for at in (0, 1, 199, 200, 449):
        assert np.allclose(together[at], loaded().embed([texts[at]])[0], atol=1e-6)


def test_loading_opens_no_socket_and_imports_nothing_of_the_package() -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from hub_filter import embedding\n"
        "assert embedding.load().embed(['a file']).any()\n"
        "assert 'wordllama' not in sys.modules and 'huggingface_hub' not in sys.modules\n"
    )
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", script], env=environ, check=True, timeout=60)


def test_absence_of_the_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(EmbeddingAbsent, match="not installed"):
        embedding.load()


def test_files_that_are_something_else_are_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "wordllama" / "weights" / "l2_supercat_256.safetensors"
    weights.parent.mkdir(parents=True)
    (tmp_path / "wordllama" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(EmbeddingAbsent, match="cannot be read"):
        embedding.load()
    weights.write_bytes(b"not what it was")
    with pytest.raises(EmbeddingAbsent, match="cannot be read"):
        embedding.load()
