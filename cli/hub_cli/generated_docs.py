"""Writes what `docs/` says of the config's keys and the services' settings: `python -m hub_cli.generated_docs [DOCS]`.

The one place that sees the settings of all services. Prose around the generated blocks stays as people wrote it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hub_categorizer import settings as categorizer
from hub_common.settings import describe
from hub_filter import settings as filter_
from hub_gateway import settings as gateway
from hub_gateway.config import schema

_SERVICES = (
    ("Gateway", gateway.GatewaySettings, gateway.PREFIX),
    ("Filter", filter_.Settings, filter_.PREFIX),
    ("Categorizer", categorizer.Settings, categorizer.PREFIX),
)


def generated(docs: Path) -> dict[Path, str]:
    """The text each generated file should have, by path. Reads the prose of `docs/configuration.md`.

    Raises:
        ValueError: the file has no block of an expected name.
    """
    page = docs / "configuration.md"
    text = page.read_text("utf-8")
    for name, block in (("keys", schema.markdown()), ("settings", _settings())):
        text = _with_block(text, name, block)
    return {docs / "config.schema.json": schema.schema_text(), page: text}


def _settings() -> str:
    return "\n".join(_table(title, struct, prefix) for title, struct, prefix in _SERVICES)


def _table(title: str, struct: type, prefix: str) -> str:
    lines = [f"### {title} (`{prefix}_*`)", "", "| variable | type | default | meaning |", "|---|---|---|---|"]
    for doc in describe(struct, prefix):
        default = doc.default if doc.default in ("", "required") else f"`{doc.default}`"
        cells = (f"`{doc.name}`", doc.type, default, doc.doc)
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _with_block(text: str, name: str, block: str) -> str:
    begin, end = f"<!-- begin generated: {name} -->\n", f"<!-- end generated: {name} -->\n"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"no block {name!r}")
    return f"{before}{begin}\n{block}\n{end}{after}"


def main(arguments: list[str]) -> int:
    """Bring the files up to date; tells each one it changed."""
    docs = Path(arguments[0]) if arguments else Path("docs")
    for path, text in generated(docs).items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
