"""Public names: `safe(upstream)__local`, the same whatever the order of arrival.

Owns the rules of naming (hub decision, after the predecessor's `safe__name`): what a safe name is, how long a name may
be and what happens when two want the same. A name depends on the set of entries, never on who came first.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

DELIMITER = "__"
MAX_LENGTH = 64
"""Model APIs refuse longer tool names."""

HUB_PREFIX = "hub"
"""The hub's own tools are `hub__…`; an upstream called `hub` is renamed, and no `prefix` option leads there."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://)?")
"""RFC 3986 §3.1."""

_UNSAFE = re.compile(r"[^A-Za-z0-9]")
_HASH_LENGTH = 8


def safe(upstream_name: str) -> str:
    """Replace every character that a tool name cannot have everywhere."""
    return _UNSAFE.sub("_", upstream_name)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_HASH_LENGTH]


def prefixes(upstream_names: Iterable[str]) -> dict[str, str]:
    """Give each upstream its own prefix.

    A name that is safe already keeps itself; where several become the same, the others carry a hash of their full name.
    """
    names = list(upstream_names)
    wanted = Counter(safe(name) for name in names)
    result: dict[str, str] = {}
    for name in names:
        prefix = safe(name)
        contested = wanted[prefix] > 1 and prefix != name
        result[name] = f"{prefix}_{_hash(name)}" if contested or prefix == HUB_PREFIX else prefix
    return result


def scheme_of(uri: str) -> str:
    """The scheme of a URI, or of a template that has a fixed one, with what stands before the rest; "" for none."""
    found = _SCHEME.match(uri)
    return found[0] if found is not None else ""


def prefixed_uri(prefix: str, uri: str) -> str:
    """Name the owner in a URI, behind its scheme: `file:///a` becomes `file://github__/a`.

    So it stays a URI, which no prefix with a `_` in front would be, and of its scheme, which hosts of MCP Apps look at.
    Where there is no scheme the prefix stands in front.
    """
    scheme = scheme_of(uri)
    return f"{scheme}{prefix}{DELIMITER}{uri[len(scheme) :]}"


class Wanted(NamedTuple):
    """One entry that wants a public name."""

    upstream_name: str
    local_name: str


def assign(wanted: Sequence[Wanted], own: Mapping[str, str], chosen: Mapping[str, str | None]) -> list[str]:
    """Give each entry a public name, in the order of `wanted`.

    Args:
        wanted: tools or prompts; one (upstream, local) pair occurs once.
        own: the prefix of each upstream, from `prefixes`.
        chosen: the `prefix` option of each upstream; None or absent means its own, "" means no prefix.

    Returns:
        Names that are unique, and at most MAX_LENGTH characters where the wish was longer.
    """
    forms = [_forms(entry, own[entry.upstream_name], chosen.get(entry.upstream_name)) for entry in wanted]
    level = [0] * len(forms)
    while True:
        names = [form[at] for form, at in zip(forms, level, strict=True)]
        count = Counter(names)
        contested = [i for i, name in enumerate(names) if count[name] > 1 and level[i] < len(forms[i]) - 1]
        if not contested:
            return names
        for i in contested:
            level[i] += 1


def _forms(entry: Wanted, own_prefix: str, chosen_prefix: str | None) -> tuple[str, ...]:
    """The wishes of one entry, from the nicest to the one nobody else can have."""
    full = f"{own_prefix}{DELIMITER}{entry.local_name}"
    nicest = full
    if chosen_prefix is not None:
        wish = f"{chosen_prefix}{DELIMITER}{entry.local_name}" if chosen_prefix else entry.local_name
        nicest = full if wish.startswith(HUB_PREFIX + DELIMITER) else wish
    mark = _hash(entry.upstream_name, entry.local_name)
    last = f"{full[: MAX_LENGTH - _HASH_LENGTH - 1]}_{mark}"
    return (*(form if len(form) <= MAX_LENGTH else last for form in (nicest, full)), last)
