"""Offerings and catalogs as tests write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from hub_gateway.catalog.entry import Entry, EntryKind, Offering
from hub_gateway.catalog.snapshot import Catalog, merge, parse


def raw(**members: object) -> bytes:
    """A definition."""
    return msgspec.json.encode(members)


def offering(
    tools: Sequence[str] = (), prompts: Sequence[str] = (), resources: Sequence[str] = (), templates: Sequence[str] = ()
) -> Offering:
    """Definitions that have no more than a name."""
    return Offering(
        tuple(raw(name=name) for name in tools),
        tuple(raw(name=name) for name in prompts),
        tuple(raw(uri=uri, name="r") for uri in resources),
        tuple(raw(uriTemplate=template, name="t") for template in templates),
    )


def catalog(offerings: Mapping[str, Offering], prefixes: Mapping[str, str | None] | None = None) -> Catalog:
    """The catalog of these upstreams."""
    parsed = [parse(name, each) for name, each in offerings.items()]
    return merge(parsed, prefixes or {}, list(offerings))


def public_names(found: Catalog, kind: EntryKind = EntryKind.TOOL) -> list[str]:
    """The names of one kind, in the catalog's order."""
    return [entry.public_name for entry in found.entries if entry.kind is kind]


def entry(found: Catalog, public_name: str, kind: EntryKind = EntryKind.TOOL) -> Entry:
    """The entry of that name."""
    looked_up = found.find(kind, public_name)
    assert looked_up is not None
    return looked_up
