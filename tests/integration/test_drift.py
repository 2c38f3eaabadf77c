"""Drift: what somebody changed by hand is named, and nothing else is."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.fixtures.cluster import PASSWORD, Server, running_server
from tests.fixtures.command_line import call, content
from tests.fixtures.installations import installations
from tests.fixtures.older_control import make_older_control
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database, fresh_database
from tests.fixtures.sites import Worker, bundle_of, tables, worker_on
from tests.fixtures.tools import missing
from tests.fixtures.workers import eventually, migrations_in, start_worker
from worker.core.drift import Drift, Unknown
from worker.core.drift_events import DriftFound, DriftGone, FingerprintSkipped
from worker.core.plan import To
from worker.core.reconcile import Insistence
from worker.errors import MigrationFailedError
from worker.jobs.bring import bring
from worker.jobs.drift import DriftWatch, find_drift
from worker.jobs.fingerprint import accept
from worker.jobs.site import Request

SCHEMA = """
CREATE TYPE mood AS ENUM ('calm', 'cross');
CREATE DOMAIN amount AS numeric(10, 2) DEFAULT 0 CHECK (VALUE >= 0);
CREATE TABLE people (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name varchar(40) NOT NULL DEFAULT 'nobody',
    state varchar(9) CHECK (state IN ('open', 'closed')),
    since timestamptz DEFAULT '2020-01-01 00:00+01',
    feels mood DEFAULT 'calm',
    twice int GENERATED ALWAYS AS (7 * 2) STORED
);
CREATE TABLE orders (id serial PRIMARY KEY, person bigint REFERENCES people, total amount, "Odd name" text);
CREATE INDEX people_name ON people (lower(name)) WHERE state = 'open';
CREATE VIEW open_people AS
    SELECT p.id, p.name::text || '!' AS loud FROM people AS p JOIN orders AS o ON o.person = p.id
    WHERE p.state IN ('open', 'x');
CREATE MATERIALIZED VIEW sums AS SELECT person, sum(total) AS total FROM orders GROUP BY person;
CREATE FUNCTION one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touched();
CREATE TABLE measured (at date NOT NULL, value int) PARTITION BY RANGE (at);
CREATE TABLE measured_2024 PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE INDEX measured_at ON measured (at);
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON orders USING (person = 1);
CREATE SCHEMA more;
CREATE SEQUENCE more.numbers;
CREATE AGGREGATE more.total(int) (SFUNC = int4pl, STYPE = int);
CREATE TYPE more.pair AS (a int, b text);
CREATE TYPE more.span AS RANGE (SUBTYPE = int);
"""
ONE = bundle_of({1: SCHEMA}, "1.0")


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """A database that the first bundle was applied to, which is quicker to copy than to make."""

    async def fill(database: Database) -> None:
        async with worker_on(database) as worker:
            await worker.up(ONE)
            assert not worker.recorded.of(FingerprintSkipped)

    with fresh_database(server) as made:
        anyio.run(fill, made)
        yield made.name


@pytest.fixture
def database(server: Server, template: str) -> Iterator[Database]:
    """A copy; its fingerprint is made one of this database, so that definitions are compared to the letter."""
    name = f"{template}_copy"
    server.psql(f"CREATE DATABASE {name} TEMPLATE {template}")
    copy = Database(name, server)
    copy.psql(
        "UPDATE tidegate.fingerprint SET database_oid = d.oid FROM pg_database AS d WHERE datname = current_database()"
    )
    yield copy
    server.psql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty(server: Server) -> Iterator[Database]:
    """A database with nothing in it."""
    with fresh_database(server) as new:
        yield new


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Worker]:
    async with worker_on(database) as worker:
        yield worker


async def found(worker: Worker) -> list[str]:
    """Each difference as one text, with the parts that differ and the bundle after which it was last right."""
    verdict = await find_drift(worker.session, await worker.look())
    assert isinstance(verdict, Drift), verdict
    return [
        f"{one}{' ' + ', '.join(part.name for part in one.parts) if one.parts else ''} ({one.right_until})"
        for one in verdict.differences
    ]


BY_HAND = [
    ("ALTER TABLE people ADD note text", ["column public.people.note added"]),
    ("ALTER TABLE people ALTER since TYPE timestamp", ["column public.people.since changed type"]),
    ("ALTER TABLE people ALTER name DROP NOT NULL", ["column public.people.name changed not null"]),
    ("ALTER TABLE people ALTER name SET DEFAULT 'x'", ["column public.people.name changed default"]),
    ("ALTER TABLE people ALTER id SET GENERATED BY DEFAULT", ["column public.people.id changed identity"]),
    ('ALTER TABLE orders DROP "Odd name"', ['column public.orders."Odd name" removed']),
    (
        "DROP INDEX people_name; CREATE INDEX people_name ON people (name)",
        ["index public.people_name changed definition"],
    ),
    ("DROP INDEX people_name", ["index public.people_name removed"]),
    (
        "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql STABLE AS 'SELECT 2'",
        ["function public.one() changed body, volatility"],
    ),
    ("CREATE FUNCTION one(a int) RETURNS int LANGUAGE sql AS 'SELECT a'", ["function public.one(a integer) added"]),
    (
        "ALTER TABLE orders ADD CONSTRAINT above CHECK (id > 0) NOT VALID",
        ["constraint public.orders.above added"],
    ),
    (
        """ALTER TABLE orders DROP CONSTRAINT orders_person_fkey,
        ADD CONSTRAINT orders_person_fkey FOREIGN KEY (person) REFERENCES people NOT VALID""",
        ["constraint public.orders.orders_person_fkey changed valid"],
    ),
    ("ALTER TYPE mood ADD VALUE 'glad' AFTER 'calm'", ["type public.mood changed labels"]),
    ("ALTER DOMAIN amount DROP DEFAULT", ["type public.amount changed default"]),
    ("ALTER TABLE people DISABLE TRIGGER touch", ["trigger public.people.touch changed enabled"]),
    ("ALTER TABLE orders DISABLE ROW LEVEL SECURITY", ["table public.orders changed row security"]),
    ("ALTER POLICY mine ON orders USING (true)", ["policy public.orders.mine changed using"]),
    ("ALTER SEQUENCE more.numbers INCREMENT 5", ["sequence more.numbers changed increment"]),
    (
        "CREATE OR REPLACE VIEW open_people AS SELECT p.id, p.name::text AS loud FROM people AS p",
        ["view public.open_people changed definition"],
    ),
    ("REFRESH MATERIALIZED VIEW sums; DROP MATERIALIZED VIEW sums", ["materialized view public.sums removed"]),
    ("ALTER TYPE more.pair ADD ATTRIBUTE c int", ["type more.pair changed columns"]),
    ("ALTER TABLE orders SET UNLOGGED", ["table public.orders changed logged"]),
    ("CREATE TABLE spare (id serial PRIMARY KEY, a int); CREATE INDEX ON spare (a)", ["table public.spare added"]),
    ("CREATE SCHEMA other; CREATE TABLE other.t (a int)", ["schema other added", "table other.t added"]),
]  # fmt: skip

NO_DRIFT = [
    "INSERT INTO people (name) VALUES ('a'); ALTER SEQUENCE more.numbers RESTART 40",
    "CREATE TABLE measured_2025 PARTITION OF measured FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "DROP TABLE measured_2024",
    "GRANT SELECT ON people TO PUBLIC; ALTER TABLE people OWNER TO CURRENT_USER",
    "COMMENT ON TABLE people IS 'x'; ALTER TABLE people SET (fillfactor = 80), ALTER name SET STATISTICS 5",
    "ALTER TABLE people ADD gone int; ALTER TABLE people DROP gone; ANALYZE",
    "VACUUM FULL people",
    "REINDEX TABLE people",
]  # fmt: skip


async def test_what_was_changed_by_hand_is_named(worker: Worker, database: Database) -> None:
    for sql, told in BY_HAND:
        await database.execute(sql)
        assert await found(worker) == [f"{line} (1.0)" for line in told], sql
        await accept(worker.session, worker.site)
        assert await found(worker) == [], sql


async def test_what_differs_by_right_is_no_drift(worker: Worker, database: Database) -> None:
    await worker.session.conn.execute("CREATE TEMP TABLE brief (a int)")
    for sql in NO_DRIFT:
        await database.execute(sql)
        assert await found(worker) == [], sql


async def test_a_dropped_table_is_told_once_and_a_view_on_it_beside(worker: Worker, database: Database) -> None:
    await database.execute("DROP TABLE orders CASCADE")
    assert await found(worker) == [
        "materialized view public.sums removed (1.0)",
        "table public.orders removed (1.0)",
        "view public.open_people removed (1.0)",
    ]


async def test_what_an_extension_brings_is_told_by_the_extension(worker: Worker, database: Database) -> None:
    offered = await database.fetchval(
        "SELECT name FROM pg_available_extensions WHERE name IN ('pg_trgm', 'citext', 'hstore') ORDER BY 1 LIMIT 1"
    )
    if offered is None:
        pytest.skip("this server offers none of pg_trgm, citext and hstore")
    await database.execute(f"CREATE EXTENSION {offered}")
    assert await found(worker) == [f"extension {offered} added (1.0)"]


async def test_an_invalid_index_is_told(worker: Worker, database: Database) -> None:
    await database.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'people_name'::regclass",
    )
    assert await found(worker) == ["index public.people_name changed valid (1.0)"]


async def test_what_deviated_before_a_bundle_does_so_after_it_until_it_is_right_again(
    worker: Worker, database: Database
) -> None:
    await database.execute("DROP INDEX people_name; ALTER TABLE people ADD note text")
    await worker.publish(bundle_of({1: SCHEMA, **tables(2)}, "2.0"))
    await worker.up()
    await database.execute("ALTER TABLE t2 ADD b int")
    assert await found(worker) == [
        "column public.people.note added (1.0)",
        "column public.t2.b added (2.0)",
        "index public.people_name removed (1.0)",
    ]

    await worker.up(bundle_of({1: SCHEMA, **tables(2), 3: "ALTER TABLE people DROP note"}, "3.0"))
    assert await found(worker) == ["column public.t2.b added (2.0)", "index public.people_name removed (1.0)"]

    await database.execute("CREATE INDEX people_name ON people (lower(name)) WHERE state = 'open'")
    assert await found(worker) == ["column public.t2.b added (2.0)"]


async def test_what_a_bundle_touches_is_right_as_the_bundle_leaves_it(worker: Worker, database: Database) -> None:
    await database.execute("ALTER TABLE people ADD note text")
    await worker.up(bundle_of({1: SCHEMA, 2: "ALTER TABLE people ALTER note TYPE varchar(9)"}, "2.0"))
    assert await found(worker) == []


async def test_going_back_is_no_drift(worker: Worker) -> None:
    two = bundle_of({1: SCHEMA, **tables(2, 3)}, "2.0")
    await worker.up(two)
    await bring(worker.session, worker.site, Request(Insistence.COMMAND, To(1), two, "goto 1"), two)
    assert await found(worker) == []
    assert (await worker.up(two)).applied == (2, 3)
    assert await found(worker) == []


async def test_what_a_failed_bundle_left_is_no_drift(worker: Worker, database: Database) -> None:
    await database.execute("ALTER TABLE people ADD note text")
    with pytest.raises(MigrationFailedError):
        await worker.up(bundle_of({1: SCHEMA, **tables(2), 3: "SELECT 1/0"}, "2.0"))
    assert await found(worker) == ["column public.people.note added (1.0)"]
    await worker.publish(bundle_of({1: SCHEMA, **tables(2, 3)}, "2.1"))
    await worker.up()
    assert await found(worker) == ["column public.people.note added (1.0)"]


async def test_a_migration_under_way_is_no_drift(worker: Worker) -> None:
    failing = "-- tidegate: transaction=off\nCREATE TABLE half (a int);\nSELECT 1/0;"
    with pytest.raises(MigrationFailedError):
        await worker.up(bundle_of({1: SCHEMA, 2: failing}, "2.0"))
    verdict = await find_drift(worker.session, await worker.look())
    assert verdict == Unknown("a migration is under way")


async def test_what_golang_migrate_applied_meanwhile_is_no_drift(worker: Worker, database: Database) -> None:
    await database.execute("CREATE TABLE t2 (a int); UPDATE schema_migrations SET version = 2")
    assert isinstance(await find_drift(worker.session, await worker.look()), Unknown)
    await worker.up(bundle_of({1: SCHEMA, **tables(2)}, "2.0"))
    assert await found(worker) == []


async def test_two_targets_of_one_database_are_no_drift_to_each_other(worker: Worker, database: Database) -> None:
    await database.execute("CREATE SCHEMA apart; ALTER TABLE people ADD note text")
    apart = replace(worker.site, line="apart")
    async with worker_on(database, dsn=database.dsn_as(options="-c search_path=apart"), site=apart) as other:
        await other.up(bundle_of(tables(7), "7.0"))
        expected = ["column public.people.note added (1.0)", "schema apart added (1.0)"]
        assert await found(other) == expected
    assert await found(worker) == expected


def dump_of(database: Database) -> str:
    """A dump that an older server takes too: a newer pg_dump sets what it does not know."""
    lines = database.server.dump(database.name, "--no-owner").splitlines()
    return "\n".join(line for line in lines if not line.startswith("SET transaction_timeout"))


async def test_a_restored_dump_shows_no_drift_and_what_is_changed_there_is_told(database: Database) -> None:
    with fresh_database(database.server) as copy:
        database.server.psql(dump_of(database), database=copy.name)
        async with worker_on(copy) as there:
            assert await found(there) == []
            await copy.execute("ALTER TABLE people ADD note text")
            assert await found(there) == ["column public.people.note added (1.0)"]


async def test_a_dump_that_is_restored_on_another_version_shows_no_drift(database: Database) -> None:
    other = 15 if database.server.version == 18 else 18
    binaries = installations().get(other) or missing(f"PostgreSQL {other} is not installed; see CONTRIBUTING.md")
    with running_server(other, binaries) as server, fresh_database(server) as copy:
        server.psql(dump_of(database), database=copy.name)
        async with worker_on(copy) as there:
            assert await found(there) == []
            await copy.execute(
                "ALTER TABLE people DROP CONSTRAINT people_state_check; ALTER TABLE people ADD CONSTRAINT "
                "people_state_check CHECK (state IN ('open', 'shut'))"
            )
            assert await found(there) == ["constraint public.people.people_state_check changed definition (1.0)"]


async def test_a_person_may_say_that_all_is_right(worker: Worker, database: Database) -> None:
    await database.execute("ALTER TABLE people ADD note text; DROP INDEX people_name")
    target, was = await accept(worker.session, worker.site)
    assert target == "public.schema_migrations"
    assert isinstance(was, Drift)
    assert len(was.differences) == 2
    assert await found(worker) == []


async def test_the_watch_tells_each_change_once(worker: Worker, database: Database) -> None:
    now = [0.0]
    watch = DriftWatch(60, lambda: now[0], lambda: 0.5)

    async def look(seconds: float) -> Drift | Unknown | None:
        now[0] += seconds
        return await watch.look(worker.session, await worker.look())

    assert await look(0) == await look(1)
    await database.execute("ALTER TABLE people ADD note text")
    assert (await look(1)).differences == ()  # type: ignore[union-attr]
    for _ in range(3):
        assert len((await look(61)).differences) == 1  # type: ignore[union-attr]
    await database.execute("ALTER TABLE people DROP note")
    await look(61)
    await look(61)

    assert worker.recorded.of(DriftFound) == [DriftFound(1, "column public.people.note added", "1.0")]
    assert worker.recorded.of(DriftGone) == [DriftGone(0, "column public.people.note")]


async def test_a_watch_that_is_off_asks_nothing(worker: Worker) -> None:
    watch = DriftWatch(None, lambda: 0.0, lambda: 0.0)
    assert await watch.look(worker.session, await worker.look()) is None


def test_a_worker_tells_it_by_event_metric_and_status(empty: Database, tidegate: StartTidegate, tmp_path: Path) -> None:
    source = migrations_in(tmp_path / "m", {1: "CREATE TABLE t1 (a int);"})
    often = ("--drift-interval", "100ms", "--poll-interval", "100ms")
    running = start_worker(tidegate, empty.dsn, "--source", source, *often)
    series = 'tidegate_drift_objects{target="public.schema_migrations"}'
    running.until("/readyz")
    eventually(lambda: running.target()["drift"] is not None and running.target()["drift"]["objects"] == 0, "no drift")

    empty.psql("ALTER TABLE t1 ADD note text")
    running.process.wait_for_event("drift.found")
    eventually(lambda: running.metric(series) == 1, "the metric says 1")
    assert running.target()["drift"]["differences"][0]["object"] == "public.t1.note"
    empty.psql("ALTER TABLE t1 DROP note")
    running.process.wait_for_event("drift.gone")
    eventually(lambda: running.metric(series) == 0, "the metric says 0")

    assert running.stop() == 0
    told = [event["event"] for event in running.process.events if event.get("event", "").startswith("drift.")]
    assert told == ["drift.found", "drift.gone"]


def test_status_prints_it_and_writes_nothing(empty: Database, tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_text("CREATE TABLE a (b int NOT NULL)")
    call("status", "--drift", DB_URL=empty.dsn).is_fine("drift is not known: there is no control schema yet")
    call("up", "-s", tmp_path, "--label", "1.0", DB_URL=empty.dsn).is_fine()
    call("status", "--drift", DB_URL=empty.dsn).is_fine("no drift since bundle 1.0")
    empty.psql("ALTER TABLE a ALTER b TYPE bigint")
    before = content(empty)

    call("status", "--drift", DB_URL=empty.dsn).is_fine(
        "1 object is not what bundle 1.0 left", "public.a.b  type  integer  bigint  1.0"
    )
    document = call("status", "--drift", "--json", DB_URL=empty.dsn).document

    assert content(empty) == before
    assert document.pop("taken_at").endswith("Z")
    assert document == {
        "target": "public.schema_migrations",
        "unknown": None,
        "bundle": "1.0",
        "differences": [
            {
                "kind": "column",
                "object": "public.a.b",
                "change": "changed",
                "right_until": "1.0",
                "parts": [{"part": "type", "was": "integer", "now": "bigint"}],
            }
        ],
    }
    call("admin", "fingerprint", DB_URL=empty.dsn).is_fine("public.a.b", "the catalogue is right as it is now")
    call("status", "--drift", DB_URL=empty.dsn).is_fine("no drift since bundle 1.0")


def test_an_older_control_schema_has_no_fingerprint_until_it_is_asked_for(empty: Database) -> None:
    one = bundle_of(tables(1, 2), "1.0")
    anyio.run(make_older_control, empty, one, 1, 2)
    before = content(empty)
    call("status", "--drift", DB_URL=empty.dsn).is_fine("drift is not known: the control schema is older")
    assert content(empty) == before
    call("admin", "fingerprint", DB_URL=empty.dsn).is_fine("right as it is now")
    call("status", "--drift", DB_URL=empty.dsn).is_fine("no drift since bundle 1.0")


def test_a_role_that_may_not_read_the_fingerprint_is_told_what_it_lacks(empty: Database, tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_text("CREATE TABLE a (b int)")
    call("up", "-s", tmp_path, DB_URL=empty.dsn).is_fine()
    role = f"reader_{empty.name}"
    empty.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA tidegate TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA tidegate, public TO {role};"
        f"REVOKE ALL ON tidegate.fingerprint, tidegate.fingerprint_object FROM {role}"
    )
    said = call("status", "--drift", DB_URL=empty.dsn_as(role))
    empty.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    said.is_error(3, "fingerprint", "GRANT")


async def test_a_job_goes_on_without_a_fingerprint_where_the_role_may_not_write_it(
    worker: Worker, database: Database
) -> None:
    role = f"writer_{database.name}"
    everything = "ALL ON {0} IN SCHEMA tidegate, public TO {1}"
    database.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT ALL ON SCHEMA tidegate, public TO {role};"
        + "".join(f"GRANT {everything.format(f'ALL {kind}', role)};" for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"))
        + f"REVOKE ALL ON tidegate.fingerprint, tidegate.fingerprint_object FROM {role}"
    )
    async with worker_on(database, dsn=database.dsn_as(role)) as other:
        report = await other.up(bundle_of({1: SCHEMA, **tables(2)}, "2.0"))
        skipped = other.recorded.of(FingerprintSkipped)
    verdict = await find_drift(worker.session, await worker.look())
    database.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert report.applied == (2,)
    assert "fingerprint" in skipped[-1].message
    assert isinstance(verdict, Unknown)


async def test_a_fingerprint_holds_no_oid(database: Database) -> None:
    before = await database.fetch("SELECT kind, name, parts::text FROM tidegate.fingerprint_object ORDER BY 1, 2")
    with fresh_database(database.server) as other:
        await other.execute("CREATE TABLE filler (a serial); DROP TABLE filler")
        async with worker_on(other) as there:
            await there.up(ONE)
        after = await other.fetch("SELECT kind, name, parts::text FROM tidegate.fingerprint_object ORDER BY 1, 2")
    assert before == after
