"""What a policy says that its types cannot check: names of servers, categories and entries that nothing can have.

A rule that means nothing is refused where it looks like a slip of the pen, since what was to be hidden would be shown.
Knows no file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from hub_common import globs
from hub_gateway.config.faults import SLIP, Findings, checked, did_you_mean, member
from hub_gateway.config.filter_model import CATEGORIES, CategoryFilter, ToolFiltering

_UNSAFE = re.compile(r"[^A-Za-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_-]+")
_DELIMITER = "__"
_EMPTY = ("zero", "meta-only")
"""What a session begins with that opens no tool of a server."""


class Servers(NamedTuple):
    """The servers of all files, disabled and invalid ones too: a rule about one of them waits for it."""

    names: Collection[str]
    prefixes: frozenset[str]
    """What may stand before `__` in the name of an entry."""
    bare: bool
    """Whether an entry may have a name without a prefix, which may begin with anything."""


def own_prefix(name: str) -> str:
    """What stands before `__` where the entry of a server chooses nothing, and no other server wants the same."""
    return _UNSAFE.sub("_", name)


def servers_of(entries: Mapping[str, Any]) -> Servers:
    """What is known of servers from their entries as written."""
    chosen = {_chosen(entry) for entry in entries.values()} - {None}
    own = {own_prefix(name) for name in entries}
    return Servers(tuple(entries), frozenset(own | {each for each in chosen if each}), "" in chosen)


def policy_of(written: Any, servers: Servers, path: str, own: Findings) -> ToolFiltering | None:
    """The document's own policy, from what stands at `path`; None after a fault, all of which are in `own`."""
    filtering = checked(written, ToolFiltering, path, own)
    if filtering is not None:
        before = len(own.faults)
        check(filtering, servers, filtering.category_filter, path, own)
        check_mode(filtering, path, own)
        if filtering.enabled is None and filtering.mode not in (None, "auto"):
            limit = filtering.auto_enable_threshold
            until = f" until there are more than {limit} tools" if limit else ""
            own.warn(f"{path}.mode", f'is off{until}; `"enabled": true` turns it on')
        return filtering if len(own.faults) == before else None
    return None


def check(
    filtering: ToolFiltering, servers: Servers, mappings: CategoryFilter | None, path: str, own: Findings
) -> None:
    """Note what is wrong between the keys of the policy that stands at `path`.

    `mappings` name categories beside the built-in ones: the document's, also for the policy of a view.
    """
    llm = filtering.llm_categorization
    if llm is not None and llm.enabled and llm.provider is None:
        own.fault(f"{path}.llmCategorization.provider", "missing: whose model is to be asked?")
    if filtering.server_filter is not None:
        for i, name in enumerate(filtering.server_filter.servers):
            if name not in servers.names:
                _unknown(name, servers.names, f"{path}.serverFilter.servers[{i}]", f"no server is called {name!r}", own)
    if filtering.category_filter is not None:
        _check_categories(filtering.category_filter, mappings, f"{path}.categoryFilter", own)
        _check_mappings(filtering.category_filter, servers, f"{path}.categoryFilter", own)
    if filtering.tools is not None:
        for word, given in (("allow", filtering.tools.allow or ()), ("deny", filtering.tools.deny)):
            _check_globs(given, f"{path}.tools.{word}", servers, own)
    _check_globs(filtering.auto.pinned, f"{path}.auto.pinned", servers, own)


def check_mode(filtering: ToolFiltering, path: str, own: Findings) -> None:
    """Note a mode that has no rule, rules that have no mode, and what would hide every tool for good."""
    by_server, by_category = filtering.server_filter is not None, filtering.category_filter is not None
    if filtering.enabled is not False:
        if filtering.mode == "server-allowlist" and not by_server:
            own.warn(path, 'mode "server-allowlist" has no rule without "serverFilter"')
        if filtering.mode == "category" and not by_category:
            own.warn(path, 'mode "category" has no rule without "categoryFilter"')
        if filtering.mode == "hybrid" and not by_server and not by_category:
            own.warn(path, 'mode "hybrid" has no rule without "serverFilter" or "categoryFilter"')
        prompt = filtering.prompt_based_filtering
        if filtering.mode == "prompt-based" and not prompt.enable_meta_tools and prompt.default_exposure in _EMPTY:
            own.warn(f"{path}.promptBasedFiltering.enableMetaTools", "without them no client ever sees a tool")
    if filtering.enabled and filtering.mode is None:
        for key, is_given in (("serverFilter", by_server), ("categoryFilter", by_category)):
            if is_given:
                own.warn(f"{path}.{key}", 'decides nothing without a "mode"')
        if not (by_server or by_category or filtering.tools or filtering.annotations):
            own.warn(f"{path}.enabled", 'decides nothing without a "mode", "tools" or "annotations"')


def _check_categories(chosen: CategoryFilter, mappings: CategoryFilter | None, path: str, findings: Findings) -> None:
    named = [each for each in (chosen, mappings) if each is not None]
    known = dict.fromkeys(
        (
            *CATEGORIES,
            *(c for each in named for c in (*each.custom_mappings.values(), *each.category_overrides.values())),
        )
    )
    for i, name in enumerate(chosen.categories):
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            findings.fault(f"{path}.categories[{i}]", f"nothing gives the category {name!r}{hint}")


def _check_mappings(chosen: CategoryFilter, servers: Servers, path: str, findings: Findings) -> None:
    """A category of one's own is one that is asked for somewhere, or at least none that there nearly is already."""
    for word, given in (("customMappings", chosen.custom_mappings), ("categoryOverrides", chosen.category_overrides)):
        for pattern, category in given.items():
            if not pattern:
                findings.fault(f"{path}.{word}", "a pattern must not be empty")
                continue
            place = member(f"{path}.{word}", pattern)
            if word == "categoryOverrides" and ":" not in pattern and globs.literal_start(pattern) != pattern:
                findings.fault(place, "is to be the whole name of one entry; patterns stand in `customMappings`")
                continue
            _check_prefix(pattern, place, servers, findings)
            known = category in CATEGORIES or category in chosen.categories
            if not known and (hint := did_you_mean(category, CATEGORIES, SLIP)):
                findings.fault(place, f"no category is called {category!r}{hint}")


def _check_globs(given: Sequence[str], path: str, servers: Servers, findings: Findings) -> None:
    for i, glob in enumerate(given):
        if (why := globs.fault(glob)) is not None:
            findings.fault(f"{path}[{i}]", f"{glob!r} is no glob: {why}")
        else:
            _check_prefix(glob, f"{path}[{i}]", servers, findings)


def _check_prefix(glob: str, path: str, servers: Servers, findings: Findings) -> None:
    """A glob that names a server letter by letter is to name one that there is."""
    start = globs.literal_start(glob)
    prefix, delimiter, _ = start.partition(_DELIMITER)
    if servers.bare or not delimiter or not _PREFIX.fullmatch(prefix):
        return
    # Where two servers' prefixes would be the same, `_` and a hash follow them (`catalog/names`).
    if any(start.startswith(each + "_") for each in servers.prefixes):
        return
    _unknown(prefix, servers.prefixes, path, f"{glob!r} matches nothing: no server has the prefix {prefix!r}", findings)


def _unknown(name: str, known: Collection[str], path: str, sentence: str, findings: Findings) -> None:
    """A slip of the pen is refused; another name may be that of a server which comes with another file, or is gone."""
    if hint := did_you_mean(name, known, SLIP):
        findings.fault(path, sentence + hint)
    else:
        findings.warn(path, sentence)


def _chosen(entry: Any) -> str | None:
    given = cast("Mapping[str, Any]", entry).get("prefix") if isinstance(entry, Mapping) else None
    return given if isinstance(given, str) else None
