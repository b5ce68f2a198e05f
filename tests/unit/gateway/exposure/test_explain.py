"""What explain says is what is decided: on ten thousand random policies over random catalogues, by the real rules."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.filter.v1 import filter_pb2 as pb
from hub_filter import rules, servicer
from hub_filter.index import Index
from hub_filter.servicer import start
from hub_filter.settings import Settings as FilterSettings
from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.filter_model import (
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
MODES: tuple[Any, ...] = (None, "server-allowlist", "category", "hybrid", "prompt-based", "auto")
MENUS = 500


def _offering(dice: random.Random) -> Offering:
    tools = [
        raw(
            name=name,
            annotations={"readOnlyHint": dice.random() < 0.5} if dice.random() < 0.7 else None,
            _meta={"ui": {"visibility": ["app"] if dice.random() < 0.2 else ["app", "model"]}},
        )
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


class Menu(NamedTuple):
    """A catalog, and the filter's index of it."""

    catalog: Catalog
    known: Index


@cache
def _menu(number: int) -> Menu:
    """One of `MENUS` random catalogs; making one costs more than all else here."""
    dice = random.Random(number)
    found = catalog({name: _offering(dice) for name in dice.sample(NAMES, dice.randrange(1, 4))})
    told = satellite._catalog(found)  # pyright: ignore[reportPrivateUsage]
    return Menu(found, Index(told, lambda _: _never()))


def _never() -> Any:
    raise AssertionError("nothing is ranked here")


def _undecided(dice: random.Random, menu: Menu) -> Exposure:
    found = menu.catalog
    categories = {e.category_key: Category(dice.choice(CATEGORIES)) for e in found.entries}
    return Exposure(found, EVERYTHING, categories, policy=effective(_filtering(dice), len(found.entries)))


def _decided(exposure: Exposure, rules_: list[Rule]) -> Exposure:
    exposure = msgspec.structs.replace(exposure, verdicts=decided(exposure.catalog, rules_))
    return msgspec.structs.replace(exposure, at_start=at_start(exposure.policy, exposure))


def _names(exposure: Exposure) -> list[str]:
    return [exposure.category(entry).name for entry in exposure.catalog.entries]


def _agrees(dice: random.Random, exposure: Exposure) -> None:
    """Explain every entry to somebody who has opened some, and hold it against what they see."""
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
        reached = said.visible or (said.allowed and not entry.is_for_models)
        assert said.callable == (reached and is_up)
        assert Rule(said.rule, said.allowed) == exposure.verdicts.rule(entry)


@settings(max_examples=10_000, deadline=None)
@given(st.integers(0, 2**63))
def test_explain_says_what_is_decided(seed: int) -> None:
    dice = random.Random(seed)
    menu = _menu(dice.randrange(MENUS))
    exposure = _undecided(dice, menu)
    policy = exposure.policy
    if policy.in_force:
        sent = satellite._policy(policy.filtering, policy.mode)  # pyright: ignore[reportPrivateUsage]
        told = servicer._policy(pb.DecideRequest(policy=sent))  # pyright: ignore[reportPrivateUsage]
        answer = rules.decide(menu.known.subjects, told, _names(exposure))
        exposure = _decided(exposure, [Rule(*answer.rules[place]) for place in answer.rule_of_entry])
    _agrees(dice, exposure)


@pytest.mark.anyio
async def test_explain_says_what_the_service_decides(tmp_path: Path) -> None:
    server = await start(FilterSettings(), f"unix:{tmp_path}/filter")
    client = satellite.Filter(server.address, timeout_s=20.0)
    shown = hidden = 0
    try:
        for seed in range(300):
            dice = random.Random(seed)
            exposure = _undecided(dice, _menu(dice.randrange(MENUS)))
            policy = exposure.policy
            if policy.in_force:
                names = _names(exposure) if policy.needs_categories else []
                found = await client.decide(exposure.catalog, policy.filtering, policy.mode, names)
                exposure = _decided(exposure, found)
                shown += sum(rule.allows for rule in found)
                hidden += sum(not rule.allows for rule in found)
            _agrees(dice, exposure)
    finally:
        await client.close()
        await server.stop(0)
    assert min(shown, hidden) > 100, "both were decided"


def test_who_is_like_a_name_that_nobody_has() -> None:
    found = catalog({"github": offering(["search", "create_issue"]), "mail": offering(["send"], ["search"])})
    assert nearest(found, EntryKind.TOOL, "search") == ["github__search"]
    assert nearest(found, EntryKind.TOOL, "github__serach")[0] == "github__search"
    assert nearest(found, EntryKind.PROMPT, "zzz") == []
