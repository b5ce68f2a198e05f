"""A call through `hub__call_tool`: forwarded as a direct one is, and told the right arguments where they were wrong.

Owns which of the variants takes a tool, and the excerpt of the schema that follows an upstream's refusal. A direct
`tools/call` never comes here and stays byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from hub_gateway.catalog import arguments
from hub_gateway.catalog.effect import effect
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.errors import CallerError
from hub_gateway.exposure.current import Current
from hub_gateway.exposure.meta_tools import CALL_TOOL, CALL_VARIANTS
from hub_gateway.exposure.view import View
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.routing.own_result import BadArguments, text_result
from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import INVALID_PARAMS, read_error

_ABOUT_ARGUMENTS = re.compile(
    r"invalid|validat|argument|param|required|missing|expected|schema|must be|should be|unexpected|field", re.IGNORECASE
)
_WORD = re.compile(r"[\w.-]*\w")
LOOKED_AT = 4_000
"""Characters of an upstream's refusal that are searched for such words, and repeated."""

_decoder = msgspec.json.Decoder(dict[str, Any])


class _Call(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class Indirect:
    """Answers `hub__call_tool` and its variants."""

    def __init__(self, calls: Calls, current: Current) -> None:
        self._calls = calls
        self._current = current

    async def call(self, exchange: Exchange, name: str, *, variants: bool) -> Response:
        """Call the tool that the arguments name, whatever is opened.

        Args:
            exchange: the call of the hub's own tool.
            name: of that tool.
            variants: the variants are offered in the place of `hub__call_tool`.

        Raises:
            BadArguments: the arguments name nothing.
            CallerError: they name no tool that is there, or one that another variant takes or that is not for models.
        """
        try:
            asked = msgspec.json.decode(exchange.params.get("arguments", b"{}"), type=_Call)
        except msgspec.MsgspecError as fault:
            raise BadArguments(str(fault)) from fault
        view = self._calls.allowed(exchange)
        entry = view.resolve(EntryKind.TOOL, asked.name)
        if entry is None:
            text = f"Unknown tool: {asked.name}{_hint(view, asked.name)}"
            raise self._calls.unknown(exchange, asked.name, text)
        if not entry.is_for_models:
            raise CallerError(f"{entry.public_name} is for the apps of its server alone, not for models")
        right = CALL_VARIANTS[effect(entry)] if variants else CALL_TOOL
        if name != right:
            raise CallerError(f"{entry.public_name} is called through {right}, not {name}")
        if not bytes(asked.arguments).startswith(b"{"):
            guide = f"`arguments` must be an object. {_Guide(entry, {}).words('')}"
            return text_result(exchange, self._current.look, [guide], is_error=True)
        self._calls.usage.count(entry)
        params = {**exchange.params, "arguments": asked.arguments}
        response = await self._calls.forward(exchange, entry, params, "name", name, direct=False)
        return self._guided(exchange, response, entry, asked.arguments)

    def _guided(self, exchange: Exchange, response: Response, entry: Entry, given_raw: msgspec.Raw) -> Response:
        """The upstream's answer, or its refusal followed by what puts the arguments right."""
        answer = rewrite.members(response.body)
        if response.error_code is not None:
            guide = _Guide(entry, _plain(given_raw))
            if response.error_code != INVALID_PARAMS and not guide.faults:
                return response
            said = read_error(answer["error"]).message[:LOOKED_AT]
            return text_result(exchange, self._current.look, [said, guide.words(said)], is_error=True)
        result_raw = answer["result"]
        try:
            result = rewrite.members(result_raw)
            if bytes(result.get("isError", b"")) != b"true":
                return response
            blocks = rewrite.items(result.get("content", b"[]"))
            said = " ".join(rewrite.text(rewrite.members(block).get("text")) or "" for block in blocks)[:LOOKED_AT]
        except msgspec.MsgspecError:
            return response
        guide = _Guide(entry, _plain(given_raw))
        if not guide.faults and not guide.named(said) and not _ABOUT_ARGUMENTS.search(said):
            return response
        block = msgspec.json.encode({"type": "text", "text": guide.words(said)})
        return exchange.result(rewrite.replaced(result_raw, "content", b"[" + b",".join([*blocks, block]) + b"]"))


class _Guide:
    """What puts the arguments of one call right."""

    def __init__(self, entry: Entry, given: Mapping[str, Any] | None) -> None:
        self._entry = entry
        self._schema = arguments.schema_of(entry)
        self.faults = [] if given is None else arguments.faults(self._schema, given)
        """What is plainly wrong; nothing where the arguments cannot be read."""

    def named(self, said: str) -> list[str]:
        """The parameters an upstream's words name."""
        words = set(_WORD.findall(said))
        return [name for name in arguments.properties(self._schema) if name in words]

    def words(self, said: str) -> str:
        """What was wrong, and the schema of that, or of what the upstream's own words name."""
        named = [fault.parameter for fault in self.faults] or self.named(said)
        told = "".join(f"{fault.at}: {fault.why}. " for fault in self.faults)
        return f"{told}From the schema of {self._entry.public_name}: {arguments.excerpt(self._schema, named)}"


def _plain(given_raw: msgspec.Raw) -> Mapping[str, Any] | None:
    try:
        return _decoder.decode(given_raw)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _hint(view: View, name: str) -> str:
    """Names of tools that are called the same at their server."""
    local_name = name.rpartition("__")[2].casefold()
    near = [
        entry.public_name
        for entry in view.visible
        if entry.kind is EntryKind.TOOL and entry.is_for_models and entry.local_name.casefold() == local_name
    ]
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""
