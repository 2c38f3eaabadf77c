"""A pytest plugin that gives each test a migrated database of its own, in the time that a copy takes.

In the application's `conftest.py`:

    pytest_plugins = ["worker.testing"]

    @pytest.fixture(scope="session")
    def tidegate_server() -> str:
        return "postgresql://postgres@127.0.0.1:5432/postgres"

    @pytest.fixture(scope="session")
    def tidegate_source() -> str:
        return "migrations"

and a test asks for `migrated_database`. The migrations are applied once to a template, whose name follows from their
digest: it is made by whichever process comes first, and stays for the next run. Nothing is created on a server that was
not named so: no environment variable is read for it.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from os import PathLike, fspath
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import pytest

from worker import __version__
from worker.bundles.directory import local_path, read_directory
from worker.core.value import dataclass
from worker.errors import TidegateError, UsageError
from worker.library import apply
from worker.postgres.clones import clone, drop, make_template

_T = TypeVar("_T")
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class MigratedDatabase:
    """A database of a test's own: its name, and its URL for the application under test."""

    name: str
    url: str


@pytest.fixture(scope="session")
def tidegate_server() -> str:
    """The URL of a server for tests, where the role may create databases; the application overrides this fixture."""
    _undefined("tidegate_server", "the URL of a server for tests, where its role may create databases")


@pytest.fixture(scope="session")
def tidegate_source() -> str | PathLike[str]:
    """The directory of migrations; the application overrides this fixture."""
    _undefined("tidegate_source", "the directory of the migrations")


@pytest.fixture(scope="session")
def tidegate_settings() -> dict[str, str]:
    """Tidegate's settings by name, where the application uses others than the defaults; to be overridden."""
    return {}


@pytest.fixture(scope="session")
def tidegate_template(
    tidegate_server: str, tidegate_source: str | PathLike[str], tidegate_settings: dict[str, str]
) -> str:
    """The name of a database to which all migrations are applied, and which nobody connects to."""
    return _done(_template(tidegate_server, fspath(tidegate_source), tidegate_settings))


@pytest.fixture
def migrated_database(
    tidegate_server: str,
    tidegate_source: str | PathLike[str],
    tidegate_settings: dict[str, str],
    tidegate_template: str,
) -> Iterator[MigratedDatabase]:
    """A copy of the template for one test: migrated, ready for its gate, and gone afterwards."""
    name = f"tidegate_test_{uuid4().hex[:_DIGITS]}"
    database = MigratedDatabase(name, _at(tidegate_server, name))
    try:
        _done(_copy(tidegate_server, fspath(tidegate_source), tidegate_settings, tidegate_template, database))
        yield database
    finally:
        _done(drop(tidegate_server, name))


async def _template(server: str, source: str, settings: dict[str, str]) -> str:
    digest = read_directory(local_path(source)).digest
    told = "\0".join((__version__, digest, *(f"{name}={value}" for name, value in sorted(settings.items()))))
    name = f"tidegate_template_{sha256(told.encode()).hexdigest()[:_DIGITS]}"

    async def fill() -> None:
        await apply(source, database=_at(server, name), **settings)

    await make_template(server, name, fill)
    return name


async def _copy(server: str, source: str, settings: dict[str, str], template: str, database: MigratedDatabase) -> None:
    await clone(server, template, database.name)
    # A copy is another database to the readiness row, until somebody has looked at its ledger and says so.
    await apply(source, database=database.url, **settings)


def _at(server: str, database: str) -> str:
    parts = urlsplit(server)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise UsageError("tidegate_server is no URL", hint="return postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return urlunsplit(parts._replace(path=f"/{quote(database)}"))


def _done(work: Coroutine[Any, Any, _T]) -> _T:
    """Run it to its end in a thread, for a test's own event loop may run in this one already."""
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, work).result()
    except TidegateError as error:
        pytest.fail(f"{error.message}\n  hint: {error.hint}", pytrace=False)


def _undefined(fixture: str, what: str) -> NoReturn:
    pytest.fail(f"override the session fixture {fixture} in conftest.py: it returns {what}", pytrace=False)
