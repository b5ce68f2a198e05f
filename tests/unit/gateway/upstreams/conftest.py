"""The loop the gateway runs on."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """uvloop, as in production; the transports are tested on asyncio's own loop too."""
    return "asyncio", {"use_uvloop": True}
