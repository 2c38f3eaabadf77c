"""asyncpg runs on asyncio alone, so every asynchronous test does; and how many examples Hypothesis tries."""

import os

import pytest
from hypothesis import HealthCheck, settings

# Without a deadline, since the machine may be busy; HYPOTHESIS_PROFILE=many is what `make verify` takes.
settings.register_profile("few", deadline=None)
settings.register_profile("many", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
