"""The catalog: every entry of every upstream under its public name, as one immutable value.

Owns merging and looking up. Does not know who may see what (`exposure`) or which upstream is up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from hub_gateway.catalog import links, names
from hub_gateway.catalog.entry import Entry, EntryKind, Offering
from hub_gateway.catalog.uri_templates import UriTemplate
from hub_gateway.catalog.visibility import shown_to_models
from hub_gateway.wire import rewrite
from hub_gateway.wire.param_headers import ANNOTATION, InvalidAnnotation, ParamHeader, find


class Definition(NamedTuple):
    """One definition, cut open as far as naming needs it."""

    kind: EntryKind
    local_name: str
    raw: bytes
    digest: str
    mirrors: tuple[ParamHeader, ...] = ()
    is_for_models: bool = True
    place: int = 0
    """In the upstream's list of that kind, from 1."""


class Parsed(NamedTuple):
    """One upstream's offering with its definitions cut open. Kept as long as the offering is, so that a change of one
    upstream does not parse the others again."""

    upstream_name: str
    offering: Offering
    definitions: tuple[Definition, ...]
    faults: tuple[str, ...]


def parse(upstream_name: str, offering: Offering) -> Parsed:
    """Cut open every definition. One that has no name, or whose `x-mcp-header` annotations break the rules (2026-07-28
    transports/streamable-http §Schema Extension), is left out and named in `faults`."""
    found: dict[tuple[EntryKind, str], Definition] = {}
    faults: list[str] = []
    for kind in EntryKind:
        for position, raw in enumerate(offering.of(kind)):
            try:
                local_name = rewrite.text(rewrite.members(raw).get(kind.key))
            except (msgspec.MsgspecError, RecursionError):
                local_name = None
            if not local_name:
                faults.append(f"{upstream_name}: {kind.value}[{position}] has no {kind.key}")
            elif (kind, local_name) in found:
                faults.append(f"{upstream_name}: {kind.value}[{position}] repeats {kind.key} {local_name!r}")
            else:
                try:
                    mirrors = _mirrors(raw) if kind is EntryKind.TOOL else ()
                except InvalidAnnotation as fault:
                    faults.append(f"{upstream_name}: {local_name}: {fault}")
                    continue
                digest = hashlib.sha256(raw).hexdigest()
                is_for_models = kind is not EntryKind.TOOL or shown_to_models(raw)
                found[kind, local_name] = Definition(
                    kind, local_name, raw, digest, mirrors, is_for_models, position + 1
                )
    return Parsed(upstream_name, offering, tuple(found.values()), tuple(faults))


def _mirrors(raw: bytes) -> tuple[ParamHeader, ...]:
    if ANNOTATION.encode() not in raw:
        return ()
    schema = rewrite.members(raw).get("inputSchema")
    try:
        return () if schema is None else find(msgspec.json.decode(schema))
    except (msgspec.MsgspecError, RecursionError) as fault:
        raise InvalidAnnotation(f"its schema cannot be read: {fault}") from fault


class Catalog:
    """All entries, sorted by kind and public name. Immutable.

    `digest` identifies the content: equal catalogs have equal digests on every replica. `digest_in_order` tells apart
    those whose upstreams list the same in another order, which changes nothing that clients see.
    """

    def __init__(
        self, entries: Sequence[Entry], own_prefixes: Mapping[str, str], moved: Mapping[str, links.Moved] | None = None
    ) -> None:
        self.entries = tuple(entries)
        self.own_prefixes = dict(own_prefixes)
        self.moved = dict(moved or {})
        """By upstream, the resources that have another URI here, since a second upstream has theirs."""
        self._by_public = {(entry.kind, entry.public_name): entry for entry in self.entries}
        self._by_full: dict[tuple[EntryKind, str], Entry] = {}
        self._owners: dict[str, list[Entry]] = {}
        for entry in self.entries:
            self._by_full.setdefault((entry.kind, self.prefixed(entry)), entry)
            if entry.kind is EntryKind.RESOURCE:
                self._owners.setdefault(entry.local_name, []).append(entry)
        self._templates = tuple(
            (entry, UriTemplate(entry.local_name)) for entry in self.entries if entry.kind is EntryKind.TEMPLATE
        )
        self.digest = _digest(self.entries, own_prefixes)
        order = ",".join(str(entry.place) for entry in self.entries)
        self.digest_in_order = hashlib.sha256(f"{self.digest}\n{order}".encode()).hexdigest()
        self.index = {id(entry): position for position, entry in enumerate(self.entries)}

    def prefixed(self, entry: Entry) -> str:
        """`safe(upstream)__local_name` of an entry, which it is found by too, whatever its public name."""
        return f"{self.own_prefixes[entry.upstream_name]}{names.DELIMITER}{entry.local_name}"

    def find(self, kind: EntryKind, public_name: str) -> Entry | None:
        """The entry listed under this name; for names, the prefixed form is accepted too."""
        return self._by_public.get((kind, public_name)) or self._by_full.get((kind, public_name))

    def owners(self, uri: str) -> list[Entry]:
        """Entries that own a resource URI: listed under it, prefixed with it, or with a template that matches it."""
        if (entry := self.find(EntryKind.RESOURCE, uri)) is not None:
            return [entry]
        if listed := self._owners.get(uri):
            return list(listed)
        return [entry for entry, template in self._templates if template.matches(uri)]

    def templates(self, local_name: str) -> list[Entry]:
        """Every upstream's template of that spelling."""
        return [entry for entry, _ in self._templates if entry.local_name == local_name]

    def split_uri(self, uri: str) -> tuple[str, str] | None:
        """Take a URI that names its owner apart into upstream name and its own URI; None where no prefix fits.

        The prefix stands behind the scheme, as in lists (`names.prefixed_uri`), where clients may have made small
        letters of it (RFC 3986 §6.2.2.1); or in front, as in `safe(upstream)__uri`.
        """
        scheme = names.scheme_of(uri)
        if scheme and (split := self._split(uri[len(scheme) :], str.lower)) is not None:
            return split[0], scheme + split[1]
        return self.split_prefix(uri)

    def split_prefix(self, text: str) -> tuple[str, str] | None:
        """Take `safe(upstream)__text` apart into upstream name and the text; None where no prefix fits."""
        return self._split(text, str)

    def _split(self, text: str, spelled: Callable[[str], str]) -> tuple[str, str] | None:
        heads = [(prefix + names.DELIMITER, name) for name, prefix in self.own_prefixes.items()]
        fits = [(head, name) for head, name in heads if spelled(text[: len(head)]) == spelled(head)]
        if not fits:
            return None
        # Of several the longest counts, since one upstream's prefix may begin another's.
        head, upstream_name = max(fits, key=lambda fit: (len(fit[0]), text.startswith(fit[0])))
        return upstream_name, text[len(head) :]


def merge(parsed: Sequence[Parsed], chosen_prefixes: Mapping[str, str | None], configured: Sequence[str]) -> Catalog:
    """Merge what the upstreams offer into one catalog.

    Args:
        parsed: the offerings of the upstreams that have one, in any order.
        chosen_prefixes: the `prefix` option per upstream.
        configured: the names of all configured upstreams, up or down: prefixes must not depend on who is up.
    """
    own = names.prefixes(sorted({*configured, *(each.upstream_name for each in parsed)}))
    entries: list[Entry] = []
    moved: dict[str, dict[str, str]] = {}
    resources = [(each.upstream_name, d) for each in parsed for d in each.definitions if d.kind is EntryKind.RESOURCE]
    for (upstream_name, d), public_uri in zip(resources, _uris(resources, own), strict=True):
        if public_uri != d.local_name:
            moved.setdefault(upstream_name, {})[d.local_name] = public_uri
    for kind in EntryKind:
        found = [(each.upstream_name, d) for each in parsed for d in each.definitions if d.kind is kind]
        if kind in (EntryKind.TOOL, EntryKind.PROMPT):
            wanted = [names.Wanted(upstream_name, d.local_name) for upstream_name, d in found]
            public = names.assign(wanted, own, chosen_prefixes)
        else:
            public = _uris(found, own)
        named = [
            _entry(upstream_name, d, name, moved.get(upstream_name, {}))
            for (upstream_name, d), name in zip(found, public, strict=True)
        ]
        entries += sorted(named, key=lambda entry: (entry.public_name, entry.upstream_name))
    return Catalog(entries, own, moved)


def _uris(found: Sequence[tuple[str, Definition]], own: Mapping[str, str]) -> list[str]:
    """URIs stay as they are; one that two upstreams have names its owner, for both."""
    owners: dict[str, int] = {}
    for _, definition in found:
        owners[definition.local_name] = owners.get(definition.local_name, 0) + 1
    return [
        d.local_name if owners[d.local_name] == 1 else names.prefixed_uri(own[upstream_name], d.local_name)
        for upstream_name, d in found
    ]


def _entry(upstream_name: str, definition: Definition, public_name: str, moved: links.Moved) -> Entry:
    listed = definition.raw
    if public_name != definition.local_name:
        listed = rewrite.replaced(definition.raw, definition.kind.key, rewrite.encode_text(public_name))
    if definition.kind is EntryKind.TOOL:
        listed = links.definition(listed, moved)
    return Entry(
        definition.kind,
        upstream_name,
        definition.local_name,
        public_name,
        listed,
        definition.mirrors,
        definition.digest,
        definition.is_for_models,
        definition.place,
    )


def _digest(entries: Sequence[Entry], own_prefixes: Mapping[str, str]) -> str:
    total = hashlib.sha256()
    for entry in entries:
        prefix = own_prefixes[entry.upstream_name]
        named = f"{entry.kind.value}\0{entry.upstream_name}\0{prefix}\0{entry.public_name}"
        total.update(f"{named}\0{entry.digest}\n".encode())
    return total.hexdigest()
