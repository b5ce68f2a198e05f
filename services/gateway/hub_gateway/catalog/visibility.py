"""Who a tool is for: models, or only the apps of its own server (MCP Apps extension, `_meta.ui.visibility`)."""

from __future__ import annotations

from typing import Any

import msgspec

_MEMBER, _MODEL = b"visibility", "model"


class _Ui(msgspec.Struct):
    visibility: list[Any]


class _Meta(msgspec.Struct):
    ui: _Ui


class _Tool(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta")


_decoder = msgspec.json.Decoder(_Tool)


def shown_to_models(definition_raw: bytes) -> bool:
    """Whether models are offered a tool: also where the definition does not say, or says it in a way that nobody can
    read."""
    if _MEMBER not in definition_raw:
        return True
    try:
        return _MODEL in _decoder.decode(definition_raw).meta.ui.visibility
    except (msgspec.MsgspecError, RecursionError):
        return True
