"""The policy in force: what the document says of filtering, and what the size of the catalog adds to it.

Owns `enabled`, `mode` and `autoEnableThreshold` (reference: toolFiltering). Globs and annotations hold in every mode,
also without one; only `enabled: false` turns them off. Pure; decides nothing about an entry.
"""

from __future__ import annotations

import msgspec

from hub_gateway.config.filter_model import CategoryFilter, ToolFiltering

AUTO_CATEGORIES = ("filesystem", "web", "search", "development")
"""Shown when filtering goes on by itself and nothing else is configured."""


class Policy(msgspec.Struct, frozen=True):
    """What is in force. `mode` is None where none is; `automatic` where the threshold turned it on."""

    filtering: ToolFiltering
    mode: str | None = None
    automatic: bool = False

    @property
    def in_force(self) -> bool:
        """Whether anything is decided at all: by the mode, or by what is said of single entries."""
        own = self.filtering.tools is not None or self.filtering.annotations is not None
        return self.mode is not None or (own and self.filtering.enabled is not False)

    @property
    def hides_nothing(self) -> bool:
        """Whether every entry is allowed, whatever it is: a mode that searches, and no rule beside it."""
        filtering = self.filtering
        rules = [filtering.tools, filtering.annotations]
        if self.mode == "auto":
            rules += [filtering.server_filter, filtering.category_filter]
        return self.mode in ("prompt-based", "auto") and all(rule is None for rule in rules)

    @property
    def needs_categories(self) -> bool:
        """Whether a verdict depends on categories."""
        by_category = self.filtering.category_filter is not None
        return self.mode in ("category", "hybrid") or (self.mode == "auto" and by_category)

    @property
    def has_meta_tools(self) -> bool:
        """Whether the hub's own tools can be called, listed or not."""
        return self.mode in ("prompt-based", "auto") and self.filtering.prompt_based_filtering.enable_meta_tools


def effective(filtering: ToolFiltering, tool_count: int) -> Policy:
    """The policy for a catalog of that many tools.

    A mode that is configured is never replaced: passing the threshold only turns it on. Mode `auto` looks at the size
    of the catalog itself, and waits for no threshold.
    """
    if filtering.enabled is None and filtering.mode == "auto":
        return Policy(filtering, "auto")
    if filtering.enabled is not None:
        return Policy(filtering, filtering.mode if filtering.enabled else None)
    if not filtering.auto_enable_threshold or tool_count <= filtering.auto_enable_threshold:
        return Policy(filtering)
    if filtering.mode is not None:
        return Policy(filtering, filtering.mode, automatic=True)
    chosen = filtering.category_filter or CategoryFilter(AUTO_CATEGORIES)
    return Policy(msgspec.structs.replace(filtering, category_filter=chosen), "category", automatic=True)
