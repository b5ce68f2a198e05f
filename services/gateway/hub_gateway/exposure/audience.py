"""Who asks, as far as it changes what they see.

Owns the opened set: which categories and tools an audience has asked for.
"""

from __future__ import annotations

from functools import reduce
from itertools import zip_longest

import msgspec

from hub_gateway.config.filter_model import PromptBasedFiltering

MINIMAL_UPSTREAMS = frozenset({"filesystem", "memory"})
MINIMAL_CATEGORIES = frozenset({"filesystem"})


class Batch(msgspec.Struct, frozen=True):
    """What was opened at one time."""

    categories: frozenset[str] = frozenset()
    public_names: frozenset[str] = frozenset()

    def union(self, other: Batch) -> Batch:
        """Both."""
        return Batch(self.categories | other.categories, self.public_names | other.public_names)


class Opened(msgspec.Struct, frozen=True):
    """What an audience has opened. Frozen, so that it keys the cache of views; opening more makes a new one.

    What is opened later is listed behind what was there, so that a list keeps its beginning: models and those who serve
    them pay less for a beginning they have seen.
    """

    everything: bool = True
    meta_tools: bool = True
    call_variants: bool = False
    """Whether `hub__call_tool` is listed as its three variants."""
    brief: bool = False
    """Whether of the hub's own tools that are the same only one is listed."""
    categories: frozenset[str] = frozenset()
    upstreams: frozenset[str] = frozenset()
    public_names: frozenset[str] = frozenset()
    later: tuple[Batch, ...] = ()
    """In the order in which it was opened."""

    def opens(self, public_name: str, upstream_name: str, category: str) -> bool:
        """Whether a tool of that name, upstream and category is among it."""
        batches = (Batch(self.categories, self.public_names), *self.later)
        named = any(public_name in each.public_names or category in each.categories for each in batches)
        return self.everything or named or upstream_name in self.upstreams

    def adding(self, categories: frozenset[str], public_names: frozenset[str]) -> Opened:
        """The same and more: analysis only ever adds. What was opened before stays where it is."""
        known = reduce(Batch.union, self.later, Batch(self.categories, self.public_names))
        new = Batch(categories - known.categories, public_names - known.public_names)
        later = self.later if new == Batch() else (*self.later, new)
        return msgspec.structs.replace(self, later=later, meta_tools=True)

    def followed_by(self, beyond: Opened) -> Opened:
        """The same, and behind it what was opened beyond a start."""
        return msgspec.structs.replace(self, later=self.later + beyond.later, meta_tools=True)

    def merged(self, other: Opened) -> Opened:
        """This and what was opened at the same time elsewhere, time by time. Whoever merges the same comes to the same,
        in whatever order."""
        pairs = zip_longest(self.later, other.later, fillvalue=Batch())
        return msgspec.structs.replace(self, later=tuple(mine.union(others) for mine, others in pairs))


ALL = Opened()

NOTHING = Opened(everything=False)
"""Where what is opened beyond the start begins."""


def opening(before: Opened | None, batch: Batch | None) -> Opened | None:
    """What is open beyond the start once a batch is opened behind what was; None closes everything."""
    return None if batch is None else (before or NOTHING).adding(batch.categories, batch.public_names)


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
