"""Rules for single entries that no entry obeys: a name with a slip of the pen in it hides nothing, or pins nothing.

Pure. Speaks of servers that list something now; another may be away, and come back with what is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hub_common.globs import Globs, literal_start
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.faults import SLIP, did_you_mean, member
from hub_gateway.config.filter_model import ToolFiltering


def unmatched(filtering: ToolFiltering, catalog: Catalog, path: str, below: ToolFiltering | None = None) -> list[str]:
    """A sentence, "path: what is wrong", for each name or glob that begins with a server's prefix and names nothing.

    Args:
        filtering: the policy.
        catalog: of everything there is now.
        path: where the policy stands.
        below: the policy it stands on, which answers for what is the same in both.
    """
    given = list(_given(filtering, below))
    if not given:  # as mostly: nothing is looked through then
        return []
    named = [(name, e.local_name) for e in catalog.entries for name in (e.public_name, catalog.prefixed(e))]
    prefixes = {name.removesuffix(local) for name, local in named} - {""}
    sentences: list[str] = []
    for place, glob, is_whole in given:
        start = glob if is_whole else literal_start(glob)
        prefix = max((each for each in prefixes if start.startswith(each)), key=len, default=None)
        if prefix is None:
            continue
        near = [name for name, _ in named if name.startswith(prefix)]
        if not (glob in near if is_whole else Globs([glob]).first(*(name for name in near if name.startswith(start)))):
            hint = did_you_mean(glob, near, SLIP) if start == glob else ""
            sentences.append(f"{path}.{place}: {glob!r} matches nothing of what {prefix!r} lists now{hint}")
    return sentences


def _given(filtering: ToolFiltering, below: ToolFiltering | None) -> Iterator[tuple[str, str, bool]]:
    """Where each stands, what it is, and whether it is a name and no glob."""
    tools, categories = filtering.tools, filtering.category_filter
    if tools is not None and (below is None or tools != below.tools):
        yield from _listed("tools.allow", tools.allow or ())
        yield from _listed("tools.deny", tools.deny)
    if below is None or filtering.auto != below.auto:
        yield from _listed("auto.pinned", filtering.auto.pinned)
    if categories is not None and (below is None or categories != below.category_filter):
        for name in categories.category_overrides:
            yield member("categoryFilter.categoryOverrides", name), name, True


def _listed(path: str, globs: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    yield from ((f"{path}[{i}]", glob, False) for i, glob in enumerate(globs))
