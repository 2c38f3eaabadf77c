"""asyncpg runs on asyncio alone, so every asynchronous test does."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
