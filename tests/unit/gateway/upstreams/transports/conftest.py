"""Both event loops: the gateway runs on uvloop where there is one, and its transports differ from asyncio's."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each async test runs on either loop."""
    return "asyncio", {"use_uvloop": request.param}
