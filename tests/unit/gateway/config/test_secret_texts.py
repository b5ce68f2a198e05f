"""Which texts of an entry are taken for secrets, and which harmless ones are not."""

from __future__ import annotations

import pytest

from hub_gateway.config import secret_texts


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--api-key=abcd"], {"abcd"}),
        (["--token", "abcd", "--verbose"], {"abcd"}),
        (["run", "-e", "GITHUB_TOKEN=abcd", "image"], {"abcd"}),
        (["mcp-remote", "https://h/mcp", "--header", "Authorization: Bearer abcd"], {"Bearer abcd", "abcd"}),
        (["postgresql://me:p%40ss@db/x"], {"p%40ss", "p@ss"}),
        (["https://h/mcp?apiKey=abcd&page=two"], {"abcd"}),
        (["--token", "--verbose"], set[str]()),
        (["--auth-mode", "none", "--key-type=rsa", "keyboard", "-y", "some/path"], set[str]()),
    ],
)
def test_arguments(arguments: list[str], found: set[str]) -> None:
    assert set(secret_texts.of_arguments(arguments)) == found


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"API_KEY": "abcd", "PATH": "/bin", "MONKEYS": "four"}, {"abcd"}),
        ({"Authorization": "Basic YTpi", "X-Region": "north"}, {"Basic YTpi", "YTpi"}),
        ({"DATABASE_URL": "postgres://u:abcd@h/d"}, {"abcd"}),
    ],
)
def test_values_with_a_name(values: dict[str, str], found: set[str]) -> None:
    assert set(secret_texts.of_named(values)) == found


def test_what_a_placeholder_stands_for_in_a_query_is_a_secret_whatever_its_name() -> None:
    url, written = "https://u:pw@h/p?map=abcd&page=two&sig=efgh", "https://u:pw@h/p?map=${MAP}&page=two&sig=efgh"
    assert set(secret_texts.of_url(url, written)) == {"pw", "abcd", "efgh"}
