"""Why one audience sees an entry or does not: the four adjectives, the rule, where it stands, and what would change it.

Pure. Decides nothing: it reads the verdict and the view that decide, so its answer cannot differ from theirs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

import msgspec

from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.config.model import Place
from hub_gateway.exposure.audience import Opened
from hub_gateway.exposure.current import Category, Exposure
from hub_gateway.exposure.policy import Policy
from hub_gateway.exposure.view import View

_LAST = re.compile(r"(?:\.[^.\[]+|\[[^\[]*\])$")


class Explanation(msgspec.Struct, frozen=True):
    """The answer. `allowed` and `opened` together are `visible`; with its upstream up the entry is `callable`; a tool
    for apps alone is so unopened."""

    entry: Entry
    allowed: bool
    opened: bool
    visible: bool
    callable: bool
    rule: str
    path: str
    """Of the rule in the config; "" where no key of it decides."""
    place: Place | None
    """The nearest place of that path that is written; None where nothing of it is."""
    switched: bool
    """Whether the value at that path is not the config's, but that of a switch since."""
    category: Category | None
    change: str
    """What would make the entry visible, or hide it."""


def explain(
    exposure: Exposure,
    view: View,
    opened: Opened,
    entry: Entry,
    *,
    is_up: bool,
    places: Mapping[str, Place],
    switched: Collection[str] = (),
) -> Explanation:
    """Explain an entry of the exposure's catalog to who has opened this much and so sees this view of it.

    Args:
        exposure: what is decided of every entry.
        view: what is seen of it.
        opened: what the view's owner has opened.
        entry: of the exposure's catalog.
        is_up: whether the entry's upstream is connected.
        places: where the keys of the config are written.
        switched: keys of the policy whose value is not the config's.
    """
    rule = exposure.verdicts.rule(entry)
    visible = view.shows(entry)
    reached = visible or (rule.allows and not entry.is_for_models)
    relative = _path(rule.id, exposure.policy.filtering, entry)
    if exposure.policy.automatic and _root(relative, view.name, places) is None:
        relative = "autoEnableThreshold"  # which chose the mode, and what it shows
    by_switch = relative in switched
    path, place = (f"toolFiltering.{relative}", None) if by_switch else _placed(relative, view.name, places)
    category = exposure.categories.get(entry.category_key)
    return Explanation(
        entry=entry,
        allowed=rule.allows,
        opened=visible if rule.allows else _is_open(opened, exposure, entry),
        visible=visible,
        callable=reached and is_up,
        rule=rule.id,
        path=path,
        place=place,
        switched=by_switch,
        category=category,
        change=_change(rule.id, exposure.policy, allows=rule.allows, reached=reached, is_up=is_up),
    )


def nearest(catalog: Catalog, kind: EntryKind, name: str) -> list[str]:
    """Public names of this kind that are like a name nobody has, the likest first."""
    by_folded = {entry.public_name.casefold(): entry.public_name for entry in catalog.entries if entry.kind is kind}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=5, cutoff=0.5)
    parts = [folded for folded in by_folded if folded.endswith("__" + name.casefold())]
    return [by_folded[folded] for folded in dict.fromkeys([*parts, *near])][:5]


def _is_open(opened: Opened, exposure: Exposure, entry: Entry) -> bool:
    """Whether an entry that is not allowed would be seen if it were: other kinds than tools are never held back."""
    category = exposure.category(entry).name
    return entry.kind is not EntryKind.TOOL or opened.opens(entry.public_name, entry.upstream_name, category)


def _path(rule: str, filtering: ToolFiltering, entry: Entry) -> str:
    family, _, name = rule.partition(":")
    if family in ("tools.deny", "tools.allow"):
        names = filtering.tools
        given = () if names is None else names.deny if family == "tools.deny" else names.allow or ()
        return f"{family}[{given.index(name)}]" if name in given else family
    if family == "annotations":
        return f"annotations.{name}"
    if family.startswith("server-") and filtering.server_filter is not None:
        listed = filtering.server_filter.servers
        place = f"[{listed.index(entry.upstream_name)}]" if entry.upstream_name in listed else ""
        return f"serverFilter.servers{place}"
    if family.startswith("category") and filtering.category_filter is not None:
        chosen = filtering.category_filter.categories
        return f"categoryFilter.categories[{chosen.index(name)}]" if name in chosen else "categoryFilter.categories"
    if family == "filter-unavailable":
        return "onFilterUnavailable"
    return "enabled" if rule == "mode:off" else "mode"


def _root(relative: str, view_name: str, places: Mapping[str, Place]) -> str | None:
    """The policy in which that key is written: the view's, else the document's; None where neither has it."""
    key = _key(relative)
    roots = (f"views.{view_name}.toolFiltering", "toolFiltering") if view_name else ("toolFiltering",)
    return next((root for root in roots if f"{root}.{key}" in places), None)


def _key(relative: str) -> str:
    """The key of a policy that a path in it begins with."""
    return re.split(r"[.\[]", relative, maxsplit=1)[0]


def _placed(relative: str, view_name: str, places: Mapping[str, Place]) -> tuple[str, Place | None]:
    """The whole path, in the view where that has the key and else in the document, and where it is written."""
    root = _root(relative, view_name, places)
    if root is None and _key(relative) in ("enabled", "onFilterUnavailable"):
        return "", None
    path = seen = f"{root or 'toolFiltering'}.{relative}"
    while seen and seen not in places:
        shorter = _LAST.sub("", seen)
        seen = "" if shorter == seen else shorter
    return path, places.get(seen) if seen else None


_CHANGES = {
    "tools.deny": "take the glob out of `tools.deny`",
    "tools.allow": "add a glob to `tools.allow` that matches its name",
    "annotations": "take the hint out of `annotations`, or let the server say of the tool what is required",
    "server-allowlist": "add its server to `serverFilter.servers`",
    "server-denylist": "take its server out of `serverFilter.servers`",
    "category": "add its category to `categoryFilter.categories`, or give it another with `categoryOverrides`",
    "category-unknown": "wait for the categorizer, or give it a category with `categoryOverrides`",
    "hybrid": "let `serverFilter` show its server or `categoryFilter` its category",
    "filter-unavailable": "bring the filter service back, or set `onFilterUnavailable`",
}


def _change(rule: str, policy: Policy, *, allows: bool, reached: bool, is_up: bool) -> str:
    if not allows:
        return _CHANGES.get(rule.partition(":")[0], "another `mode`") + ", for it to be allowed"
    if not reached and not policy.has_meta_tools:
        return "set `promptBasedFiltering.enableMetaTools`, for it to be opened by `hub__analyze_prompt`"
    if not reached:
        return "ask for it with `hub__analyze_prompt`, for it to be opened"
    if not is_up:
        return "start its server, for it to be callable"
    return "a glob in `tools.deny` that matches its name would hide it"
