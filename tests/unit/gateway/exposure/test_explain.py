"""What explain says is what is decided: on ten thousand random policies over random catalogues, by the real rules."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.filter.v1 import filter_pb2 as pb
from hub_filter import rules, servicer
from hub_filter.index import Index
from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.model import (
    AnnotationFilter,
    CategoryFilter,
    NameFilter,
    PromptBasedFiltering,
    ServerFilter,
    ToolFiltering,
)
from hub_gateway.exposure.audience import NOTHING
from hub_gateway.exposure.current import Audience, Category, Exposure
from hub_gateway.exposure.explain import explain, nearest
from hub_gateway.exposure.policy import effective
from hub_gateway.exposure.start import at_start
from hub_gateway.exposure.verdicts import EVERYTHING, Rule, decided
from hub_gateway.exposure.view import Look
from hub_gateway.satellites import filter as satellite
from hub_gateway.wire.revisions import Era
from tests.unit.gateway.catalog.offerings import catalog, offering, raw

NAMES = ("git", "mail", "web")
CATEGORIES = ("search", "web", "other")
GLOBS = ("*", "git__*", "*__read*", "mail__[a-r]*", "r:*", "web__?", "*__*:*")
MODES: tuple[Any, ...] = (None, "server-allowlist", "category", "hybrid", "prompt-based")


def _offering(dice: random.Random) -> Offering:
    tools = [
        raw(name=name, annotations={"readOnlyHint": dice.random() < 0.5} if dice.random() < 0.7 else None)
        for name in dice.sample(("read", "send", "drop", "x"), dice.randrange(1, 4))
    ]
    others = offering([], ["p"], [f"r:{dice.randrange(3)}"], ["t:{id}"] if dice.random() < 0.3 else [])
    return msgspec.structs.replace(others, tools=tuple(tools))


def _filtering(dice: random.Random) -> ToolFiltering:
    def some(of: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dice.sample(of, dice.randrange(len(of))))

    def maybe(value: Any) -> Any:
        return value if dice.random() < 0.6 else None

    return ToolFiltering(
        enabled=dice.choice((True, True, None, False)),
        mode=dice.choice(MODES),
        server_filter=maybe(ServerFilter(dice.choice(("allowlist", "denylist")), some(NAMES))),
        category_filter=maybe(CategoryFilter(some(CATEGORIES))),
        tools=maybe(NameFilter(maybe(some(GLOBS)), some(GLOBS[1:4]))),
        annotations=maybe(AnnotationFilter(read_only=dice.choice((True, False, None)), open_world=maybe(True))),
        prompt_based_filtering=PromptBasedFiltering(default_exposure=dice.choice(("zero", "minimal", "all"))),
    )


def _exposure(dice: random.Random) -> Exposure:
    found: Catalog = catalog({name: _offering(dice) for name in dice.sample(NAMES, dice.randrange(1, 4))})
    policy = effective(_filtering(dice), len(found.entries))
    categories = {(e.upstream_name, e.digest): Category(dice.choice(CATEGORIES)) for e in found.entries}
    verdicts = EVERYTHING
    if policy.in_force:
        sent = satellite._policy(policy.filtering, policy.mode)  # pyright: ignore[reportPrivateUsage]
        told = servicer._policy(pb.DecideRequest(policy=sent))  # pyright: ignore[reportPrivateUsage]
        index = Index(satellite._catalog(found), lambda _: _never())  # pyright: ignore[reportPrivateUsage]
        answer = rules.decide(index.subjects, told, [categories[e.upstream_name, e.digest].name for e in found.entries])
        verdicts = decided(found, [Rule(*answer.rules[place]) for place in answer.rule_of_entry])
    exposure = Exposure(found, verdicts, categories, policy=policy)
    return msgspec.structs.replace(exposure, at_start=at_start(policy, exposure))


def _never() -> Any:
    raise AssertionError("nothing is ranked here")


@settings(max_examples=10_000, deadline=None)
@given(st.integers(0, 2**63))
def test_explain_says_what_is_decided(seed: int) -> None:
    dice = random.Random(seed)
    exposure = _exposure(dice)
    audience = Audience("", Look(b"{}"))
    audience.swap(exposure)
    opened = audience.at_start
    if dice.random() < 0.5:
        names = frozenset(entry.public_name for entry in exposure.catalog.entries if dice.random() < 0.3)
        opened = opened.adding(NOTHING.categories, names)
    view = audience.view(opened)
    lists = {kind: json.loads(view.page(kind, Era.HANDSHAKE, None))[kind.value] for kind in EntryKind}
    for entry in exposure.catalog.entries:
        is_up = dice.random() < 0.8
        said = explain(exposure, view, opened, entry, is_up=is_up, places={})
        assert said.visible == (entry.public_name in [each[entry.kind.key] for each in lists[entry.kind]])
        assert said.visible == (view.resolve(entry.kind, entry.public_name) is entry)
        assert said.allowed == exposure.verdicts.allows(entry) == audience.allowed.shows(entry)
        assert said.visible == (said.allowed and said.opened)
        assert said.callable == (said.visible and is_up)
        assert Rule(said.rule, said.allowed) == exposure.verdicts.rule(entry)


def test_who_is_like_a_name_that_nobody_has() -> None:
    found = catalog({"github": offering(["search", "create_issue"]), "mail": offering(["send"], ["search"])})
    assert nearest(found, EntryKind.TOOL, "search") == ["github__search"]
    assert nearest(found, EntryKind.TOOL, "github__serach")[0] == "github__search"
    assert nearest(found, EntryKind.PROMPT, "zzz") == []
