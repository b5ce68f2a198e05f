"""`${...}` in a server's texts replaced by what it stands for, each time the server is started anew.

Owns the meaning of every form and the environment a stdio server gets. Nothing is kept between two calls, so a rotated
secret is found at the next connect. No error and no log line holds a value.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from hub_common.logs import add_secret
from hub_gateway.config import command as shell
from hub_gateway.config import secret_texts
from hub_gateway.config.context import Context
from hub_gateway.config.faults import Findings, member, url_fault
from hub_gateway.config.server_model import OAuth, ServerConfig
from hub_gateway.config.templates import Template, is_command, names, parse, variable
from hub_gateway.errors import ConfigError

__all__ = ["Context", "ResolvedServer", "resolve", "resolve_text", "unknown_variables", "unset_variables"]

_OLD_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")


class ResolvedServer(msgspec.Struct, frozen=True):
    """The texts of one server with nothing left to replace. Holds secrets: never log, keep or return it."""

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """The whole environment of the process."""
    cwd: str | None = None
    """Absolute folder that exists; None means the hub's own."""
    url: str | None = None
    """Without user and password, which are among the headers."""
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    oauth: OAuth | None = None

    def __repr__(self) -> str:
        """Only the name."""
        return f"ResolvedServer(name={self.name!r})"


class _Unresolved(Exception):
    """A text has no value; the sentence tells why."""


async def resolve(server: ServerConfig, context: Context) -> ResolvedServer:
    """Give every text of the server its value, running its commands anew.

    `env` is resolved first, each value after those it refers to; the other texts see it before all else.

    Raises:
        ConfigError: with every fault by its path under the server's name.
    """
    root = member("mcpServers", server.name)
    findings = Findings()
    env = await _resolve_env(server.env, context, f"{root}.env", findings)
    if findings.faults:
        raise ConfigError(findings.faults)
    scope = _Scope(context, env)

    async def text(value: str | None, path: str) -> str | None:
        return None if value is None else await scope.text(value, path, findings)

    command = await text(server.command, f"{root}.command")
    args = [await _argument(a, scope, f"{root}.args[{i}]", findings) for i, a in enumerate(server.args)]
    cwd = _folder(await text(server.cwd, f"{root}.cwd"), context, f"{root}.cwd", findings)
    url = await text(server.url, f"{root}.url")
    headers = {key: await scope.text(v, member(f"{root}.headers", key), findings) for key, v in server.headers.items()}
    oauth = server.oauth
    if oauth is not None:
        oauth = await _client(oauth, scope, f"{root}.oauth", findings)
    if command is not None and not command.strip() and not findings.faults:
        findings.fault(f"{root}.command", "is empty")
    if url is not None and not findings.faults and (reason := url_fault(url)):
        findings.fault(f"{root}.url", reason)
    for key, value in headers.items():
        if "\r" in value or "\n" in value:
            findings.fault(member(f"{root}.headers", key), "must not hold a line break")
    if findings.faults:
        raise ConfigError(findings.faults)
    for secret in _secrets(server, env, args, headers, url or ""):
        add_secret(secret)
    if url is not None:
        url, authorization = _without_user(url)
        if authorization and not any(name.lower() == "authorization" for name in headers):
            headers["Authorization"] = authorization
            add_secret(authorization.rpartition(" ")[2])
    return ResolvedServer(server.name, command, tuple(args), context.inherited | env, cwd, url, headers, oauth)


def _without_user(url: str) -> tuple[str, str]:
    """A URL without its `user:password@`, and the header that says the same (RFC 7617); "" where there is none."""
    parts = urlsplit(url)
    user, _, rest = parts.netloc.rpartition("@")
    if not user:
        return url, ""
    name, _, password = user.partition(":")
    pair = f"{unquote(name)}:{unquote(password)}".encode()
    return urlunsplit(parts._replace(netloc=rest)), f"Basic {b64encode(pair).decode()}"


def _secrets(
    server: ServerConfig, env: Mapping[str, str], args: list[str], headers: Mapping[str, str], url: str
) -> Iterator[str]:
    yield from secret_texts.of_named(env)
    yield from secret_texts.of_named(headers)
    # Whoever keeps a header's value out of the config has a reason.
    yield from (value for name, value in headers.items() if value != server.headers[name])
    yield from secret_texts.of_arguments(args)
    yield from secret_texts.of_url(url, server.url)


async def resolve_text(text: str, context: Context, path: str = "") -> str:
    """Give one text outside a server its value.

    Raises:
        ConfigError: a variable is not set or a command failed, told by `path`.
    """
    findings = Findings()
    value = await _Scope(context, {}).text(text, path, findings)
    if findings.faults:
        raise ConfigError(findings.faults)
    return value


def unknown_variables(server: ServerConfig, context: Context) -> Iterator[str]:
    """Say, without running a command, which variables the server needs that nothing sets: "path: sentence"."""
    root = member("mcpServers", server.name)
    for path, own_name, text in _texts(server, root):
        try:
            wanted = [own_name] if text is None else list(names(parse(text)))
        except ValueError:
            continue
        for name in dict.fromkeys(wanted):
            given = name != own_name and name in server.env
            if not given and name not in context.variables:
                yield f"{path}: variable {name!r} is not set"


def unset_variables(text: str, context: Context) -> Iterator[str]:
    """Say, without running a command, which variables a text outside a server needs that nothing sets."""
    try:
        wanted = dict.fromkeys(names(parse(text)))
    except ValueError:
        return
    for name in wanted:
        if name not in context.variables:
            yield f"variable {name!r} is not set"


def _texts(server: ServerConfig, root: str) -> Iterator[tuple[str, str, str | None]]:
    """Path, name under `env` ("" elsewhere) and text of everything that may hold placeholders."""
    for key, value in server.env.items():
        yield member(f"{root}.env", key), key, value
    for key in ("command", "cwd", "url"):
        yield f"{root}.{key}", "", getattr(server, key) or ""
    for i, value in enumerate(server.args):
        yield f"{root}.args[{i}]", "", value
    for key, value in server.headers.items():
        yield member(f"{root}.headers", key), "", value
    if server.oauth is not None:
        yield f"{root}.oauth.clientId", "", server.oauth.client_id or ""
        yield f"{root}.oauth.clientSecret", "", server.oauth.client_secret or ""


class _Scope:
    """Where names are looked up: the server's own `env`, then the context."""

    def __init__(self, context: Context, env: Mapping[str, str]) -> None:
        self._context = context
        self._env = env

    async def text(self, text: str, path: str, findings: Findings) -> str:
        """Replace what is in `text`; "" after a fault, which is in `findings`."""
        try:
            value = await self._join(parse(text))
        except (_Unresolved, shell.CommandFailed, ValueError) as error:
            findings.fault(path, str(error))
            return ""
        if "\0" in value:
            findings.fault(path, "must not hold a NUL character")
        return value

    async def _join(self, template: Template) -> str:
        return "".join([part if isinstance(part, str) else await self._value(part.body) for part in template])

    async def _value(self, body: Template) -> str:
        text = await self._join(body)
        if not is_command(body):
            return self._lookup(variable(text))
        run = text.strip().removeprefix("cmd:").strip()
        printed = await shell.output(run, {**self._context.command_env, **self._env}, self._context.cwd)
        add_secret(printed)
        return printed

    def _lookup(self, name: str) -> str:
        value = self._env.get(name)
        value = self._context.variables.get(name) if value is None else value
        if value is None:
            raise _Unresolved(f"variable {name!r} is not set")
        if secret_texts.is_secret_name(name):
            add_secret(value)
        return value


async def _client(oauth: OAuth, scope: _Scope, path: str, findings: Findings) -> OAuth:
    given = {"client_id": oauth.client_id, "client_secret": oauth.client_secret}
    found: dict[str, str] = {}
    for (name, value), key in zip(given.items(), ("clientId", "clientSecret"), strict=True):
        if value is not None:
            before = len(findings.faults)
            found[name] = await scope.text(value, f"{path}.{key}", findings)
            if not found[name].strip() and len(findings.faults) == before:
                findings.fault(f"{path}.{key}", "is empty")
    add_secret(found.get("client_secret", ""))
    return msgspec.structs.replace(oauth, **found)


async def _argument(text: str, scope: _Scope, path: str, findings: Findings) -> str:
    old = _OLD_VARIABLE.fullmatch(text)
    return await scope.text(f"${{{old[1]}}}" if old else text, path, findings)


def _folder(cwd: str | None, context: Context, path: str, findings: Findings) -> str | None:
    if not cwd:
        return None
    try:
        folder = context.cwd / Path(cwd).expanduser()
        found = folder.is_dir()
    except RuntimeError:  # of `~NAME`, where nobody is called so
        findings.fault(path, "names a user that is not there")
        return None
    except OSError as error:
        findings.fault(path, f"cannot be looked at: {error.strerror}")
        return None
    if not found:
        findings.fault(path, "no such folder")
    return str(folder)


async def _resolve_env(
    env: Mapping[str, str | None], context: Context, path: str, findings: Findings
) -> dict[str, str]:
    """Resolve `env` values, each after its siblings; a value that names itself means the context's."""
    resolved: dict[str, str] = {}
    failed: set[str] = set()
    for name in _ordered(env, path, failed, findings):
        text, place = env[name], member(path, name)
        siblings = {key: value for key, value in resolved.items() if key != name}
        before = len(findings.faults)
        if failed.intersection(_siblings(name, text, env)):
            failed.add(name)  # its cause is told already
            continue
        if text:
            resolved[name] = await _Scope(context, siblings).text(text, place, findings)
        elif name in context.variables:
            resolved[name] = context.variables[name]
        elif text is None:
            findings.fault(place, f"variable {name!r} is not set")
        else:
            resolved[name] = ""
        if len(findings.faults) > before:
            failed.add(name)
    return {name: resolved[name] for name in env if name in resolved}


def _siblings(name: str, text: str | None, env: Iterable[str]) -> list[str]:
    try:
        referred = set(names(parse(text or "")))
    except ValueError:
        return []
    return [key for key in env if key in referred and key != name]


def _ordered(env: Mapping[str, str | None], path: str, failed: set[str], findings: Findings) -> list[str]:
    """The names of `env`, each after those its value refers to. Cycles become faults and are `failed`."""
    order: list[str] = []
    trail: list[str] = []

    def visit(name: str) -> None:
        if name in trail:
            cycle = trail[trail.index(name) :]
            if not failed.issuperset(cycle):
                shown = " → ".join([*cycle, name])
                findings.fault(member(path, name), f"refers to itself: {shown}")
                failed.update(cycle)
            return
        if name in order:
            return
        trail.append(name)
        for sibling in _siblings(name, env[name], env):
            visit(sibling)
        trail.pop()
        order.append(name)

    for name in env:
        visit(name)
    return [name for name in order if name not in failed]
