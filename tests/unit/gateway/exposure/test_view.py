"""Lists as one audience sees them: complete whatever the page size, byte-stable, and dressed for the client's era."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.errors import CallerError
from hub_gateway.exposure import meta_tools
from hub_gateway.exposure.view import Look, View
from hub_gateway.wire.revisions import Era
from tests.support import json_text
from tests.unit.gateway.catalog.offerings import catalog, entry, offering

INFO = b'{"name":"mcp-hub","x":1E5}'
OFFERED = {
    "a": offering([f"t{n}" for n in range(7)], ["p1", "p2"], ["x:1", "x:2", "x:3"], ["x:{id}"]),
    "b": offering([f"u{n}" for n in range(4)]),
}


def view(
    found: Catalog | None = None, hidden: frozenset[str] = frozenset(), with_meta: bool = False, page_size: int = 0
) -> View:
    """A view of a catalog without the entries of these names."""
    found = found or catalog(OFFERED)
    visible = [each for each in found.entries if each.public_name not in hidden]
    return View(found, visible, with_meta, Look(INFO, ttl_ms=5_000, page_size=page_size))


def pages(of: View, kind: EntryKind, era: Era) -> list[dict[str, Any]]:
    """Every page, by its cursors."""
    found = [json.loads(of.page(kind, era, None))]
    while (cursor := found[-1].get("nextCursor")) is not None:
        found.append(json.loads(of.page(kind, era, cursor)))
        assert len(found) < 100
    return found


@given(
    st.sets(st.sampled_from([each.public_name for each in catalog(OFFERED).entries])),
    st.booleans(),
    st.integers(0, 12),
    st.sampled_from(EntryKind),
    st.sampled_from(Era),
)
def test_pages_hold_every_entry_once_and_in_order(
    hidden: set[str], with_meta: bool, page_size: int, kind: EntryKind, era: Era
) -> None:
    of = view(hidden=frozenset(hidden), with_meta=with_meta, page_size=page_size)
    found = [item for page in pages(of, kind, era) for item in page[kind.value]]
    own = list(meta_tools.definitions(era)) if with_meta and kind is EntryKind.TOOL else []
    listed = [each.listed_raw for each in of.visible if each.kind is kind]
    assert found == [json.loads(raw) for raw in (*own, *listed)]
    assert all(len(page[kind.value]) <= page_size for page in pages(of, kind, era) if page_size)
    assert of.page(kind, era, None) is of.page(kind, era, None), "a list is a pointer to bytes made earlier"
    assert of.page(kind, era, None) == view(hidden=frozenset(hidden), with_meta=with_meta, page_size=page_size).page(
        kind, era, None
    ), "an equal view has equal bytes"


@given(json_text.object_of({"name": st.just('"a__x"')}))
def test_definitions_stand_in_the_list_with_every_byte(definition: str) -> None:
    of = view(catalog({"a": Offering(tools=(definition.encode(),))}, {"a": ""}))
    assert of.page(EntryKind.TOOL, Era.HANDSHAKE, None) == b'{"tools":[' + definition.encode() + b"]}"


def test_a_stateless_list_says_how_long_it_holds() -> None:
    page = json.loads(view().page(EntryKind.PROMPT, Era.STATELESS, None))
    assert (page["resultType"], page["ttlMs"], page["cacheScope"]) == ("complete", 5_000, "private")
    assert page["_meta"]["io.modelcontextprotocol/serverInfo"] == json.loads(INFO)
    assert INFO in view().page(EntryKind.PROMPT, Era.STATELESS, None)
    assert set(json.loads(view().page(EntryKind.PROMPT, Era.HANDSHAKE, None))) == {"prompts"}


def test_an_empty_list_is_a_list() -> None:
    of = view(catalog({}), page_size=3)
    assert [of.page(kind, Era.HANDSHAKE, None) for kind in EntryKind] == [
        b'{"tools":[]}',
        b'{"prompts":[]}',
        b'{"resources":[]}',
        b'{"resourceTemplates":[]}',
    ]


@given(st.text(max_size=30), st.integers(0, 3))
def test_any_other_cursor_is_refused(cursor: str, page_size: int) -> None:
    with pytest.raises(CallerError, match="Invalid cursor for tools/list"):
        view(page_size=page_size).page(EntryKind.TOOL, Era.HANDSHAKE, cursor)


def test_a_cursor_is_good_for_its_own_list_only() -> None:
    of = view(page_size=1)
    cursor = json.loads(of.page(EntryKind.TOOL, Era.HANDSHAKE, None))["nextCursor"]
    generation = cursor.partition("-")[0]
    for forged in (f"{generation}-99", f"{generation}--1", f"{generation}-{'9' * 5000}", f"{generation}-1x"):
        with pytest.raises(CallerError):
            of.page(EntryKind.TOOL, Era.HANDSHAKE, forged)
    with pytest.raises(CallerError):
        of.page(EntryKind.RESOURCE, Era.HANDSHAKE, cursor)
    with pytest.raises(CallerError):
        view(hidden=frozenset({"a__t3"}), page_size=1).page(EntryKind.TOOL, Era.HANDSHAKE, cursor)
    assert json.loads(view(page_size=1).page(EntryKind.TOOL, Era.HANDSHAKE, cursor))["tools"][0]["name"] == "a__t1"


def test_what_is_hidden_is_not_resolved() -> None:
    of = view(hidden=frozenset({"a__t0"}))
    assert of.resolve(EntryKind.TOOL, "a__t0") is None
    assert of.resolve(EntryKind.PROMPT, "a__t1") is None
    assert of.resolve(EntryKind.TOOL, "a__t1") is entry(of.catalog, "a__t1")
    assert not of.shows(entry(of.catalog, "a__t0"))
    assert of.shows(entry(of.catalog, "a__p1", EntryKind.PROMPT))
