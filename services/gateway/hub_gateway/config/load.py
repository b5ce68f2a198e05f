"""Config files to one `Document`: read, merged in the order given, checked.

A later file's server replaces the whole server of that name, and any other top-level key replaces that key. One invalid
server is set aside with its reason; what makes the whole document unusable is raised. Placeholders stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple, cast

import msgspec

from hub_gateway.config import json5_text
from hub_gateway.config.faults import Findings, checked, line_of, member, url_fault
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.config.filtering import Servers, own_prefix, policy_of, servers_of
from hub_gateway.config.model import Document, Place, ViewConfig
from hub_gateway.config.server_model import (
    ADDRESSES,
    MAX_CONNECTIONS,
    ConnectionPool,
    InvalidServer,
    OAuth,
    ServerConfig,
    ServerEntry,
)
from hub_gateway.config.views import views_of
from hub_gateway.errors import ConfigError

_TOP_LEVEL = ("mcpServers", "servers", "toolFiltering", "views", "connectionPool", "inputs")
_HIDING = ("toolFiltering", "views")
"""What hides things: a slip of the pen in one of these would show them."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_OLD_VARIABLE = re.compile(r"\$[A-Za-z_]\w*")
_OLD_COMMAND = re.compile(r"\$:\s")


class _Written(NamedTuple):
    """A value of a file that is not checked yet."""

    source: Path
    path: str
    """Where it stands in that file."""
    value: Any


class _Merged:
    """The files read so far."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.sources: list[Path] = []
        self.has_servers = False
        self.servers: dict[str, _Written] = {}
        self.other: dict[str, _Written] = {}
        self.places: dict[str, Place] = {}
        self.lines: dict[Path, dict[str, int]] = {}
        """Where everything stands in each file, by path."""

    def located(self, source: Path, finding: str) -> str:
        """A finding of a file with the file's name before it, and its line where that is known."""
        line = line_of(finding, self.lines.get(source, {}))
        return f"{source}: {finding}" if line is None else f"{source}:{line}: {finding}"

    def take(self, own: Findings, source: Path) -> None:
        """Take over the findings of one file."""
        self.findings.faults += [self.located(source, fault) for fault in own.faults]
        self.findings.warnings += [self.located(source, warning) for warning in own.warnings]


def load(paths: Sequence[Path]) -> Document:
    """Read and merge config files.

    Raises:
        ConfigError: nothing can run from these files; `faults` lists every reason as "file:line: path: sentence",
            without the line where the fault has no place.
    """
    merged = _Merged()
    missing = [path for path in paths if not _read(path, merged)]
    if len(missing) == len(paths):
        raise ConfigError([f"{path}: no such file" for path in paths] or ["no config file given"])
    merged.findings.warnings[:0] = [f"{path}: no such file, skipped" for path in missing]
    if not merged.has_servers and not merged.findings.faults:
        names = ", ".join(map(str, merged.sources))
        merged.findings.fault(names, 'no server object: "mcpServers" (or "servers") is missing')
    pool = _connection_pool(merged)
    filtering = _tool_filtering(merged)
    views = _views(merged, filtering)
    if merged.findings.faults:
        raise ConfigError(merged.findings.faults)
    servers: dict[str, ServerConfig] = {}
    invalid: dict[str, InvalidServer] = {}
    for name, written in merged.servers.items():
        server = _server(name, written, pool, merged)
        if isinstance(server, ServerConfig):
            servers[name] = server
        else:
            invalid[name] = server
    _warn_of_shared_prefixes(servers, merged)
    _warn_of_chosen_prefixes(servers, merged)
    return Document(
        servers, invalid, filtering, tuple(merged.sources), tuple(merged.findings.warnings), views, merged.places
    )


def _warn_of_shared_prefixes(servers: Mapping[str, ServerConfig], merged: _Merged) -> None:
    """Of names that differ in nothing a tool's name may hold, globs mean one alone."""
    by_prefix: dict[str, list[str]] = {}
    for name, server in servers.items():
        if server.prefix is None:
            by_prefix.setdefault(own_prefix(name), []).append(name)
    for prefix, names in by_prefix.items():
        for name in names:
            if len(names) > 1 and name != prefix:
                others = ", ".join(repr(each) for each in names if each != name)
                _warn(
                    name,
                    f"its names begin with {prefix}_ and a hash, to differ from those of {others}; `prefix` gives it "
                    "another beginning",
                    merged,
                )


def _warn_of_chosen_prefixes(servers: Mapping[str, ServerConfig], merged: _Merged) -> None:
    """Of a `prefix` that another server has, or would have where its names are taken: globs mean both."""
    by_prefix: dict[str, set[str]] = {}
    for name, server in servers.items():
        for prefix in (own_prefix(name), server.prefix):
            by_prefix.setdefault(prefix or "", set()).add(name)
    for name, server in servers.items():
        if server.prefix and (others := sorted(by_prefix[server.prefix] - {name})):
            shared = ", ".join(map(repr, others))
            _warn(
                name, f"`prefix`: names of {shared} may begin with {server.prefix}__ too, and rules mean both", merged
            )


def _warn(name: str, sentence: str, merged: _Merged) -> None:
    written, own = merged.servers[name], Findings()
    own.warn(written.path, sentence)
    merged.take(own, written.source)


def _read(path: Path, merged: _Merged) -> bool:
    """Add one file; False when it does not exist."""
    findings = merged.findings
    try:
        text = path.read_bytes().decode("utf-8-sig")
        parsed = json5_text.decode(text)
    except FileNotFoundError:
        return False
    except UnicodeDecodeError:
        findings.fault(str(path), "not UTF-8 text")
        return True
    except OSError as error:
        findings.fault(str(path), f"cannot be read: {error.strerror}")
        return True
    except ValueError as error:
        findings.fault(str(path), str(error))
        return True
    document = parsed.value
    if not isinstance(document, dict):
        findings.fault(str(path), "expected an object")
        return True
    merged.sources.append(path)
    for key in parsed.repeated:
        findings.warn(str(path), f"key {key!r} stands twice in one object; the last one counts")
    merged.lines[path] = json5_text.places(text)
    _merge(path, cast(dict[str, Any], document), merged)
    _note_places(path, cast(dict[str, Any], document), merged)
    return True


def _note_places(path: Path, document: dict[str, Any], merged: _Merged) -> None:
    """Remember where the keys that decide stand; a later file's key replaces the earlier one's with all below it."""
    for key in [key for key in ("toolFiltering", "views") if key in document]:
        kept = {own: place for own, place in merged.places.items() if not _below(own, key)}
        found = {own: Place(str(path), line) for own, line in merged.lines[path].items() if _below(own, key)}
        merged.places = {**kept, **found}


def _below(path: str, key: str) -> bool:
    return path == key or path.startswith((f"{key}.", f"{key}["))


def _merge(path: Path, document: dict[str, Any], merged: _Merged) -> None:
    own = Findings()
    own.unknown_keys(document, _TOP_LEVEL, "", hiding=_HIDING)
    if "inputs" in document:
        own.warn("inputs", 'nobody is asked; give the values in MCP_HUB_ENV under "input:ID"')
    objects = [key for key in ("mcpServers", "servers") if isinstance(document.get(key), dict)]
    if len(objects) > 1 and document["mcpServers"].keys() & document["servers"].keys():
        own.warn("servers", 'replaces the servers of the same name in "mcpServers"')
    elif len(objects) > 1:
        own.warn("servers", 'stands beside "mcpServers"; the two are merged')
    for key in ("mcpServers", "servers"):
        if key not in document:
            continue
        merged.has_servers = True
        if key not in objects:
            own.fault(key, "must be an object")
            continue
        for name, entry in document[key].items():
            merged.servers[name] = _Written(path, member(key, name), entry)
    for key in ("toolFiltering", "connectionPool", "views"):
        if key in document:
            if (earlier := merged.other.get(key)) is not None:
                own.warn(key, f"replaces the one of {earlier.source}, of which nothing holds any more")
            merged.other[key] = _Written(path, key, document[key])
    merged.take(own, path)


def _connection_pool(merged: _Merged) -> Mapping[str, Any]:
    """What remote servers start from: every key, but `maxConnections` only where it is written."""
    written = merged.other.get("connectionPool")
    own = Findings()
    pool = checked(written.value, ConnectionPool, written.path, own) if written else None
    if written:
        merged.take(own, written.source)
    given = cast(dict[str, Any], msgspec.to_builtins(pool or ConnectionPool()))
    if pool is None or written is None or "maxConnections" not in written.value:
        del given["maxConnections"]
    return given


def _tool_filtering(merged: _Merged) -> ToolFiltering:
    written = merged.other.get("toolFiltering")
    if written is None:
        return ToolFiltering()
    own = Findings(slips=True)
    filtering = policy_of(written.value, _known(merged), written.path, own)
    merged.take(own, written.source)
    return filtering or ToolFiltering()


def _views(merged: _Merged, filtering: ToolFiltering) -> dict[str, ViewConfig]:
    written = merged.other.get("views")
    if written is None or merged.findings.faults:
        return {}
    own = Findings()
    document = merged.other.get("toolFiltering")
    given = cast("dict[str, Any]", document.value) if document is not None else dict[str, Any]()
    views = views_of(written.value, given, _known(merged), filtering.category_filter, own)
    merged.take(own, written.source)
    return views


def _known(merged: _Merged) -> Servers:
    return servers_of({name: each.value for name, each in merged.servers.items()})


def _server(name: str, written: _Written, pool: Mapping[str, Any], merged: _Merged) -> ServerConfig | InvalidServer:
    """Check one server. Its warnings go to `merged`; its faults become the reason."""
    own = Findings()
    entry = checked(_spelled(written.value), ServerEntry, written.path, own)
    config_source = str(written.source.absolute())
    if not name:
        own.fault(written.path, "a server needs a name")
    if entry is not None:
        _check_server(entry, cast(dict[str, Any], written.value), written.path, own)
    faults = tuple(own.faults)
    own.faults.clear()
    merged.take(own, written.source)
    if entry is None or faults:
        located = tuple(merged.located(written.source, fault) for fault in faults)
        return InvalidServer(name, "; ".join(faults), config_source, located)
    given = msgspec.to_builtins(entry)
    own_pool = given["connectionPool"]
    least = min(max(own_pool["maxConnections"], entry.max_in_flight), MAX_CONNECTIONS)
    own_pool = {key: own_pool[key] for key in written.value.get("connectionPool", ()) if key in own_pool}
    given["connectionPool"] = {"maxConnections": least, **pool, **own_pool}
    return msgspec.convert({**given, "key": name, "configSource": config_source}, ServerConfig)


def _spelled(entry: Any) -> Any:
    """An entry as the hub spells it: its address under `url`, however the client that it was written for calls that;
    numbers and truth values among what programs and servers get as text are that text."""
    if not isinstance(entry, dict):
        return entry
    given = dict(cast(dict[str, Any], entry))
    if isinstance(args := given.get("args"), list):
        given["args"] = [_as_text(each) for each in cast(list[Any], args)]
    for key in ("env", "headers"):
        if isinstance(values := given.get(key), dict):
            given[key] = {name: _as_text(each) for name, each in cast(dict[str, Any], values).items()}
    other = next((key for key in ADDRESSES if key in given), None)
    if other is None or "url" in given:
        return given
    return {"url" if key == other else key: value for key, value in given.items()}


def _as_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def _check_server(entry: ServerEntry, written: Mapping[str, Any], path: str, findings: Findings) -> None:
    """Rules between keys."""
    if entry.command is not None and entry.url is not None:
        findings.fault(path, 'has both "command" and "url"')
    elif entry.command is not None:
        _check_stdio(entry, written, path, findings)
    elif entry.url is not None:
        _check_remote(entry, path, findings)
    else:
        findings.fault(path, 'needs "command" or "url"')
    for key, value in entry.env.items():
        if not key or "=" in key or "\0" in key:
            findings.fault(member(f"{path}.env", key), "no name of a variable")
        if value is not None and _OLD_COMMAND.match(value):
            findings.warn(member(f"{path}.env", key), "is passed as it stands; to run a command write ${cmd: ...}")


def _check_stdio(entry: ServerEntry, written: Mapping[str, Any], path: str, findings: Findings) -> None:
    if entry.type not in (None, "stdio"):
        findings.fault(f"{path}.type", 'contradicts "command"')
    if "connectionPool" in written:
        findings.fault(f"{path}.connectionPool", 'only with "url"')
    if entry.oauth is not None:
        findings.fault(f"{path}.oauth", 'only with "url"')
    if entry.headers:
        findings.warn(f"{path}.headers", 'ignored: only with "url"')
    if entry.dev is not None and not PurePath(entry.dev.cwd).is_absolute():
        findings.fault(f"{path}.dev.cwd", "must be an absolute path")
    for i, argument in enumerate(entry.args):
        if _OLD_VARIABLE.fullmatch(argument):
            findings.warn(f"{path}.args[{i}]", "$NAME is an old form; write ${NAME}")


def _check_remote(entry: ServerEntry, path: str, findings: Findings) -> None:
    if entry.type == "stdio":
        findings.fault(f"{path}.type", 'contradicts "url"')
    if entry.dev is not None:
        findings.fault(f"{path}.dev", 'only with "command"')
    if entry.args or entry.cwd is not None:
        findings.warn(path, '"args" and "cwd" are ignored: only with "command"')
    if entry.url is not None and "${" not in entry.url and (reason := url_fault(entry.url)):
        findings.fault(f"{path}.url", reason)
    for key, value in entry.headers.items():
        header = member(f"{path}.headers", key)
        if not _HEADER_NAME.fullmatch(key):
            findings.fault(header, "no name of an HTTP header")
        if "\r" in value or "\n" in value:
            findings.fault(header, "must not hold a line break")
        if entry.oauth is not None and key.lower() == "authorization":
            findings.fault(header, 'contradicts "oauth", which sets this header')
    if entry.oauth is not None:
        _check_oauth(entry.oauth, f"{path}.oauth", findings)


def _check_oauth(oauth: OAuth, path: str, findings: Findings) -> None:
    method = oauth.token_endpoint_auth_method
    if oauth.grant == "client_credentials" and (oauth.client_id is None or oauth.client_secret is None):
        findings.fault(path, 'grant "client_credentials" needs "clientId" and "clientSecret"')
    if oauth.client_id is None and (oauth.client_secret is not None or method is not None):
        findings.fault(path, 'needs "clientId" beside "clientSecret" or "tokenEndpointAuthMethod"')
    if method not in (None, "none") and oauth.client_secret is None:
        findings.fault(f"{path}.tokenEndpointAuthMethod", 'needs "clientSecret"')
    for i, scope in enumerate(oauth.scopes):
        if not _SCOPE.fullmatch(scope):
            findings.fault(f"{path}.scopes[{i}]", "no name of a scope")
    if oauth.issuer is not None and (reason := url_fault(oauth.issuer)):
        findings.fault(f"{path}.issuer", reason)
    document = oauth.client_metadata_url
    if document is not None and (url_fault(document) or not re.match(r"https://[^/]+/[^#]+$", document)):
        findings.fault(f"{path}.clientMetadataUrl", "must start with https:// and have a path")
