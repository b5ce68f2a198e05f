"""Run the official conformance suite: `python -m tests.conformance.run --spec 2025-11-25|2026-07-28|all [--url URL]`.

Owns fetching the suite (npm, into the cache directory), the hub as the client under test (`driver`) and, with every
kind of filtering (`modes`), as the server under test, and the tables of what came out. Which scenarios are required is
the suite's own frozen list; what may fail is in `expected-failures.yml`.
"""

import argparse
import io
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console
from rich.table import Table

from tests.conformance.modes import MODES
from tests.support import hub
from tests.support.cache_dir import ToolMissing, npm_packages
from tests.support.packages import CONFORMANCE, NODE
from tests.support.processes import EVERYTHING, ROOT, TASKS, serving

REVISIONS: Final = ("2025-11-25", "2026-07-28")
EXPECTED: Final = Path(__file__).with_name("expected-failures.yml")
SIDES: Final = ("server", "client")
TASK_SCENARIOS: Final = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)
"""The scenarios of the extension `io.modelcontextprotocol/tasks`, which no revision requires; all but
`tasks-status-notifications`, which checks nothing yet."""
RUN_TIMEOUT_S: Final = 420.0
CLIENT_TIMEOUT_S: Final = 300
"""For one client scenario, most of which is waiting for its turn: the suite starts them all together."""

DRIVER: Final = f"{sys.executable} -m tests.conformance.driver"
NOT_PASSED: Final = ("FAILURE", "WARNING")
TIME: Final = re.compile(r"-\d{4}-\d{2}-\d{2}T[\d:.Z-]+$")
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
WIDE: Final = 160
AT_ONCE: Final = 2
"""Runs at the same time: most of a run is waiting for the suite's own pauses."""


@dataclass(frozen=True)
class Outcome:
    """One scenario: how often each status came and which checks were not passed."""

    scenario: str
    required: bool
    counts: Counter[str]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One run of the suite: its revision, the side under test, and where that is."""

    revision: str
    side: str
    mode: str
    subject: tuple[str, ...]
    scenarios: tuple[str, ...] = ()
    """Run these, of an extension, instead of those that the revision requires."""

    @property
    def title(self) -> str:
        """What stands over its table."""
        filtering = f", {self.mode}" if self.mode else ""
        return f"Conformance {self.revision}, the hub as the {self.side}{filtering}"


@dataclass(frozen=True)
class Verdict:
    """What came out of a run: all as expected or not, how many required scenarios passed, and what is to be printed."""

    run: Run
    good: bool
    passed: int
    required: int
    printed: str


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


def run_suite(suite: Suite, run: Run, expected: dict[str, Any]) -> Verdict:
    """Run the required scenarios of one revision and side; good when nothing is unexpected, in either direction.

    Args:
        suite: the installed suite.
        run: which scenarios, and against what.
        expected: the sections of the list of what may fail.
    """
    console = Console(width=WIDE, record=True, file=io.StringIO())
    required = list(run.scenarios) or suite.required(run.revision, run.side)
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        baseline, results = Path(directory) / "expected.yml", Path(directory) / "results"
        sections: dict[str, list[str]] = expected.get(run.revision) or {}
        baseline.write_text(yaml.safe_dump({run.side: sections.get(run.side) or []}))
        chosen = [("--scenario", each) for each in run.scenarios] or [("--requirements", run.revision)]
        kept = ["--expected-failures", str(baseline), "--output-dir", str(results)]
        ends = [_run([*suite.line, run.side, *run.subject, *which, *kept]) for which in chosen]
        found = outcomes(results, required)
    passed = sum(each.required and not each.counts["FAILURE"] and not each.counts["WARNING"] for each in found)
    console.print(table(run.title, found))
    for fault in filter(None, ends):
        console.print(fault, markup=False, highlight=False)
    good = not any(ends) and {each.scenario for each in found} >= set(required)
    styled = sys.stdout.isatty()
    return Verdict(run, good, passed, len(required), console.export_text(styles=styled))


def _run(line: list[str]) -> str:
    """Run the suite's command line; what it said of its failure, or nothing."""
    try:
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"not finished within {RUN_TIMEOUT_S} s"
    if not done.returncode:
        return ""
    said = done.stdout[done.stdout.rfind("\nTotal:") :] + done.stderr[-2000:]
    return COLOUR.sub("", said).strip() or f"exit code {done.returncode}"


@contextmanager
def through_hub(mode: str, server: str = EVERYTHING) -> Generator[str]:
    """The URL of a hub with this filtering in front of a test server, whose names it leaves as they are."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-hub-")))
        upstream = stack.enter_context(serving(server))
        config = {"mcpServers": {"everything": {"url": upstream, "prefix": ""}}, **MODES[mode].config}
        running = stack.enter_context(hub.running(config, directory))
        hub.wait_ready_sync(running, "everything")
        yield f"{running.url}{MODES[mode].path}"


def against_hub(suite: Suite, mode: str, revisions: tuple[str, ...], expected: dict[str, Any]) -> list[Verdict]:
    """Run the server's scenarios of these revisions against one hub."""
    with through_hub(mode) as url:
        return [run_suite(suite, Run(revision, "server", mode, ("--url", url)), expected) for revision in revisions]


def against_tasks(suite: Suite, expected: dict[str, Any]) -> list[Verdict]:
    """Run the scenarios of the tasks extension against a hub in front of a server that has them."""
    with through_hub("server-allowlist", TASKS) as url:
        run = Run(REVISIONS[-1], "server", "extension tasks", ("--url", url), TASK_SCENARIOS)
        return [run_suite(suite, run, expected)]


def driven(suite: Suite, revisions: tuple[str, ...], expected: dict[str, Any]) -> list[Verdict]:
    """Run the client's scenarios of these revisions; each starts a hub of its own."""
    subject = ("--command", DRIVER, "--timeout", str(CLIENT_TIMEOUT_S * 1000))
    return [run_suite(suite, Run(revision, "client", "", subject), expected) for revision in revisions]


def summary(verdicts: list[Verdict]) -> Table:
    """A row per mode and side, a column per revision."""
    revisions = sorted({verdict.run.revision for verdict in verdicts})
    made = Table("the hub as", "with", *revisions, title="Scenarios that pass")
    for side, mode in dict.fromkeys((verdict.run.side, verdict.run.mode) for verdict in verdicts):
        cells = {v.run.revision: v for v in verdicts if (v.run.side, v.run.mode) == (side, mode)}
        shown = [_shown(cells.get(revision)) for revision in revisions]
        made.add_row(side, mode or "(what each scenario brings)", *shown)
    return made


def _shown(verdict: Verdict | None) -> str:
    if verdict is None:
        return "–"
    return f"[{'green' if verdict.good else 'red'}]{verdict.passed} of {verdict.required}"


def run_all(suite: Suite, arguments: argparse.Namespace, expected: dict[str, Any]) -> list[Verdict]:
    """Every run that the command line asks for, several at a time."""
    revisions = REVISIONS if arguments.spec == "all" else (arguments.spec,)
    if arguments.url:
        return [run_suite(suite, Run(each, "server", "", ("--url", arguments.url)), expected) for each in revisions]
    modes = tuple(MODES) if arguments.filtering == "all" else (arguments.filtering,)
    found: list[Verdict] = []
    if arguments.side in ("client", "all"):
        # Alone: the suite starts the hubs of all its scenarios together.
        found += driven(suite, revisions, expected)
    if arguments.side in ("server", "all"):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            under_way = [pool.submit(against_hub, suite, mode, revisions, expected) for mode in modes]
            if REVISIONS[-1] in revisions:
                under_way.append(pool.submit(against_tasks, suite, expected))
            found += [verdict for each in under_way for verdict in each.result()]
    return found


def main() -> int:
    """Parse the command line, run, and return the exit code: 0 as expected, 1 not, 2 could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", choices=(*REVISIONS, "all"), default="all")
    parser.add_argument("--side", choices=(*SIDES, "all"), default="all", help="what is under test")
    parser.add_argument("--url", help="test this server alone; default: the everything server behind the hub")
    parser.add_argument("--filtering", choices=(*MODES, "all"), default="all", help="of the hub, without --url")
    parser.add_argument("--expected", type=Path, help="the list of what may fail; with --url there is none by default")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    try:
        suite = Suite(npm_packages("conformance-0.2.0-alpha.12-node22", NODE, CONFORMANCE))
    except ToolMissing as error:
        console.print(f"[red]the conformance suite cannot be fetched: {error}")
        return 2
    listed: Path | None = arguments.expected or (None if arguments.url else EXPECTED)
    verdicts = run_all(suite, arguments, read_expected(listed) if listed else {})
    for verdict in verdicts:
        print(verdict.printed)
    console.print(summary(verdicts))
    return 0 if all(verdict.good for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
