"""`mcp-hub filter explain NAME`: why clients of a running hub see an entry or do not."""

from __future__ import annotations

from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table

from hub_cli.filter_asking import Unanswered, ask

OK, FAILED = 0, 1


def explain(url: str, question: dict[str, str], *, as_json: bool, console: Console | None = None) -> int:
    """Ask the hub at `url` and print its answer; the exit code is 1 where there is none."""
    console = console or Console(highlight=False, soft_wrap=True)
    try:
        said = ask(url, f"/api/filtering/explain?{urlencode(question)}")
    except Unanswered as fault:
        console.print(str(fault), markup=False)
        return FAILED
    if as_json:
        console.print_json(data=said)
        return OK
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    place = said["place"]
    where = f"{said['path'] or 'no key decides'}" + (f"  ({place['file']}:{place['line']})" if place else "")
    where += "  (switched over REST, not as the config has it)" if said["switched"] else ""
    category = f"{said['category']} (by {said['categorySource']})" if said["category"] else "none yet"
    rows = {word: "yes" if said[word] else "no" for word in ("allowed", "opened", "visible", "callable")}
    rows |= {"rule": said["rule"], "where": where, "category": category, "to change it": said["change"]}
    for word, told in rows.items():
        table.add_row(word, told)
    console.print(
        f"{said['kind']} {said['name']} of {said['server']}, in {said['view'] or 'the default view'}", markup=False
    )
    console.print(table)
    return OK
