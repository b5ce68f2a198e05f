"""Links to resources whose URI is another one through the hub, since two upstreams have the same.

Owns where such links stand: an app's page in a tool's definition (MCP Apps, `_meta.ui.resourceUri`), the resources in a
tool's result (2025-11-25 server/tools §Resource Links, §Embedded Resources), and what was read under another URI than
the upstream's own. Everything else keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from hub_gateway.wire import rewrite

Moved = Mapping[str, str]
"""Public URIs by the upstream's own."""

_FLAT = "ui/resourceUri"
"""How MCP Apps spelled it before it had a place under `ui`."""


def definition(listed_raw: bytes, moved: Moved) -> bytes:
    """A tool's definition with the page of its app under the page's public URI."""
    if not moved or b"esourceUri" not in listed_raw:
        return listed_raw
    try:
        meta = rewrite.members(listed_raw)["_meta"]
        fresh = _renamed(meta, _FLAT, moved)
        if "ui" in rewrite.members(meta):
            ui = rewrite.members(meta)["ui"]
            fresh = rewrite.replaced(fresh, "ui", _renamed(ui, "resourceUri", moved))
        return rewrite.replaced(listed_raw, "_meta", fresh)
    except (KeyError, msgspec.MsgspecError):
        return listed_raw


def result(result_raw: bytes, moved: Moved) -> bytes:
    """A tool's result with the resources it links to, or holds, under their public URIs."""
    if b'"uri"' not in result_raw:
        return result_raw
    try:
        items = [_content(item, moved) for item in rewrite.items(rewrite.members(result_raw)["content"])]
    except (KeyError, msgspec.MsgspecError):
        return result_raw
    return rewrite.replaced(result_raw, "content", b"[" + b",".join(items) + b"]")


def contents(result_raw: bytes, moved: Moved) -> bytes:
    """What was read of a resource, under the URI that it was asked for by."""
    try:
        items = [_renamed(item, "uri", moved) for item in rewrite.items(rewrite.members(result_raw)["contents"])]
    except (KeyError, msgspec.MsgspecError):
        return result_raw
    return rewrite.replaced(result_raw, "contents", b"[" + b",".join(items) + b"]")


def _content(item_raw: Raw, moved: Moved) -> bytes:
    members = rewrite.members(item_raw)
    kind = rewrite.text(members.get("type"))
    if kind == "resource_link":
        return _renamed(item_raw, "uri", moved)
    if kind == "resource" and "resource" in members:
        return rewrite.replaced(item_raw, "resource", _renamed(members["resource"], "uri", moved))
    return bytes(item_raw)


def _renamed(object_raw: bytes | Raw, member: str, moved: Moved) -> bytes:
    public = moved.get(rewrite.text(rewrite.members(object_raw).get(member)) or "")
    return bytes(object_raw) if public is None else rewrite.replaced(object_raw, member, rewrite.encode_text(public))
