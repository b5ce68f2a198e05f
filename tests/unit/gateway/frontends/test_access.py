"""Which paths are the MCP endpoint's, and which view they ask for."""

import pytest

from hub_gateway.frontends.access import asked_view


@pytest.mark.parametrize(
    ("path", "view"),
    [
        ("/mcp", ""),
        ("/mcp/", ""),
        ("/mcp/v/reader", "reader"),
        ("/mcp/v/reader/", "reader"),
        ("/mcp/v/", None),
        ("/mcp/v//", None),
        ("/mcp/v", None),
        ("/mcpx", None),
    ],
)
def test_a_path_asks_for_the_view_it_names_and_for_no_other(path: str, view: str | None) -> None:
    assert asked_view(path) == view
