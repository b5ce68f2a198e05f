"""Which paths are the MCP endpoint's, and which view they ask for."""

import os

import pytest

from hub_gateway.frontends.access import Access, Denied, asked_view, lock


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


def test_a_token_may_be_of_any_bytes() -> None:
    access = Access()
    access.swap({"team": lock((os.fsdecode(b"schl\xfcssel"),))})
    assert access.view_name("", {b"authorization": b"Bearer schl\xfcssel"}) == "team"
    with pytest.raises(Denied):
        access.view_name("", {b"authorization": b"Bearer schl\xc3\xbcssel"})
