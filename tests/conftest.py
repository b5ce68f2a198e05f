"""Fixtures every test may use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The services run on asyncio, so the tests do."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep the loop open between tests: grpc.aio has one completion queue per process, and what a closed loop left in
    it fails a later test.
    """
    yield
