"""The server runs out of something, or dies: a clear message, nothing half done, and the next run goes on."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.command_line import call
from tests.fixtures.command_line import files as folder_of
from tests.fixtures.jobs import Said, failure, files, said
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.sites import LIMITS, SITE, worker_on
from tests.fixtures.tools import missing
from tests.fixtures.workers import applied, eventually, finish, migrations_in, sleeping, start_worker, tables
from worker.core.lock_keys import target_key
from worker.core.target import Target
from worker.errors import TimedOutError

NOTHING = Said(None, (), (), ())
DONE = Said((1, False), (1,), ((1, "up"),), ())
BIG = "CREATE TABLE b AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 30000)"


@pytest.fixture
def lonely(database: Database) -> Iterator[str]:
    """A role that may have one connection."""
    role = f"lonely_{database.name}"
    database.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'lonely' CONNECTION LIMIT 1; GRANT ALL ON SCHEMA public TO {role};"
        f"GRANT CREATE ON DATABASE {database.name} TO {role}"
    )
    yield role
    database.psql(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_without_a_connection_left_up_says_so_and_exits_with_5(database: Database, tmp_path: Path, lonely: str) -> None:
    source = folder_of(tmp_path, _1_a="CREATE TABLE a (x int)")
    dsn = database.dsn_as(lonely, "lonely")
    taken = subprocess.Popen(
        [database.server.binaries / "psql", "-XAtq", "-d", dsn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert taken.stdin is not None
    assert taken.stdout is not None
    taken.stdin.write(b"SELECT 'connected';\n")
    taken.stdin.flush()
    assert taken.stdout.readline() == b"connected\n"
    try:
        call("up", "--source", source, "--database", dsn).is_error(
            5, "the server has no connection left", "max_connections"
        )
        assert database.psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'tidegate'") == "0"
    finally:
        taken.communicate(b"\\q\n", timeout=10)
    eventually(lambda: call("up", "--source", source, "--database", dsn).code == 0, "the connection is free again")


def test_a_worker_waits_for_a_connection_to_be_left(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "sql", tables(1))
    role = f"app_{database.name}"
    database.psql(f"CREATE ROLE {role} LOGIN PASSWORD 'app' CONNECTION LIMIT 0; GRANT ALL ON SCHEMA public TO {role}")
    database.psql(f"GRANT CREATE ON DATABASE {database.name} TO {role}")
    try:
        worker = start_worker(tidegate, database.dsn_as(role, "app"), "--source", source)
        event = worker.process.wait_for_event("database.unreachable")
        assert "the server has no connection left" in event["message"]
        database.psql(f"ALTER ROLE {role} CONNECTION LIMIT -1")
        worker.until("/readyz?at_least=1")
        assert worker.stop() == 0
    finally:
        database.psql(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.fixture
def small_disk(database: Database, tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes that the server can write to."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0:
        missing("only root may mount a tmpfs")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        missing(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        account = (database.server.home / "data").stat()
        os.chown(place, account.st_uid, account.st_gid)
        for parent in (tmp_path, *tmp_path.parents[:3]):
            parent.chmod(parent.stat().st_mode | 0o111)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


async def test_a_full_disk_fails_the_migration_and_changes_nothing(database: Database, small_disk: Path) -> None:
    space = f"small_{database.name}"
    await database.execute(f"CREATE TABLESPACE {space} LOCATION '{small_disk}'")
    try:
        text = f"CREATE TABLE a (x int);\nSET default_tablespace = {space};\n{BIG}"
        told = await failure(database, {"1": text})

        assert told.sqlstate == "53100"
        assert "No space left on device" in told.message
        assert "free disk space" in (told.hint or "")
        assert await said(database) == NOTHING
        assert await database.fetchval("SELECT to_regclass('a') IS NULL")
        async with worker_on(database) as worker:
            await worker.publish(files({"1": "CREATE TABLE a (x int)"}, "mended"))
            await worker.up()
        assert (await said(database)).ledger == (1,)
    finally:
        await database.execute(f"DROP TABLESPACE {space}")


async def test_a_limit_on_temporary_files_fails_the_migration_and_changes_nothing(database: Database) -> None:
    sort = "CREATE TABLE a AS SELECT * FROM generate_series(1, 500000) AS s (x) ORDER BY -x"
    told = await failure(database, {"1": f"SET work_mem = '64kB'; SET temp_file_limit = '1MB';\n{sort}"})

    assert (told.sqlstate, "temp_file_limit" in told.message) == ("53400", True)
    assert await said(database) == NOTHING
    assert await database.fetchval("SELECT to_regclass('a') IS NULL")


async def test_a_database_whose_transactions_are_read_only_by_default_is_migrated(database: Database) -> None:
    await database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    async with worker_on(database) as worker:
        await worker.up(files({"1": "CREATE TABLE a (x int)"}))

    assert await said(database) == DONE


def test_a_server_that_kills_all_backends_for_one_is_waited_for(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    text = "CREATE TABLE t1 (a int); SELECT pg_sleep(CASE WHEN to_regclass('go') IS NULL THEN 60 ELSE 0 END);"
    source = migrations_in(tmp_path / "sql", tables(1, 2) | {1: text})
    env = {"DB_URL": database.dsn}
    finish(tidegate("admin", "upgrade", env=env))
    # With wal_level = minimal a crash can set a sequence back that was made since the last checkpoint.
    database.psql("CHECKPOINT")
    up = tidegate("up", "--source", source, env=env)
    eventually(lambda: len(sleeping(database)) == 1, "the migration sleeps")
    database.psql("CREATE TABLE go ()")

    # As the kernel's out-of-memory killer does: the postmaster then restarts every process of the server.
    os.kill(int(sleeping(database)[0]), signal.SIGKILL)
    finish(up)

    assert applied(database) == ["1", "2"]
    assert "was terminated by signal 9" in database.server.log()


async def test_an_unprivileged_role_that_holds_our_key_is_named_and_nothing_is_done(database: Database) -> None:
    role, key = f"nobody_{database.name}", target_key(Target("public", "schema_migrations"))
    await database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'nobody'")
    stranger = await database.server.connect(database.name, user=role, password="nobody")  # noqa: S106  a test's own
    site = replace(SITE, limits=replace(LIMITS, advisory_timeout=0.5))
    try:
        await stranger.execute("SELECT pg_advisory_lock($1)", key)
        async with worker_on(database, site=site) as worker:
            began = time.monotonic()
            with pytest.raises(TimedOutError, match=f"role {role}") as caught:
                await worker.up(files({"1": "CREATE TABLE a (x int)"}))
            assert time.monotonic() - began < 5
        assert f"backend {stranger.get_server_pid()}" in caught.value.message
        assert "TIDEGATE_ADVISORY_TIMEOUT" in caught.value.hint
        assert await database.fetchval("SELECT to_regclass('a') IS NULL")
    finally:
        await stranger.close()
        await database.execute(f"DROP ROLE {role}")
    async with worker_on(database) as worker:
        assert (await worker.up(files({"1": "CREATE TABLE a (x int)"}))).applied == (1,)
