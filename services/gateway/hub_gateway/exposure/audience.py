"""Who asks, as far as it changes what they see.

Owns the opened set: which categories and tools an audience has asked for.
"""

from __future__ import annotations

import msgspec

from hub_gateway.config.filter_model import PromptBasedFiltering

MINIMAL_UPSTREAMS = frozenset({"filesystem", "memory"})
MINIMAL_CATEGORIES = frozenset({"filesystem"})


class Opened(msgspec.Struct, frozen=True):
    """What an audience has opened. Frozen, so that it keys the cache of views; opening more makes a new one."""

    everything: bool = True
    meta_tools: bool = True
    call_variants: bool = False
    """Whether `hub__call_tool` is listed as its three variants."""
    brief: bool = False
    """Whether of the hub's own tools that are the same only one is listed."""
    categories: frozenset[str] = frozenset()
    upstreams: frozenset[str] = frozenset()
    public_names: frozenset[str] = frozenset()

    def opens(self, public_name: str, upstream_name: str, category: str) -> bool:
        """Whether a tool of that name, upstream and category is among it."""
        named = public_name in self.public_names or upstream_name in self.upstreams
        return self.everything or named or category in self.categories

    def adding(self, categories: frozenset[str], public_names: frozenset[str]) -> Opened:
        """The same and more: analysis only ever adds."""
        return msgspec.structs.replace(
            self,
            categories=self.categories | categories,
            public_names=self.public_names | public_names,
            meta_tools=True,
        )


ALL = Opened()

NOTHING = Opened(everything=False)
"""Where what is opened beyond the start begins."""


DIRECT = Opened(meta_tools=False)
"""Everything that is allowed, and nothing of the hub's own."""


def prompt_based(prompt: PromptBasedFiltering) -> Opened:
    """What is open before anything was asked (reference: `promptBasedFiltering.defaultExposure`)."""
    opened = Opened(meta_tools=prompt.enable_meta_tools, call_variants=prompt.call_variants)
    if prompt.default_exposure == "all":
        return opened
    if prompt.default_exposure == "minimal":
        return msgspec.structs.replace(
            opened, everything=False, categories=MINIMAL_CATEGORIES, upstreams=MINIMAL_UPSTREAMS
        )
    meta_tools = opened.meta_tools and prompt.default_exposure != "zero"
    return msgspec.structs.replace(opened, everything=False, meta_tools=meta_tools)
