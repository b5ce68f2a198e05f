"""`mcp-hub filter explain NAME`: why clients of a running hub see an entry or do not."""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

OK, FAILED = 0, 1
TIMEOUT_S = 20.0


def explain(url: str, question: dict[str, str], *, as_json: bool, console: Console | None = None) -> int:
    """Ask the hub at `url` and print its answer; the exit code is 1 where there is none."""
    console = console or Console(highlight=False)
    try:
        with urlopen(f"{url.rstrip('/')}/api/filtering/explain?{urlencode(question)}", timeout=TIMEOUT_S) as answer:
            said: dict[str, Any] = json.load(answer)
    except HTTPError as refused:
        said = cast("dict[str, Any]", json.load(refused))
        near = said.get("data", {}).get("nearest") or said.get("data", {}).get("views") or ()
        console.print(said["error"] + (f"; there are {', '.join(near)}" if near else ""), markup=False)
        return FAILED
    except URLError as fault:
        console.print(f"No hub answers at {url}: {fault.reason}", markup=False)
        return FAILED
    if as_json:
        console.print_json(data=said)
        return OK
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    place = said["place"]
    where = f"{said['path'] or 'no key decides'}" + (f"  ({place['file']}:{place['line']})" if place else "")
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
