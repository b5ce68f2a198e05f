"""The command line: words, options and exit codes. What a word does is in the module of its name.

Exit codes: 0 asked to stop or all well, 1 failed, 2 usage or unusable config.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

app = typer.Typer(
    name="mcp-hub",
    help="One MCP endpoint in front of all your MCP servers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Look at config files without running anything.", no_args_is_help=True)
app.add_typer(config_app, name="config")

filter_app = typer.Typer(help="Ask a running hub what its clients see, and why.", no_args_is_help=True)
app.add_typer(filter_app, name="filter")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("mcp-hub"))
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """One MCP endpoint in front of all your MCP servers."""


@app.command()
def serve(
    config: Annotated[
        list[Path] | None, typer.Option("--config", "-c", help="Config file; several are merged in this order.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", min=0, max=65_535, help="Port to listen on.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    watch: Annotated[
        bool | None, typer.Option("--watch/--no-watch", "-w", help="Apply config changes at once.")
    ] = None,
) -> None:
    """Run the whole hub in one process: gateway, filter and categorizer."""
    # gRPC reads these when it is imported: the hub starts processes, and gRPC would report each of them.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from hub_cli.serve import serve  # its imports take longer than `--help` should

    raise typer.Exit(serve(config or [], port=port, host=host, watch=watch))


@app.command()
def connect(
    url: Annotated[str, typer.Option(help="MCP endpoint of the hub.")] = "http://127.0.0.1:7000/mcp",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="'Name: value' for every HTTP request; may be repeated.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds a message waits for a hub that is away.")] = 60.0,
) -> None:
    """Be a stdio MCP server in front of a hub that runs elsewhere, for clients that know only stdio."""
    from hub_cli.connect import connect  # its imports take longer than `--help` should

    raise typer.Exit(connect(url, header or [], timeout))


@config_app.command("check")
def config_check(files: Annotated[list[Path], typer.Argument(help="Config files, merged in this order.")]) -> None:
    """Say every fault of the config files, each by its path."""
    from hub_cli.config_check import check  # its imports take longer than `--help` should

    raise typer.Exit(check(files))


@filter_app.command("explain")
def filter_explain(
    name: Annotated[str, typer.Argument(help="Name or URI of the entry, as clients see it.")],
    kind: Annotated[Literal["tool", "prompt", "resource", "template"], typer.Option(help="What it is.")] = "tool",
    view: Annotated[str, typer.Option(help="View of the config; without it, the default.")] = "",
    session: Annotated[str, typer.Option(help="Session id: what that session sees.")] = "",
    url: Annotated[str, typer.Option(help="Where the hub is.")] = "http://127.0.0.1:7000",
    as_json: Annotated[bool, typer.Option("--json", help="The answer as the hub gives it.")] = False,
) -> None:
    """Say whether an entry is seen, by which rule, and where that rule stands."""
    from hub_cli.filter_explain import explain  # its imports take longer than `--help` should

    question = {kind: name, "view": view, "session": session}
    raise typer.Exit(explain(url, {key: value for key, value in question.items() if value}, as_json=as_json))


@filter_app.command("dry-run")
def filter_dry_run(
    file: Annotated[Path, typer.Argument(help="Config file, or a `toolFiltering` object alone, in JSON5.")],
    view: Annotated[str, typer.Option(help="View the policy is for; without it, the default.")] = "",
    url: Annotated[str, typer.Option(help="Where the hub is.")] = "http://127.0.0.1:7000",
    as_json: Annotated[bool, typer.Option("--json", help="The answer as the hub gives it.")] = False,
) -> None:
    """Say what a policy would show and hide, of all that a running hub has now; nothing is changed."""
    from hub_cli.filter_dry_run import dry_run  # its imports take longer than `--help` should

    raise typer.Exit(dry_run(url, file, view, as_json=as_json))


_SHUTDOWN = "the client that starts a hub of its own ends it; else the hub runs as a service"
GONE = {"--auto-shutdown": _SHUTDOWN, "--shutdown-delay": _SHUTDOWN}
"""Options of MCP Hub 4 that `serve` has no more, and what is done now (`docs/migration.md`)."""

_OF_ALL = frozenset({"-h", "--help", "--version"})


def main() -> None:
    """Run the command line. Options without a word are those of `serve`, as they were before there were words."""
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="replace")  # where its encoding has no such character
    given = sys.argv[1:]
    if given and given[0].startswith("-") and given[0] not in _OF_ALL:
        given = ["serve", *given]
    if given[:1] == ["serve"] and (gone := [name for each in given if (name := each.partition("=")[0]) in GONE]):
        typer.echo(f"mcp-hub: {gone[0]} is gone since MCP Hub 5: {GONE[gone[0]]}", err=True)
        raise SystemExit(2)
    app(given)


if __name__ == "__main__":
    main()
