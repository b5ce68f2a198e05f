"""Links to a resource that two upstreams have lead each to its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from hub_gateway.catalog import links
from hub_gateway.catalog.entry import EntryKind, Offering
from hub_gateway.catalog.snapshot import merge, parse
from tests.support import json_text

MOVED = {"ui://view": "ui://a__view"}


def offering(uri: str, page: str) -> Offering:
    """One resource, and one tool with an app."""
    ui = {"ui": {"resourceUri": page, "n": 1e5}, "ui/resourceUri": page, "com.example/x": 1}
    tool = {"name": "t", "_meta": ui, "inputSchema": {"type": "object"}}
    return Offering(tools=(json.dumps(tool).encode(),), resources=(json.dumps({"uri": uri, "name": "r"}).encode(),))


def pages(*offerings: Offering) -> list[Any]:
    """The pages of the tools' apps, as they are listed."""
    parsed = [parse(name, each) for name, each in zip("abc", offerings, strict=False)]
    catalog = merge(parsed, {}, [each.upstream_name for each in parsed])
    tools = [json.loads(entry.listed_raw)["_meta"] for entry in catalog.entries if entry.kind is EntryKind.TOOL]
    assert all(meta["ui"]["n"] == 1e5 and meta["com.example/x"] == 1 for meta in tools)
    assert all(meta["ui"]["resourceUri"] == meta["ui/resourceUri"] for meta in tools)
    return [meta["ui"]["resourceUri"] for meta in tools]


def test_an_app_has_the_page_of_its_own_server() -> None:
    same = offering("ui://view", "ui://view")
    assert pages(same) == ["ui://view"]
    assert pages(same, same) == ["ui://a__view", "ui://b__view"]
    assert pages(same, offering("ui://other", "ui://other")) == ["ui://view", "ui://other"]


def test_a_result_s_links_lead_to_its_own_server() -> None:
    link = '{"type":"resource_link", "uri" : "ui://view","x-n":1E5}'
    held = '{"type":"resource","resource":{"uri":"ui://view","text":"1E5"},"x-n":1E5}'
    other = '{"type":"resource_link","uri":"ui://else"},{"type":"text","text":"ui://view","uri":"ui://view"}'
    raw = links.result(f'{{"content":[{link},{held},{other}],"x-n":1E5}}'.encode(), MOVED)
    moved_link = '{"type":"resource_link","uri":"ui://a__view","x-n":1E5}'
    moved_held = '{"type":"resource","resource":{"uri":"ui://a__view","text":"1E5"},"x-n":1E5}'
    assert raw.decode() == f'{{"content":[{moved_link},{moved_held},{other}],"x-n":1E5}}'


def test_what_was_read_has_the_uri_it_was_asked_for_by() -> None:
    raw = b'{ "contents":[ {"text":"1E5", "uri" : "ui://view","x-n":1E5},{"uri":"ui://else"}],"ttlMs":1E3}'
    read = b'{"contents":[{"text":"1E5","uri":"ui://a__view","x-n":1E5},{"uri":"ui://else"}],"ttlMs":1E3}'
    assert links.contents(raw, MOVED) == read
    assert links.contents(b'{"contents":5}', MOVED) == b'{"contents":5}'


@pytest.mark.parametrize("raw", (b'{"content":5,"uri":1}', b'{"content":[{"type":"resource","resource":5}],"uri":1}'))
def test_what_is_malformed_passes_as_it_came(raw: bytes) -> None:
    assert links.result(raw, MOVED) == raw


@given(json_text.objects)
def test_all_else_keeps_its_bytes(raw: str) -> None:
    assert links.definition(raw.encode(), MOVED) == raw.encode()
