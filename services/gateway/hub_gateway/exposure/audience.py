"""Who asks, as far as it changes what they see.

Owns the opened set of prompt-based mode: which categories and tools an audience has asked for.
"""

from __future__ import annotations

import msgspec

MINIMAL_UPSTREAMS = frozenset({"filesystem", "memory"})
MINIMAL_CATEGORIES = frozenset({"filesystem"})


class Opened(msgspec.Struct, frozen=True):
    """What an audience has opened. Frozen, so that it keys the cache of views; opening more makes a new one."""

    everything: bool = True
    meta_tools: bool = True
    categories: frozenset[str] = frozenset()
    upstreams: frozenset[str] = frozenset()
    public_names: frozenset[str] = frozenset()

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


def at_start(mode: str | None, default_exposure: str, meta_tools: bool) -> Opened:
    """What is open before anything was asked (reference: `promptBasedFiltering.defaultExposure`).

    Outside prompt-based mode everything is open and there are no meta-tools.
    """
    if mode != "prompt-based":
        return Opened(meta_tools=False)
    if default_exposure == "all":
        return Opened(meta_tools=meta_tools)
    if default_exposure == "minimal":
        return Opened(
            everything=False, meta_tools=meta_tools, categories=MINIMAL_CATEGORIES, upstreams=MINIMAL_UPSTREAMS
        )
    return Opened(everything=False, meta_tools=meta_tools and default_exposure != "zero")
