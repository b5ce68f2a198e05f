"""A view: what one audience sees, with the bytes of its lists.

Owns list results in both eras and their pages. A view is immutable; list bytes are joined once, when first asked for or
when the view is published, and every later `tools/list` is a pointer to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from hub_gateway.catalog import older
from hub_gateway.catalog.changes import listed
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.errors import CallerError
from hub_gateway.exposure import meta_tools
from hub_gateway.wire import rewrite
from hub_gateway.wire.revisions import Era

_OFFSET_DIGITS = 9


class Look(msgspec.Struct, frozen=True):
    """How list results are dressed.

    Attributes:
        server_info_raw: the hub's `Implementation`, named in every stateless result.
        ttl_ms: freshness hint of stateless lists; the clients are also told of changes.
        cache_scope: "public" or "private".
        page_size: entries per page; 0 puts everything on one page.
    """

    server_info_raw: bytes
    ttl_ms: int = 60_000
    cache_scope: str = "private"
    page_size: int = 0

    def stateless_head(self, cacheable: bool) -> bytes:
        """The members every stateless result of the hub's own carries, ready to be put before its others."""
        head = b'"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":' + self.server_info_raw + b"}"
        if cacheable:
            head += b',"ttlMs":%d,"cacheScope":"%s"' % (self.ttl_ms, self.cache_scope.encode())
        return head


def invalid_cursor(method: str, cursor: str) -> CallerError:
    """The error for a cursor that the list of this method gave nobody, or that it gave before it changed (2025-11-25
    utilities/pagination §Error Handling)."""
    return CallerError(f"Invalid cursor for {method}: start again without one", {"cursor": cursor[:100]})


class View:
    """The visible entries of one audience."""

    def __init__(
        self,
        catalog: Catalog,
        visible: Sequence[Entry],
        with_meta_tools: bool,
        look: Look,
        call_variants: bool = False,
        name: str = "",
        brief: bool = False,
    ) -> None:
        self.catalog = catalog
        self.visible = tuple(visible)
        self.own_tools = (with_meta_tools, with_meta_tools and call_variants, with_meta_tools and brief)
        """Whether the hub's own tools are listed, whether with the variants of `hub__call_tool`, whether in brief."""
        self.name = name
        """Of the view of the config that it is; "" is the default's."""
        self._shown = frozenset(map(id, self.visible))
        self._look = look
        self._lists: dict[tuple[EntryKind, Era], bytes] = {}
        self._generations: dict[tuple[EntryKind, Era], str] = {}
        self._listed: dict[str, frozenset[bytes]] | None = None
        self._upstreams: frozenset[str] | None = None

    @property
    def listed(self) -> dict[str, frozenset[bytes]]:
        """What is listed per capability, to compare with another view."""
        if self._listed is None:
            self._listed = listed(self.visible)
        return self._listed

    @property
    def upstreams(self) -> frozenset[str]:
        """The upstreams of which an entry is visible."""
        if self._upstreams is None:
            self._upstreams = frozenset(entry.upstream_name for entry in self.visible)
        return self._upstreams

    def resolve(self, kind: EntryKind, public_name: str) -> Entry | None:
        """The visible entry of that name."""
        entry = self.catalog.find(kind, public_name)
        return entry if entry is not None and id(entry) in self._shown else None

    def shows(self, entry: Entry) -> bool:
        """Whether the entry is visible here."""
        return id(entry) in self._shown

    def page(self, kind: EntryKind, era: Era, cursor: str | None) -> bytes:
        """The list result, ready to be sent.

        Raises:
            CallerError: the cursor is none of this list's.
        """
        if cursor is None and (whole := self._lists.get((kind, era))) is not None:
            return whole
        definitions = self._definitions(kind, era)
        size = self._look.page_size or max(len(definitions), 1)
        starts = range(0, len(definitions), size)
        start = 0 if cursor is None else self._start(kind, era, starts, cursor)
        parts = [b'{"', kind.value.encode(), b'":[', b",".join(definitions[start : start + size]), b"]"]
        if start + size in starts:
            parts += [b',"nextCursor":', rewrite.encode_text(f"{self._generation(kind, era)}-{start + size}")]
        if era is Era.STATELESS:
            parts += [b",", self._look.stateless_head(cacheable=True)]
        result = b"".join((*parts, b"}"))
        if start == 0:
            self._lists[kind, era] = result
        return result

    def _definitions(self, kind: EntryKind, era: Era) -> list[bytes]:
        listed, call_variants, brief = self.own_tools
        own = meta_tools.definitions(era, call_variants, brief) if kind is EntryKind.TOOL and listed else ()
        listed_raws = [entry.listed_raw for entry in self.visible if entry.kind is kind]
        if kind is EntryKind.TOOL and era is Era.HANDSHAKE:
            listed_raws = [older.tool(raw) for raw in listed_raws]
        return [*own, *listed_raws]

    def _generation(self, kind: EntryKind, era: Era) -> str:
        """Names one list's content: a cursor is good for the list it came from and for no other."""
        if (kind, era) not in self._generations:
            content = b",".join(self._definitions(kind, era))
            self._generations[kind, era] = hashlib.sha256(kind.value.encode() + content).hexdigest()[:12]
        return self._generations[kind, era]

    def _start(self, kind: EntryKind, era: Era, starts: range, cursor: str) -> int:
        generation, _, offset = cursor.partition("-")
        start = int(offset) if offset.isdecimal() and len(offset) <= _OFFSET_DIGITS else -1
        if start not in starts or generation != self._generation(kind, era):
            raise invalid_cursor(kind.list_method, cursor)
        return start
