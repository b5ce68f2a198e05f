"""`mcp-hub filter dry-run FILE`: what a policy would show to clients of a running hub, which stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from hub_cli.filter_asking import Unanswered, ask
from hub_gateway.config import json5_text
from hub_gateway.config.faults import did_you_mean

OK, FAILED, UNUSABLE = 0, 1, 2
SHOWN = 20
"""Entries named of those that come, and of those that go; `--json` has more."""

_CONFIG_KEYS = frozenset({"mcpServers", "servers", "toolFiltering", "views"})
_KINDS = {"tools": "tools", "prompts": "prompts", "resources": "resources", "resourceTemplates": "templates"}


def dry_run(url: str, file: Path, view: str, *, as_json: bool, console: Console | None = None) -> int:
    """Ask the hub at `url` about the policy of a file and print its answer.

    Returns:
        0 for an answer, 1 where there is none, 2 where the file or its policy cannot be used.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    try:
        body = question(file, view)
    except ValueError as fault:
        console.print(f"{file}: {fault}", markup=False)
        return UNUSABLE
    try:
        said = ask(url, "/api/filtering/dry-run", body)
    except Unanswered as fault:
        console.print(str(fault), markup=False)
        return UNUSABLE if fault.is_refused else FAILED
    if as_json:
        console.print_json(data=said)
    else:
        _print(said, console)
    return OK


def question(file: Path, view: str) -> dict[str, Any]:
    """The body of the question: the `toolFiltering` of a config file, or of a view in it with what that stands on, or
    the file's own object where it is no config.

    Raises:
        ValueError: there is none; the message says why.
    """
    try:
        value = json5_text.decode(file.read_bytes().decode("utf-8-sig")).value
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    document = cast("dict[str, Any]", value)
    if not _CONFIG_KEYS & document.keys():
        return {"toolFiltering": document, **({"view": view} if view else {})}
    own = document.get("toolFiltering", {})
    if not view:
        return {"toolFiltering": own}
    views = document.get("views")
    written = cast("dict[str, Any]", views).get(view) if isinstance(views, dict) else None
    if not isinstance(written, dict):
        known = cast("dict[str, Any]", views) if isinstance(views, dict) else ()
        raise ValueError(f"has no view {view!r}{did_you_mean(view, known)}")
    of_view = cast("dict[str, Any]", written).get("toolFiltering", {})
    return {"toolFiltering": of_view, "view": view, "documentToolFiltering": own}


def _print(said: dict[str, Any], console: Console) -> None:
    mode = said["mode"] or ("no mode" if said["inForce"] else "off")
    console.print(f"{said['view'] or 'the default view'}, {mode}; nothing is changed", markup=False)
    for warning in said["warnings"]:
        console.print(f"warning  {warning}", markup=False)
    shown = Table("", *(f"{word} {when}" for word in ("allowed", "at start") for when in ("now", "then")), box=None)
    for kind, word in _KINDS.items():
        numbers = [said[state][when][kind] for state in ("allowed", "visibleAtStart") for when in ("now", "then")]
        shown.add_row(word, *map(str, numbers))
    tokens = [said["tokens"][when][word] for word in ("exposed", "atStart") for when in ("now", "then")]
    shown.add_row("tokens of tools", *map(str, tokens))
    console.print(shown)
    rules = Table("rule", "decides", "entries", box=None)
    for rule in said["rules"]:
        rules.add_row(rule["rule"], "shown" if rule["allows"] else "hidden", str(rule["entries"]))
    console.print(rules)
    for state, words in (("allowed", "allowed"), ("visibleAtStart", "seen at the start")):
        for change, sign in (("appear", "+"), ("disappear", "-")):
            _print_entries(f"{sign} {words}", said[state][change], sign, console)


def _print_entries(head: str, found: dict[str, Any], sign: str, console: Console) -> None:
    if not found["total"]:
        return
    console.print(f"{head}: {found['total']}", markup=False)
    for entry in found["entries"][:SHOWN]:
        console.print(f"  {sign} {entry['kind']} {entry['name']}  ({entry['rule']})", markup=False)
    if (more := found["total"] - SHOWN) > 0:
        console.print(f"  … and {more} more", markup=False)
