"""`mcp-hub config check FILE...`: everything that is wrong with a config, before anything is started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hub_gateway.config.dotenv import load_dotenv
from hub_gateway.config.faults import member
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.config.load import load
from hub_gateway.config.model import Document
from hub_gateway.config.placeholders import Context, unknown_variables, unset_variables
from hub_gateway.config.server_model import ServerConfig
from hub_gateway.errors import ConfigError, UpstreamDown
from hub_gateway.exposure.policy import effective
from hub_gateway.upstreams.transports.stdio import find_runner

OK = 0
UNUSABLE = 2


def check(paths: Sequence[Path], console: Console | None = None) -> int:
    """Print every fault and warning, then a summary.

    Starts no server and runs no `${cmd:}`; variables are looked up in the environment and in `./.env`, programs on
    PATH. One that is not there is a warning, since the hub may run elsewhere. No value of the document is printed.

    Returns:
        0 when every server can be used, 2 when the document or any server cannot.
    """
    console = console or Console(soft_wrap=True, highlight=False)
    try:
        document = load(paths)
    except ConfigError as error:
        for fault in error.faults:
            _line(console, "fault", "red", fault)
        console.print("The config cannot be used.", style="bold red")
        return UNUSABLE
    for warning in (*document.warnings, *_missing(document)):
        _line(console, "warning", "yellow", warning)
    for server in document.invalid.values():
        for fault in server.faults:
            _line(console, "fault", "red", fault)
    _summary(console, document)
    return UNUSABLE if document.invalid else OK


def _missing(document: Document) -> list[str]:
    """Variables and programs that servers, views and the language model need and that are not on this machine."""
    environ = dict(os.environ)
    load_dotenv(Path(".env"), environ)
    context = Context.from_environ(environ, Path.cwd())
    llm = document.tool_filtering.llm_categorization
    unset = [
        f"toolFiltering.llmCategorization.{key}: {sentence}"
        for key, text in (llm.texts if llm and llm.enabled else {}).items()
        for sentence in unset_variables(text, context)
    ]
    unset += [
        f"views.{view.name}.credentials[{place}]: {sentence}"
        for view in document.views.values()
        for place, text in enumerate(view.credentials or ())
        for sentence in unset_variables(text, context)
    ]
    for server in document.servers.values():
        if not server.disabled:
            faults = (*unknown_variables(server, context), *_absent_program(server, environ))
            unset += [f"{server.config_source}: {sentence}" for sentence in faults]
    return unset


def _absent_program(server: ServerConfig, environ: Mapping[str, str]) -> Iterator[str]:
    """Say that the program cannot be found, where its name can be known without starting anything."""
    path = server.env.get("PATH") or environ.get("PATH", os.defpath)
    if server.command is None or any("$" in text for text in (server.command, server.cwd or "", path)):
        return
    try:
        find_runner([server.command], {"PATH": path}, server.cwd)
    except UpstreamDown:
        yield f"{member('mcpServers', server.name)}.command: this program is not on this machine, or not on PATH"


def _line(console: Console, word: str, style: str, sentence: str) -> None:
    console.print(Text.assemble((f"{word:<8}", style), sentence))


def _state(filtering: ToolFiltering) -> str:
    """Whether filtering is on, as a hub with few tools has it, and when that becomes another."""
    policy = effective(filtering, 0)
    now = f"on ({policy.mode or 'rules for single entries'})" if policy.in_force else "off"
    later = filtering.auto_enable_threshold
    if filtering.enabled is not None or policy.mode is not None or not later:
        return now
    return f"{now}, by {filtering.mode or 'category'} with more than {later} tools"


def _summary(console: Console, document: Document) -> None:
    for server in document.servers.values():
        kind = "stdio" if server.is_stdio else server.type or "remote"
        _line(
            console,
            "off" if server.disabled else "ok",
            "dim" if server.disabled else "green",
            f"{server.name} ({kind})",
        )
    for view in document.views.values():
        _line(console, "view", "green", f"{view.name} ({'open' if view.credentials is None else 'with credentials'})")
    for server in document.invalid.values():
        _line(console, "invalid", "red", server.name)
    disabled = sum(server.disabled for server in document.servers.values())
    state = _state(document.tool_filtering)
    console.print(
        f"{len(document.servers) - disabled} servers to start, {disabled} disabled, {len(document.invalid)} invalid; "
        f"filtering {state}; from {', '.join(map(str, document.sources))}",
        markup=False,
    )
