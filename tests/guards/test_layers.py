"""The pure zone stays pure: no loop, no sockets, no files, no clock (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATEWAY = ROOT / "services/gateway/hub_gateway"

PURE = [
    *sorted((GATEWAY / "wire").glob("*.py")),
    *sorted((GATEWAY / "catalog").glob("*.py")),
    *sorted((GATEWAY / "exposure").glob("*.py")),
    GATEWAY / "upstreams/pending.py",
    GATEWAY / "upstreams/oauth/challenge.py",
    GATEWAY / "upstreams/oauth/urls.py",
    ROOT / "services/filter/hub_filter/rules.py",
    ROOT / "services/filter/hub_filter/ranking.py",
    ROOT / "services/filter/hub_filter/bm25.py",
    ROOT / "services/filter/hub_filter/capabilities.py",
    ROOT / "services/filter/hub_filter/document.py",
    ROOT / "services/filter/hub_filter/glossary.py",
    ROOT / "services/filter/hub_filter/vectors.py",
    ROOT / "services/filter/hub_filter/words.py",
    ROOT / "services/categorizer/hub_categorizer/taxonomy.py",
    ROOT / "services/categorizer/hub_categorizer/cues.py",
    ROOT / "services/categorizer/hub_categorizer/llm_prompts.py",
    ROOT / "services/common/hub_common/breaker.py",
]
BANNED = {"asyncio", "grpc", "redis", "httpx", "starlette", "uvicorn", "socket", "os", "time", "subprocess", "logging"}


def imported(path: Path) -> set[str]:
    """Top-level names of everything a module imports, at whatever depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_pure_module_imports_nothing_that_acts(path: Path) -> None:
    assert imported(path) & BANNED == set()


def test_generated_stubs_match_the_contracts(tmp_path: Path) -> None:
    import subprocess
    import sys

    protos = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", f"--python_out={tmp_path}",
         f"--grpc_python_out={tmp_path}", *protos],
        check=True,
    )  # fmt: skip
    for made in sorted(tmp_path.rglob("*.py")):
        kept = ROOT / "proto" / made.relative_to(tmp_path)
        assert kept.read_text() == made.read_text(), f"run `make proto`: {kept} is out of date"
