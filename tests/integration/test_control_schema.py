import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import anyio
import asyncpg
import pytest

from tests.fixtures.cluster import PASSWORD
from tests.fixtures.servers import Database
from tests.fixtures.sites import SITE, Worker, bundle_of, dump, tables, worker_on
from worker import control_schema
from worker.control_schema import Found
from worker.core.checkpoint import Checkpoint
from worker.core.events.event import Level
from worker.core.events.events import ControlUpgraded, LockWaiting, ReadersDenied
from worker.errors import RefusedError
from worker.jobs.look import Control
from worker.jobs.site import Result
from worker.postgres.advisory import Keys
from worker.postgres.lock import hold
from worker.postgres.queries import with_schema

ONE = bundle_of(tables(1, 2), "1.0")
EVERY_RIGHT = """
GRANT ALL ON SCHEMA tidegate TO {0}; GRANT ALL ON ALL TABLES IN SCHEMA tidegate TO {0};
GRANT ALL ON ALL FUNCTIONS IN SCHEMA tidegate TO {0}; GRANT ALL ON ALL SEQUENCES IN SCHEMA tidegate TO {0};
GRANT ALL ON schema_migrations TO {0}
"""


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """A role that may log in, and nothing else; its name needs quotes."""
    name = f"app-{database.name}"
    database.psql(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{PASSWORD}'")
    yield name
    database.psql(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


async def ensured(worker: Worker) -> int:
    await control_schema.ensure(worker.session, worker.site.limits, worker.site.readers)
    return len(worker.recorded.of(ControlUpgraded))


async def test_eight_sessions_at_once_bootstrap_once(database: Database) -> None:
    upgrades = []

    async def one(number: int) -> None:
        async with worker_on(database, name=f"w{number}") as worker:
            upgrades.append(await ensured(worker))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(one, number)

    assert sorted(upgrades) == [0] * 7 + [1]


async def test_who_waits_for_another_to_make_it_is_not_asked_for_what_commits_with_it(database: Database) -> None:
    asked: list[str] = []

    def also(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ()

    async def bootstrap(worker: Worker) -> bool:
        name = worker.session.worker
        return await control_schema.ensure(worker.session, SITE.limits, (), Found.NOTHING, partial(also, name))

    made: dict[str, bool] = {}
    async with worker_on(database, name="a") as first, worker_on(database, name="b") as second:

        async def wait() -> None:
            made["b"] = await bootstrap(second)

        async with anyio.create_task_group() as group, hold(first.session, Keys.of_control("tidegate"), 5):
            group.start_soon(wait)
            await second.recorded.first(LockWaiting)
            made["a"] = await bootstrap(first)

    assert (made, asked) == ({"a": True, "b": False}, ["a"])


@pytest.mark.parametrize("found", Found)
@pytest.mark.parametrize("has_target_half", [False, True])
async def test_what_is_refused_before_it_is_made_leaves_no_home_half(
    database: Database, found: Found, *, has_target_half: bool
) -> None:
    def refuse() -> tuple[str, ...]:
        raise RefusedError("no", hint="never", reason="label")

    async with worker_on(database) as worker:
        if has_target_half:
            # Where the home half lies elsewhere, the target half is all that is demanded.
            elsewhere = replace(worker.session, home=worker.session.conn)
            assert await control_schema.ensure(elsewhere, SITE.limits, ())
        before = await dump(database)
        with pytest.raises(RefusedError, match=r"^no$"):
            await control_schema.ensure(worker.session, SITE.limits, (), found, refuse)

    assert await dump(database) == before
    assert await database.fetchval("SELECT to_regclass('tidegate.bundle')") is None


async def test_a_second_bootstrap_changes_nothing(database: Database) -> None:
    async with worker_on(database) as worker:
        await ensured(worker)
        before = await dump(database)
        await ensured(worker)

    assert await dump(database) == before


async def test_with_the_schema_in_place_no_create_right_is_needed(database: Database, role: str) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
    await database.execute(
        f'GRANT USAGE ON SCHEMA tidegate, public TO "{role}";'
        f'GRANT ALL ON ALL TABLES IN SCHEMA tidegate TO "{role}"; GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}";'
        f'GRANT ALL ON ALL SEQUENCES IN SCHEMA tidegate TO "{role}";'
        f'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidegate TO "{role}";'
        f"REVOKE CREATE ON SCHEMA public FROM PUBLIC; REVOKE CREATE ON DATABASE {database.name} FROM PUBLIC"
    )
    more = bundle_of({**tables(1, 2), 3: "INSERT INTO t1 VALUES (1)"}, "1.1")

    async with worker_on(database, dsn=database.dsn_as(role)) as worker:
        report = await worker.up(more)

    assert (report.result, report.applied) == (Result.APPLIED, (3,))


@pytest.mark.parametrize(
    ("prepare", "grant"),
    [
        ("SELECT", "GRANT CREATE ON DATABASE"),
        ("CREATE SCHEMA tidegate; GRANT USAGE ON SCHEMA tidegate TO PUBLIC", "CREATE ON SCHEMA"),
    ],
)
async def test_a_missing_create_right_names_the_grant_and_changes_nothing(
    database: Database, role: str, prepare: str, grant: str
) -> None:
    await database.execute(prepare)
    count = "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text IN ('tidegate', 'public')"
    async with worker_on(database, dsn=database.dsn_as(role)) as worker:
        with pytest.raises(RefusedError) as caught:
            await worker.up(ONE)

    assert (caught.value.exit_code, caught.value.reason) == (3, "privilege")
    assert grant in caught.value.hint
    assert f'"{role}"' in caught.value.hint
    assert await database.fetchval(count) == 0


async def test_a_missing_right_to_the_control_schema_is_named(database: Database, role: str) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)

    async with worker_on(database, dsn=database.dsn_as(role)) as worker:
        with pytest.raises(RefusedError) as caught:
            await worker.look()

    assert (caught.value.exit_code, caught.value.reason) == (3, "privilege")
    assert 'SCHEMA "tidegate" TO' in caught.value.hint


async def test_readers_get_what_the_gate_needs_and_nothing_else(database: Database, role: str) -> None:
    async with worker_on(database, site=replace(SITE, readers=(role,))) as worker:
        await worker.up(ONE)

    reader = await database.connect(user=role, password=PASSWORD)
    try:
        assert await reader.fetchval("SELECT tidegate.ready(at_least => 2)")
        assert await reader.fetchval("SELECT count(*) FROM tidegate.readiness") == 1
        tables = await reader.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'tidegate'")
        readable = [
            row["tablename"]
            for row in tables
            if await reader.fetchval("SELECT has_table_privilege($1, 'SELECT')", f"tidegate.{row['tablename']}")
        ]
        assert readable == ["readiness"]
        for sql in (
            "SELECT tidegate.hold_fence('public.schema_migrations', 1, NULL)",
            "SELECT tidegate.record_applied('public.schema_migrations', 1, NULL, 9, '', '', '', '', '', 0, NULL)",
            "SELECT tidegate.recorded_at('public.schema_migrations', 1)",
            "UPDATE tidegate.readiness SET bundle = 'x'",
            "CREATE TABLE tidegate.mine ()",
            "SELECT nextval('tidegate.wanted_seq')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute(sql)
    finally:
        await reader.close()


async def test_a_reader_that_is_named_after_the_first_run_gets_the_same_from_the_next_command(
    database: Database, role: str
) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
    async with worker_on(database, site=replace(SITE, readers=(role,))) as worker:
        assert (await worker.up(ONE)).result is Result.UP_TO_DATE
        assert worker.recorded.of(ReadersDenied) == []

    reader = await database.connect(user=role, password=PASSWORD)
    assert await reader.fetchval("SELECT tidegate.ready(at_least => 2)")
    await reader.close()


async def test_a_reader_to_which_only_the_owner_may_grant_is_told(database: Database, role: str) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
    # Every right but the owner's: the server warns of such a role's GRANT, and grants nothing.
    await database.execute(EVERY_RIGHT.format(f'"{role}"'))
    await database.execute(f"CREATE ROLE api_{database.name}")
    site = replace(SITE, readers=(f"api_{database.name}",))
    try:
        async with worker_on(database, dsn=database.dsn_as(role, PASSWORD), site=site) as worker:
            await worker.up(ONE)
            (denied,) = worker.recorded.of(ReadersDenied)
        assert (denied.reader, denied.level) == (f"api_{database.name}", Level.WARNING)

        await database.execute(denied.grant)
        async with worker_on(database, dsn=database.dsn_as(role, PASSWORD), site=site) as worker:
            await worker.up(ONE)
            assert worker.recorded.of(ReadersDenied) == []
    finally:
        await database.execute(f"DROP OWNED BY api_{database.name}; DROP ROLE api_{database.name}")


async def test_a_missing_reader_role_is_named_and_nothing_is_created(database: Database) -> None:
    async with worker_on(database, site=replace(SITE, readers=("nobody here",))) as worker:
        with pytest.raises(RefusedError, match="nobody here, which does not exist") as caught:
            await worker.up(ONE)

    assert 'CREATE ROLE "nobody here"' in caught.value.hint
    assert await database.fetchval("SELECT to_regnamespace('tidegate')::text") is None


@pytest.mark.parametrize("control", ["My Gate", 'q"uote', "select", "back\\slash", "it's"])
async def test_the_control_schema_may_have_any_name(database: Database, control: str) -> None:
    async with worker_on(database, control=control) as worker:
        await worker.up(ONE)
        assert (await worker.up(ONE)).result is Result.UP_TO_DATE

    assert await database.fetchval(with_schema("SELECT :\"schema\".ready(bundle => '1.0')", control))
    assert await database.fetchval("SELECT to_regnamespace('tidegate')::text") is None


async def test_a_half_made_control_schema_is_completed(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
    await database.execute(
        "DROP TABLE tidegate.job_event, tidegate.job, tidegate.target, tidegate.bundle, tidegate.bundle_file;"
        "DROP FUNCTION tidegate.publish, tidegate.withdraw, tidegate.fault_of, tidegate.versions_of, tidegate.files_of,"
        " tidegate.digest_of, tidegate.guard_bundle, tidegate.guard_bundle_file, tidegate.add_target;"
        "DROP SEQUENCE tidegate.wanted_seq; DELETE FROM tidegate.home_version;"
        "DELETE FROM tidegate.ledger WHERE target = 'tidegate.home_version'"
    )

    async with worker_on(database) as worker:
        assert (await worker.look()).control is Control.WITHOUT_HOME
        assert (await worker.up(ONE)).result is Result.UP_TO_DATE

    assert await database.fetchval("SELECT tidegate.ready(bundle => '1.0')")


async def test_a_new_schema_is_made_in_one_transaction_and_each_migration_is_recorded(database: Database) -> None:
    async with worker_on(database) as worker:
        await ensured(worker)

    assert await database.fetchval("SELECT count(DISTINCT xmin::text) FROM tidegate.ledger") == 1
    for half in ("target", "home"):
        bundle, of_half = control_schema.control_bundle(half, "tidegate"), f"tidegate.{half}_version"
        rows = "SELECT array_agg(version ORDER BY version) FROM tidegate.ledger WHERE target = $1"
        assert await database.fetchval(rows, of_half) == [migration.version for migration in bundle.migrations]
        assert await database.fetchval(f"SELECT version FROM {of_half} WHERE NOT dirty") == bundle.latest


@pytest.mark.parametrize("with_trigger", [True, False])
async def test_a_control_schema_that_a_stranger_makes_during_a_first_run_is_refused(
    database: Database, role: str, *, with_trigger: bool
) -> None:
    database.psql(f'GRANT CREATE ON DATABASE {database.name} TO "{role}"; GRANT CREATE ON SCHEMA public TO "{role}"')
    trigger = """
        CREATE FUNCTION tidegate.planted() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN CREATE TABLE planted (); RETURN NEW; END';
        CREATE TRIGGER planted BEFORE INSERT ON tidegate.bundle FOR EACH ROW EXECUTE FUNCTION tidegate.planted()
    """
    stranger = database.dsn_as(role)

    def make(checkpoint: Checkpoint) -> None:
        if checkpoint is Checkpoint.LOOKED and not made:
            command = [sys.executable, "-m", "worker", "admin", "upgrade"]
            made.append(subprocess.run(command, env={"DB_URL": stranger}, check=True, capture_output=True))
            if with_trigger:
                database.psql(f'SET ROLE "{role}"; {trigger}')

    made: list[object] = []
    async with worker_on(database) as worker:
        beside = replace(worker, session=replace(worker.session, passing=make))
        with pytest.raises(RefusedError, match=r"tidegate"):
            await beside.up(ONE)

    assert made
    assert await database.fetchval("SELECT to_regclass('planted') IS NULL AND to_regclass('t1') IS NULL")
    assert await database.fetchval("SELECT count(*) FROM tidegate.bundle") == 0
