"""`mcp-hub filter` with words it does not know."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from hub_cli.__main__ import app


@pytest.mark.parametrize(("kind", "code"), (("toool", 2), ("template", 1)))
def test_a_kind_that_is_none_is_usage_and_no_hub_is_asked(kind: str, code: int) -> None:
    done = CliRunner().invoke(app, ["filter", "explain", "x", "--kind", kind, "--url", "http://127.0.0.1:1"])
    assert done.exit_code == code
    assert ("No hub answers" in done.output) == (code == 1)
