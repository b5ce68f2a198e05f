"""Which rule of a policy decides over an entry, and how.

Owns the modes' meaning. Pure. Does not know gRPC, the config document or sessions: what `prompt-based` opens is decided
per session, elsewhere.

Rule ids, for people and for statistics:

    mode:off, mode:prompt-based          everything is allowed
    server-allowlist:listed              allowed   (`not-listed`: hidden)
    server-denylist:listed               hidden    (`not-listed`: allowed)
    server-allowlist:no-filter           allowed: the mode is set, its filter is not
    category:NAME                        allowed when NAME is one of the policy's, else hidden
    category-unknown                     hidden: the entry has no category (yet)
    category:no-filter                   allowed: the mode is set, its filter is not
    hybrid:neither                       hidden: neither the server rule nor the category rule allows it
    hybrid:no-filter                     allowed: the mode is set, neither filter is

In hybrid mode an entry is allowed by the server rule OR the category rule, so a category brings back entries of a
server that is denied; the id is that of the rule that allows, the server's first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec


class Mode(Enum):
    """The words of `toolFiltering.mode`, and off."""

    OFF = "off"
    SERVER_ALLOWLIST = "server-allowlist"
    CATEGORY = "category"
    HYBRID = "hybrid"
    PROMPT_BASED = "prompt-based"


class ServerFilter(msgspec.Struct, frozen=True):
    """A list of upstreams' names, and whether it allows or denies."""

    servers: frozenset[str]
    deny: bool = False


class Policy(msgspec.Struct, frozen=True):
    """What decides. A filter that is None is not configured, which is not the same as an empty one."""

    mode: Mode
    server_filter: ServerFilter | None = None
    categories: frozenset[str] | None = None


class Rule(NamedTuple):
    """What decided: the id as in the module's docstring, and the decision."""

    id: str
    allows: bool


class Verdicts(NamedTuple):
    """The decision over a catalog: per entry an index into `rules`. Rules stand in the order they were first needed."""

    rule_of_entry: list[int]
    rules: list[Rule]


def decide(upstream_names: Sequence[str], policy: Policy, categories: Sequence[str] = ()) -> Verdicts:
    """Decide over every entry.

    Args:
        upstream_names: the upstream each entry belongs to.
        policy: the same for all of them.
        categories: per entry its category, "" where none is known; or empty, when none is known at all.

    Raises:
        ValueError: `categories` is neither empty nor as long as `upstream_names`.
    """
    if categories and len(categories) != len(upstream_names):
        raise ValueError(f"{len(categories)} categories for {len(upstream_names)} entries")
    rule_for = _RULES[policy.mode]
    index_of_rule: dict[Rule, int] = {}
    index_of_pair: dict[tuple[str, str], int] = {}
    rule_of_entry: list[int] = []
    for pair in zip(upstream_names, categories or [""] * len(upstream_names), strict=True):
        index = index_of_pair.get(pair)
        if index is None:
            index = index_of_rule.setdefault(rule_for(policy, *pair), len(index_of_rule))
            index_of_pair[pair] = index
        rule_of_entry.append(index)
    return Verdicts(rule_of_entry, list(index_of_rule))


def _by_server(policy: Policy, upstream_name: str, category: str) -> Rule:
    del category
    if policy.server_filter is None:
        return Rule("server-allowlist:no-filter", True)
    return _server_rule(policy.server_filter, upstream_name)


def _by_category(policy: Policy, upstream_name: str, category: str) -> Rule:
    del upstream_name
    if policy.categories is None:
        return Rule("category:no-filter", True)
    return _category_rule(policy.categories, category)


def _by_either(policy: Policy, upstream_name: str, category: str) -> Rule:
    if policy.server_filter is None and policy.categories is None:
        return Rule("hybrid:no-filter", True)
    rules: list[Rule] = []
    if policy.server_filter is not None:
        rules.append(_server_rule(policy.server_filter, upstream_name))
    if policy.categories is not None:
        rules.append(_category_rule(policy.categories, category))
    return next((rule for rule in rules if rule.allows), Rule("hybrid:neither", False))


def _server_rule(server_filter: ServerFilter, upstream_name: str) -> Rule:
    listed = upstream_name in server_filter.servers
    word = "denylist" if server_filter.deny else "allowlist"
    return Rule(f"server-{word}:{'listed' if listed else 'not-listed'}", listed != server_filter.deny)


def _category_rule(categories: frozenset[str], category: str) -> Rule:
    if not category:
        return Rule("category-unknown", False)
    return Rule(f"category:{category}", category in categories)


_RULES: dict[Mode, Callable[[Policy, str, str], Rule]] = {
    Mode.OFF: lambda policy, upstream_name, category: Rule("mode:off", True),
    Mode.SERVER_ALLOWLIST: _by_server,
    Mode.CATEGORY: _by_category,
    Mode.HYBRID: _by_either,
    Mode.PROMPT_BASED: lambda policy, upstream_name, category: Rule("mode:prompt-based", True),
}
