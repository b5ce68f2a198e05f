"""The stack the tests share, built and started once; and a loud word where there is no engine to run it on."""

import os
from collections.abc import Generator
from typing import Final

import pytest

from tests.compose.stack import CommandFailed, Stack, engine_fault

REQUIRED: Final = "HUB_REQUIRE_DOCKER"
UNTESTED = pytest.StashKey[str]()
LOGS = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> None:
    """An engine that answers. Without one the tests do not run, which the end of the run says in red."""
    fault = engine_fault()
    if fault is None:
        return
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, and no container engine answers: {fault}")
    request.config.stash[UNTESTED] = fault
    pytest.skip(f"no container engine answers: {fault}")


@pytest.fixture(scope="session")
def stack(engine: None, request: pytest.FixtureRequest) -> Generator[Stack]:
    """The whole stack, healthy; ended afterwards, its logs shown where a test failed."""
    running = Stack()
    failed_before = request.session.testsfailed
    running.down()
    try:
        running.build()
        running.up()
        yield running
    finally:
        if request.session.testsfailed > failed_before:
            request.config.stash[LOGS] = _logs(running)
        running.down()


def _logs(running: Stack) -> str:
    try:
        return running.logs()
    except CommandFailed as fault:
        return str(fault)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was not tested, and show the logs of what was and failed."""
    if (logs := config.stash.get(LOGS, None)) is not None:
        terminalreporter.write_sep("-", "logs of the container stack")
        terminalreporter.write_line(logs)
    if (fault := config.stash.get(UNTESTED, None)) is not None:
        terminalreporter.write_sep("!", "THE CONTAINER STACK WAS NOT TESTED", red=True, bold=True)
        terminalreporter.write_line(f"No container engine answers: {fault}", red=True)
        terminalreporter.write_line(f"{REQUIRED}=1 makes this a failure.", red=True)
