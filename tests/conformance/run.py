"""Run the official conformance suite: `python -m tests.conformance.run --spec 2025-11-25|2026-07-28|all [--url URL]`.

Owns fetching the suite (npm, into the cache directory), the hub as the server and as the client under test (`driver`),
and the table of what came out. Which scenarios are required is the suite's own frozen list; what may fail is in
`expected-failures.yml`.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console
from rich.table import Table

from tests.support import hub
from tests.support.cache_dir import ToolMissing, npm_packages
from tests.support.processes import EVERYTHING, ROOT, serving

SUITE: Final = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
NODE: Final = "node@22"
REVISIONS: Final = ("2025-11-25", "2026-07-28")
EXPECTED: Final = Path(__file__).with_name("expected-failures.yml")
SIDES: Final = ("server", "client")
RUN_TIMEOUT_S: Final = 420.0
CLIENT_TIMEOUT_S: Final = 300
"""For one client scenario, most of which is waiting for its turn: the suite starts them all together."""

DRIVER: Final = f"{sys.executable} -m tests.conformance.driver"
NOT_PASSED: Final = ("FAILURE", "WARNING")
TIME: Final = re.compile(r"-\d{4}-\d{2}-\d{2}T[\d:.Z-]+$")
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
FILTERING: Final[dict[str, dict[str, Any]]] = {
    "off": {"enabled": False},
    "on": {
        "enabled": True,
        "mode": "server-allowlist",
        "serverFilter": {"mode": "allowlist", "servers": ["everything"]},
    },
}


@dataclass(frozen=True)
class Outcome:
    """One scenario: how often each status came and which checks were not passed."""

    scenario: str
    required: bool
    counts: Counter[str]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Suite:
    """The installed suite."""

    directory: Path

    @property
    def _modules(self) -> Path:
        return self.directory / "node_modules"

    @property
    def line(self) -> list[str]:
        """The beginning of its command line."""
        program = self._modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
        return [str(self._modules / ".bin" / "node"), str(program)]

    def required(self, revision: str, side: str) -> list[str]:
        """The scenarios of one side that the revision requires, from the suite's frozen list."""
        path = self._modules / "@modelcontextprotocol" / "conformance" / "requirements" / f"{revision}.yaml"
        return yaml.safe_load(path.read_text())[side]


def read_expected(path: Path) -> dict[str, Any]:
    """The sections of the list by revision; YAML takes an unquoted revision for a date, so keys are made text.

    Raises:
        ValueError: a section is for no revision this program runs.
    """
    document: dict[object, Any] = yaml.safe_load(path.read_text()) or {}
    sections = {str(key): section for key, section in document.items()}
    if unknown := sorted(set(sections) - set(REVISIONS)):
        raise ValueError(f"{path}: no such revision: {', '.join(unknown)}")
    return sections


def outcomes(results: Path, required: list[str]) -> list[Outcome]:
    """Read what the suite wrote: one directory `[server-]SCENARIO-TIME` with `checks.json` per scenario; the name of a
    scenario may hold a slash."""
    found: list[Outcome] = []
    for path in sorted(results.rglob("checks.json"), key=lambda each: each.stat().st_mtime_ns):
        checks: list[dict[str, Any]] = json.loads(path.read_text())
        scenario = TIME.sub("", str(path.parent.relative_to(results))).removeprefix("server-")
        failed = tuple(f"{c['id']}: {c.get('errorMessage', '')}" for c in checks if c["status"] in NOT_PASSED)
        found.append(Outcome(scenario, scenario in required, Counter(c["status"] for c in checks), failed))
    return found


def table(title: str, found: list[Outcome]) -> Table:
    """A row per scenario."""
    made = Table("scenario", "passed", "failed", "warnings", "not passed", title=title)
    for each in found:
        counts = each.counts
        style = ("red" if counts["FAILURE"] else "yellow" if counts["WARNING"] else "green") if each.required else "dim"
        name = each.scenario if each.required else f"{each.scenario} (not required)"
        notes = "\n".join(note[:160] for note in each.failed) if each.required else ""
        made.add_row(name, str(counts["SUCCESS"]), str(counts["FAILURE"]), str(counts["WARNING"]), notes, style=style)
    return made


def run_revision(
    suite: Suite, revision: str, side: str, subject: list[str], expected: dict[str, Any], console: Console
) -> bool:
    """Run the required scenarios of one revision and side; True when nothing is unexpected, in either direction.

    Args:
        suite: the installed suite.
        revision: of the protocol.
        side: `server` or `client`: which of the two is under test.
        subject: the suite's options that say where it is.
        expected: the sections of the list of what may fail.
        console: where the table goes.
    """
    title, required = f"Conformance {revision}, the hub as the {side}", suite.required(revision, side)
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        baseline, results = Path(directory) / "expected.yml", Path(directory) / "results"
        sections: dict[str, list[str]] = expected.get(revision) or {}
        baseline.write_text(yaml.safe_dump({side: sections.get(side) or []}))
        options = ["--requirements", revision, "--expected-failures", str(baseline), "--output-dir", str(results)]
        try:
            done = subprocess.run(
                [*suite.line, side, *subject, *options],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            console.print(table(title, outcomes(results, required)))
            console.print(f"[red]{revision} {side}: not finished within {RUN_TIMEOUT_S} s")
            return False
        found = outcomes(results, required)
    console.print(table(title, found))
    said = done.stdout[done.stdout.rfind("\nTotal:") :] + done.stderr[-2000:]
    if done.returncode:
        console.print(COLOUR.sub("", said).strip(), markup=False, highlight=False)
    passed = sum(each.required and not each.counts["FAILURE"] and not each.counts["WARNING"] for each in found)
    counted = f"{passed} of {len(required)} required scenarios pass"
    console.print(f"{revision}, the hub as the {side}: {counted}; suite exit code {done.returncode}")
    return done.returncode == 0 and {each.scenario for each in found} >= set(required)


@contextmanager
def through_hub(filtering: str) -> Generator[str]:
    """The URL of a hub in front of the everything server, whose names it leaves as they are."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-hub-")))
        upstream = stack.enter_context(serving(EVERYTHING))
        config = {
            "mcpServers": {"everything": {"url": upstream, "prefix": ""}},
            "toolFiltering": FILTERING[filtering],
        }
        running = stack.enter_context(hub.running(config, directory))
        hub.wait_ready_sync(running, "everything")
        yield running.url


def main() -> int:
    """Parse the command line, run, and return the exit code: 0 as expected, 1 not, 2 could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", choices=(*REVISIONS, "all"), default="all")
    parser.add_argument("--side", choices=(*SIDES, "all"), default="all", help="what is under test")
    parser.add_argument("--url", help="test this server alone; default: the everything server behind the hub")
    parser.add_argument("--filtering", choices=("off", "on"), default="off", help="of the hub, without --url")
    parser.add_argument("--expected", type=Path, help="the list of what may fail; with --url there is none by default")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        suite = Suite(npm_packages("conformance-0.2.0-alpha.12-node22", NODE, SUITE))
    except ToolMissing as error:
        console.print(f"[red]the conformance suite cannot be fetched: {error}")
        return 2
    listed: Path | None = arguments.expected or (None if arguments.url else EXPECTED)
    expected = read_expected(listed) if listed else {}
    sides = ("server",) if arguments.url else SIDES if arguments.side == "all" else (arguments.side,)
    with ExitStack() as stack:
        subjects = {"client": ["--command", DRIVER, "--timeout", str(CLIENT_TIMEOUT_S * 1000)]}
        if "server" in sides:
            subjects["server"] = ["--url", arguments.url or stack.enter_context(through_hub(arguments.filtering))]
        chosen = REVISIONS if arguments.spec == "all" else (arguments.spec,)
        good = [
            run_revision(suite, revision, side, subjects[side], expected, console)
            for revision in chosen
            for side in sides
        ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
