"""The tools whose parameters HTTP wants in headers, learnt from the lists that pass by.

Owns what is remembered of `x-mcp-header` (2026-07-28 transports/streamable-http §Custom Headers from Tool Parameters).
A client that knows only stdio need not know of it. Sends nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hub_gateway.wire.message import Message
from hub_gateway.wire.param_headers import ANNOTATION, InvalidAnnotation, ParamHeader, find, mirrored


class _Tool(msgspec.Struct):
    name: str = ""
    inputSchema: msgspec.Raw = msgspec.Raw(b"{}")


class ToolPage(msgspec.Struct):
    """What is looked at in the result of `tools/list`."""

    tools: list[_Tool] = []
    nextCursor: str | None = None


class _Called(msgspec.Struct):
    name: str = ""
    arguments: dict[str, Any] = {}


_page = msgspec.json.Decoder(ToolPage)
_called = msgspec.json.Decoder(_Called)


class Mirrors:
    """The mirrored parameters by tool."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ParamHeader, ...]] = {}

    def learn(self, message: Message) -> ToolPage:
        """Take note of a page of tools, and return it; what is no page is an empty one."""
        try:
            page = _page.decode(message.result) if len(message.result) else ToolPage()
        except msgspec.MsgspecError:
            return ToolPage()
        for tool in page.tools:
            self._known.pop(tool.name, None)
            if ANNOTATION.encode() in bytes(tool.inputSchema):
                try:
                    self._known[tool.name] = find(msgspec.json.decode(tool.inputSchema))
                except (InvalidAnnotation, msgspec.MsgspecError, RecursionError):
                    continue  # the hub does not offer such a tool, so it will not be called
        return page

    def headers(self, params_raw: bytes) -> dict[str, str]:
        """The headers for a `tools/call` with these params."""
        if not self._known:
            return {}
        try:
            called = _called.decode(params_raw)
        except msgspec.MsgspecError:
            return {}
        return dict(mirrored(self._known.get(called.name, ()), called.arguments))
