"""What keeps one unit test's secrets out of the sentences another one reads."""

from __future__ import annotations

import pytest

from hub_common import logs


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is secret is known to the whole process: a value that one test calls a secret is a word to the next."""
    monkeypatch.setattr(logs, "_secrets", type(logs._secrets)())  # pyright: ignore[reportPrivateUsage]
