"""The requirements manifest and the journeys name the same things: nothing promised unproved, or proved unpromised."""

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from tests.journeys.requirements import ERAS, REQUIREMENTS, TRANSPORTS

JOURNEYS = Path(__file__).resolve().parents[1] / "journeys"


def _proofs() -> Iterator[tuple[str, str]]:
    """(requirement id, test) for every test of the journeys that says what it proves."""
    for path in sorted(JOURNEYS.glob("test_*.py")):
        module = importlib.import_module(f"tests.journeys.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and name.startswith("test_"):
                ids: tuple[str, ...] = getattr(function, "requirements", ("",))
                yield from ((requirement, f"{path.stem}.{name}") for requirement in ids)


def test_every_requirement_is_proved() -> None:
    assert set(REQUIREMENTS) - {requirement for requirement, _ in _proofs()} == set()


def test_every_journey_proves_a_requirement() -> None:
    assert [test for requirement, test in _proofs() if requirement not in REQUIREMENTS] == []


def test_every_requirement_names_its_source_and_cells() -> None:
    for requirement in REQUIREMENTS.values():
        assert requirement.sentence.endswith("."), requirement.id
        assert requirement.source, requirement.id
        assert set(requirement.transports) <= set(TRANSPORTS), requirement.id
        assert requirement.transports, requirement.id
        assert set(requirement.eras) <= set(ERAS), requirement.id
        assert requirement.eras, requirement.id
