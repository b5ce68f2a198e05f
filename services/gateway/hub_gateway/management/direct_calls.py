"""Calls made by hand: one server, one of its own tools, resources or prompts.

Owns what such a request must say and how an upstream's own error is told. Results are the upstream's bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from hub_gateway.config.server_model import InvalidServer
from hub_gateway.errors import CallerError, Conflict, UnknownEntry, UpstreamError
from hub_gateway.upstreams.handshake import HUB
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import read_error


class Named(msgspec.Struct):
    """A body that names a server."""

    server_name: str


class Options(msgspec.Struct):
    """What may be asked of a call: `timeout` in milliseconds, at most the server's own."""

    timeout: float | None = None


class NamedTool(Named, kw_only=True):
    """A call of a tool under the server's own name for it."""

    tool: str
    arguments: Raw = Raw(b"{}")
    """An object; null is none."""
    request_options: Options = msgspec.field(default_factory=Options)


class NamedResource(Named, kw_only=True):
    """A resource under the server's own URI."""

    uri: str
    request_options: Options = msgspec.field(default_factory=Options)


class NamedPrompt(Named, kw_only=True):
    """A prompt under the server's own name for it."""

    prompt: str
    arguments: dict[str, str] | None = None
    request_options: Options = msgspec.field(default_factory=Options)


class _Definition(msgspec.Struct):
    name: str = ""


_definition = msgspec.json.Decoder(_Definition)


async def call_tool(supervisor: Supervisor, asked: NamedTool) -> bytes:
    """The result of `tools/call`.

    Raises:
        UnknownEntry: the server lists its tools, and this one is not among them.
        CallerError, Conflict, UpstreamError: see `_ask`.
    """
    arguments = Raw(b"{}") if bytes(asked.arguments) == b"null" else asked.arguments
    try:
        rewrite.members(arguments)
    except msgspec.MsgspecError as fault:
        raise CallerError("Invalid body: `arguments` must be an object") from fault
    must_run(supervisor)
    _must_list(supervisor, "tool", asked.tool, supervisor.offering.tools)
    return await _ask(supervisor, "tools/call", ("name", asked.tool), asked.request_options, arguments)


async def get_prompt(supervisor: Supervisor, asked: NamedPrompt) -> bytes:
    """The result of `prompts/get`.

    Raises:
        UnknownEntry: the server lists its prompts, and this one is not among them.
        CallerError, Conflict, UpstreamError: see `_ask`.
    """
    must_run(supervisor)
    _must_list(supervisor, "prompt", asked.prompt, supervisor.offering.prompts)
    arguments = Raw(msgspec.json.encode(asked.arguments or {}))
    return await _ask(supervisor, "prompts/get", ("name", asked.prompt), asked.request_options, arguments)


async def read_resource(supervisor: Supervisor, asked: NamedResource) -> bytes:
    """The result of `resources/read`. A server may have resources that no list names, so it is asked in any case.

    Raises:
        CallerError, Conflict, UpstreamError: see `_ask`.
    """
    must_run(supervisor)
    return await _ask(supervisor, "resources/read", ("uri", asked.uri), asked.request_options, None)


def must_run(supervisor: Supervisor) -> None:
    """Raises:
    Conflict: the server was stopped, or its config entry cannot be used; asking again does not help.
    """
    state, reason = supervisor.status.state, supervisor.status.reason
    if state == "stopped" or isinstance(supervisor.config, InvalidServer):
        raise Conflict(f"{supervisor.name} is {state}" + (f": {reason}" if reason else ""))


def _must_list(supervisor: Supervisor, word: str, name: str, definitions: tuple[bytes, ...]) -> None:
    # Only a server whose lists all came home says for sure what it does not have.
    if supervisor.status.state == "ready" and not any(_name_of(raw) == name for raw in definitions):
        raise UnknownEntry(f"{supervisor.name} has no {word} named {name[:200]!r}")


def _name_of(definition_raw: bytes) -> str:
    try:
        return _definition.decode(definition_raw).name
    except msgspec.MsgspecError:
        return ""


async def _ask(
    supervisor: Supervisor, method: str, subject: tuple[str, str], options: Options, arguments: Raw | None
) -> bytes:
    """Forward the request and return the result's bytes.

    Raises:
        CallerError: the timeout is no positive number.
        UpstreamError: the server is away, late or busy, or it answered with an error of its own, which is in `data`.
    """
    member, name = subject
    params: rewrite.Members = {member: Raw(rewrite.encode_text(name))}
    if arguments is not None:
        params["arguments"] = arguments
    timeout_s = None
    if options.timeout is not None:
        if options.timeout <= 0:
            raise CallerError("Invalid body: `request_options.timeout` must be a positive number of milliseconds")
        limit_s = 0.0 if isinstance(supervisor.config, InvalidServer) else supervisor.config.timeout_s
        timeout_s = min(options.timeout / 1000, limit_s)
    reply = await supervisor.request(method, params, caller=HUB, timeout_s=timeout_s, name=name)
    if not reply.error_raw:
        return reply.result_raw
    error = read_error(reply.error_raw)
    told: dict[str, Any] = {"server": supervisor.name, "code": error.code, "message": error.message}
    if len(error.data):
        told["data"] = error.data
    raise UpstreamError(f"{supervisor.name} answered with an error: {error.message}", told)
