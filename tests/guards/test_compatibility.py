"""The table in docs/compatibility.md is the one that `python -m tests.journeys.matrix` prints."""

from pathlib import Path

from tests.journeys import matrix
from tests.journeys.requirements import ERAS, REQUIREMENTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
BEGIN, END = "<!-- begin generated: matrix -->", "<!-- end generated: matrix -->"


def test_the_table_is_up_to_date() -> None:
    _, _, rest = PAGE.read_text().partition(BEGIN)
    written, end, _ = rest.partition(END)
    assert end
    assert written.strip() == matrix.table(), "put what `python -m tests.journeys.matrix` prints between the marks"


def test_what_is_left_out_is_impossible_for_a_reason() -> None:
    for requirement in REQUIREMENTS.values():
        narrow = set(requirement.eras) != set(ERAS) or set(requirement.upstream_eras) != set(ERAS)
        assert bool(requirement.impossible) == narrow, requirement.id
