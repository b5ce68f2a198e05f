"""Which rule of a policy decides over an entry, and how.

Owns the meaning of the modes, of globs over names and of what annotations must say. Pure. Does not know gRPC, the
config document or sessions: what `prompt-based` and `auto` open is decided elsewhere.

Four rules have a say, in this order: a glob that denies, the annotations, the mode, the globs that allow. The first
that hides an entry decides; where none does, the last that was asked.

Rule ids, for people and for statistics:

    tools.deny:GLOB                      hidden: the first such glob that matches the name
    annotations:HINT                     hidden: the first of readOnly, destructive, idempotent, openWorld that is not
                                         as required
    mode:off, mode:prompt-based          everything is allowed
    mode:auto                            allowed: neither filter is set; with one, the rules are those of hybrid mode
    server-allowlist:listed              allowed   (`not-listed`: hidden)
    server-denylist:listed               hidden    (`not-listed`: allowed)
    server-allowlist:no-filter           allowed: the mode is set, its filter is not
    category:NAME                        allowed when NAME is one of the policy's, else hidden
    category-unknown                     hidden: the entry has no category (yet)
    category:no-filter                   allowed: the mode is set, its filter is not
    hybrid:neither                       hidden: neither the server rule nor the category rule allows it
    hybrid:no-filter                     allowed: the mode is set, neither filter is
    tools.allow:GLOB                     allowed: the first such glob that matches the name
    tools.allow:no-match                 hidden: there are such globs and none matches

In hybrid mode an entry is allowed by the server rule OR the category rule, so a category brings back entries of a
server that is denied; the id is that of the rule that allows, the server's first. No mode brings back what a glob
denies or the annotations forbid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from hub_common.globs import Globs


class Mode(Enum):
    """The words of `toolFiltering.mode`, and off."""

    OFF = "off"
    SERVER_ALLOWLIST = "server-allowlist"
    CATEGORY = "category"
    HYBRID = "hybrid"
    PROMPT_BASED = "prompt-based"
    AUTO = "auto"


class ServerFilter(msgspec.Struct, frozen=True):
    """A list of upstreams' names, and whether it allows or denies."""

    servers: frozenset[str]
    deny: bool = False


class Hints(NamedTuple):
    """`ToolAnnotations` of the protocol: what a tool says of itself, or what a policy requires; None is not said."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None


class Policy(msgspec.Struct, frozen=True):
    """What decides. A filter that is None is not configured, which is not the same as an empty one.

    `allow` and `deny` are globs over public names and URIs, and over the form that is prefixed with the server.
    """

    mode: Mode
    server_filter: ServerFilter | None = None
    categories: frozenset[str] | None = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    required: Hints = Hints()


class Subject(NamedTuple):
    """An entry as the rules see it. `said` is None where it is no tool."""

    upstream_name: str
    names: tuple[str, ...] = ()
    """What globs are held against: the public name, and the prefixed form where that is another."""
    said: Hints | None = Hints()


class Rule(NamedTuple):
    """What decided: the id as in the module's docstring, and the decision."""

    id: str
    allows: bool


class Verdicts(NamedTuple):
    """The decision over a catalog: per entry an index into `rules`. Rules stand in the order they were first needed."""

    rule_of_entry: list[int]
    rules: list[Rule]


_READS = Hints(read_only=True, destructive=False, idempotent=True, open_world=None)
"""What prompts, resources and templates are. Nothing says whether they reach into the open world, so no policy that is
about that hides them."""

_HINTS = ("readOnly", "destructive", "idempotent", "openWorld")


def decide(subjects: Sequence[Subject], policy: Policy, categories: Sequence[str] = ()) -> Verdicts:
    """Decide over every entry.

    Args:
        subjects: the entries.
        policy: the same for all of them.
        categories: per entry its category, "" where none is known; or empty, when none is known at all.

    Raises:
        ValueError: `categories` is neither empty nor as long as `subjects`.
        BadGlob: a glob of the policy is malformed.
    """
    if categories and len(categories) != len(subjects):
        raise ValueError(f"{len(categories)} categories for {len(subjects)} entries")
    mode_rule = _RULES[policy.mode]
    own_rule = _OwnRules(policy)
    index_of_rule: dict[Rule, int] = {}
    rule_of_pair: dict[tuple[str, str], Rule] = {}
    rule_of_entry: list[int] = []
    for subject, category in zip(subjects, categories or [""] * len(subjects), strict=True):
        rule = own_rule.hiding(subject)
        if rule is None:
            pair = (subject.upstream_name, category)
            rule = rule_of_pair.get(pair) or rule_of_pair.setdefault(pair, mode_rule(policy, *pair))
            if rule.allows:
                rule = own_rule.naming(subject) or rule
        rule_of_entry.append(index_of_rule.setdefault(rule, len(index_of_rule)))
    return Verdicts(rule_of_entry, list(index_of_rule))


class _OwnRules:
    """The rules about an entry itself, whatever its upstream and category; globs are compiled once for all entries."""

    def __init__(self, policy: Policy) -> None:
        self._deny = Globs(policy.deny) if policy.deny else None
        self._allow = None if policy.allow is None else Globs(policy.allow)
        self._required = [
            (place, wanted, Rule(f"annotations:{_HINTS[place]}", False))
            for place, wanted in enumerate(policy.required)
            if wanted is not None
        ]

    def hiding(self, subject: Subject) -> Rule | None:
        """The rule that hides the entry whatever the mode says."""
        if self._deny is not None and (glob := self._deny.first(*subject.names)) is not None:
            return Rule(f"tools.deny:{glob}", False)
        if self._required:
            is_so = _READS if subject.said is None else _with_defaults(subject.said)
            for place, wanted, rule in self._required:
                if is_so[place] not in (wanted, None):
                    return rule
        return None

    def naming(self, subject: Subject) -> Rule | None:
        """What the globs say that allow; None where there are none."""
        if self._allow is None:
            return None
        glob = self._allow.first(*subject.names)
        return Rule("tools.allow:no-match", False) if glob is None else Rule(f"tools.allow:{glob}", True)


def _with_defaults(said: Hints) -> Hints:
    """A tool's hints with the protocol's defaults (2025-11-25 and 2026-07-28 schema, `ToolAnnotations`): it writes, it
    destroys, not twice the same, and into the open world. A tool that only reads destroys nothing, and repeating it
    changes nothing: the two hints mean something for others only."""
    open_world = said.open_world is not False
    if said.read_only:
        return Hints(True, False, True, open_world)
    return Hints(False, said.destructive is not False, said.idempotent is True, open_world)


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


def _automatic(policy: Policy, upstream_name: str, category: str) -> Rule:
    if policy.server_filter is None and policy.categories is None:
        return Rule("mode:auto", True)
    return _by_either(policy, upstream_name, category)


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
    Mode.AUTO: _automatic,
}
