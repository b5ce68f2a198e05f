"""The table in docs/compatibility.md is the one that `python -m tests.journeys.matrix` prints."""

from pathlib import Path

from tests.journeys import matrix
from tests.journeys.requirements import ERAS, REQUIREMENTS, TRANSPORTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
BEGIN, END = "<!-- begin generated: matrix -->", "<!-- end generated: matrix -->"


def test_the_table_is_up_to_date() -> None:
    _, _, rest = PAGE.read_text().partition(BEGIN)
    written, end, _ = rest.partition(END)
    assert end
    assert written.strip() == matrix.table(), "put what `python -m tests.journeys.matrix` prints between the marks"


def test_every_cell_is_run_or_impossible_for_a_reason() -> None:
    run = matrix.cells_run()
    for requirement in matrix.features():
        for column in matrix.COLUMNS:
            why = matrix.impossible(requirement, column)
            assert bool(why) != (column in run[requirement.id]), (requirement.id, column)


def test_a_reason_is_given_for_what_is_left_out_and_for_nothing_else() -> None:
    for requirement in REQUIREMENTS.values():
        narrow = set(requirement.eras) != set(ERAS) or set(requirement.upstream_eras) != set(ERAS)
        assert bool(requirement.impossible) == narrow, requirement.id
        assert bool(requirement.elsewhere) == (set(requirement.transports) != set(TRANSPORTS)), requirement.id
