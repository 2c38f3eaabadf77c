"""A control schema of an earlier release: read as it is, upgraded before a write, and every face of it goes on."""

from pathlib import Path

import anyio

from tests.fixtures.cluster import PASSWORD
from tests.fixtures.command_line import call, content
from tests.fixtures.gates import make_reader
from tests.fixtures.older_control import make_older_control
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.sites import bundle_of, tables, worker_on
from worker.bundles.shipped import shipped
from worker.control_schema import control_bundle
from worker.core.bundles.bundle import Bundle, OrderPolicy
from worker.core.bundles.migration import Direction
from worker.core.events.events import ControlUpgraded
from worker.core.planning.plan import Latest, Pending
from worker.core.planning.planner import plan
from worker.jobs.look import Control
from worker.postgres.queries import with_schema

ONE = bundle_of(tables(1, 2), "1.0")
TWO = bundle_of(tables(1, 2, 3), "2.0")
LOOKING = ("plan", "status", "history", "version")
FACES = "SELECT tidegate.ready(2), tidegate.ready(bundle => '1.0'), (SELECT version FROM tidegate.status)"


def written(bundle: Bundle, folder: Path) -> Path:
    """A bundle as a directory."""
    folder.mkdir()
    for name, raw in bundle.files.items():
        (folder / name).write_bytes(raw)
    return folder


async def test_looking_at_an_older_schema_reads_it_and_leaves_it_as_it_is(database: Database) -> None:
    await make_older_control(database, ONE, 1, 2)
    async with worker_on(database) as worker:
        view = await worker.look()

    assert view.control is Control.OLDER
    assert sorted(view.observation.observed.versions) == [1, 2]
    assert view.observation.readiness is not None
    assert await database.fetchval("SELECT max(version) FROM tidegate.target_version") == 1


async def test_a_half_done_migration_is_resumed_and_not_taken_for_dirt(database: Database) -> None:
    await make_older_control(database, ONE, 1, 2)
    await database.execute(
        "UPDATE schema_migrations SET version = 3, dirty = true;"
        "INSERT INTO tidegate.journal (target, version, direction, segment, digest, state, epoch) "
        "VALUES ('public.schema_migrations', 3, 'up', 0, 'x', 'failed', 1)"
    )
    async with worker_on(database) as worker:
        observed = (await worker.look()).observation.observed

    decided = plan(TWO, observed, OrderPolicy.ERROR, Latest())
    assert isinstance(decided, Pending)
    assert [(run.migration.version, run.direction, run.resume is not None) for run in decided.runs] == [
        (3, Direction.UP, True)
    ]


async def test_work_upgrades_it_once_and_keeps_what_it_holds(database: Database) -> None:
    await make_older_control(database, ONE, 1, 2)
    before = await database.fetch("SELECT version, action, at FROM tidegate.history ORDER BY id")
    assert [tuple(row) for row in await database.fetch(FACES)] == [(True, True, 2)]

    async with worker_on(database) as worker:
        await worker.publish(ONE)
        report = await worker.up(TWO)
        upgrades = worker.recorded.of(ControlUpgraded)
        assert (report.applied, report.adopted) == ((3,), 0)
        later = [len(control_bundle(half, "tidegate").migrations) - 1 for half in ("target", "home")]
        assert [event.applied for event in upgrades] == [sum(later)]
        assert (await worker.look()).control is Control.CURRENT

    assert [tuple(row) for row in await database.fetch(FACES)] == [(True, True, 3)]
    after = await database.fetch("SELECT version, action, at, note FROM tidegate.history ORDER BY id")
    assert [tuple(row)[:3] for row in after][: len(before)] == [tuple(row) for row in before]
    assert {row["note"] for row in after} == {None}


async def test_a_schema_that_was_left_between_the_function_and_its_column_is_upgraded(database: Database) -> None:
    await make_older_control(database, ONE, 1, 2)
    sql = shipped("control", "home", "0002_publishing.up.sql").read_text(encoding="utf-8")
    await database.execute(with_schema(sql, "tidegate"))
    await database.execute(
        "UPDATE tidegate.home_version SET version = 2;"
        "INSERT INTO tidegate.ledger (target, version, name, bundle, origin, mode, worker, epoch) "
        "VALUES ('tidegate.home_version', 2, 'publishing', '', 'applied', 'transactional', 'w', 1)"
    )

    async with worker_on(database) as worker:
        assert (await worker.look()).control is Control.OLDER
        assert (await worker.up(TWO)).applied == (3,)

    publish = "SELECT outcome FROM tidegate.publish($1, '3.0', $2, $3, seal => 'sealed')"
    three = bundle_of(tables(1, 2, 3, 4), "3.0").files
    assert await database.fetchval(publish, "schema_migrations", list(three), list(three.values())) == "published"
    assert await database.fetchval("SELECT seal FROM tidegate.bundle WHERE label = '3.0'") == "sealed"


async def test_a_gate_that_waits_meanwhile_opens(database: Database, tidegate: StartTidegate) -> None:
    await make_older_control(database, ONE, 1, 2)
    reader = await make_reader(database)
    at_once = tidegate("wait", "--at-least", "2", env={"DB_URL": reader})
    waiting = tidegate("wait", "--at-least", "3", "--timeout", "60s", env={"DB_URL": reader})
    assert await at_once.ended() == 0, at_once.report()
    await waiting.line(lambda line: "gate.waiting" in line)

    async with worker_on(database) as worker:
        await worker.up(TWO)

    assert await waiting.ended() == 0, waiting.report()


def test_verbs_that_look_take_an_older_schema_and_write_nothing(database: Database, tmp_path: Path) -> None:
    anyio.run(make_older_control, database, ONE, 1, 2)
    source, before = written(TWO, tmp_path / "two"), content(database)

    said = {verb: call(verb, "--json", "-s", source, DB_URL=database.dsn) for verb in LOOKING}
    call("admin", "repair", "-s", source, DB_URL=database.dsn).is_fine("nothing differs")
    call("admin", "adopt", "-s", source, DB_URL=database.dsn).is_fine("nothing to do")

    assert content(database) == before
    assert {verb: answer.code for verb, answer in said.items()} == dict.fromkeys(LOOKING, 0), said
    assert [row["note"] for row in said["history"].document] == [None, None]
    assert [step["version"] for step in said["plan"].document["run"]] == [3]
    assert said["plan"].document["adopt"] == []


def test_what_needs_the_newer_schema_upgrades_it_first(database: Database, tmp_path: Path) -> None:
    anyio.run(make_older_control, database, bundle_of({**tables(2), 1: "SELECT 'as it was'"}), 1, 2)
    source = written(TWO, tmp_path / "two")

    call("admin", "repair", "--accept", 1, "--why", "x", "-s", source, DB_URL=database.dsn).is_fine("accepted")

    assert database.psql("SELECT note FROM tidegate.history WHERE action = 'repair'") == "x"
    assert database.psql(FACES.replace("1.0", "2.0")) == "t|f|2"


def test_an_older_schema_can_be_steered(database: Database) -> None:
    anyio.run(make_older_control, database, ONE, 1, 2)
    call("pause", DB_URL=database.dsn).is_fine("paused")
    call("resume", DB_URL=database.dsn).is_fine("resumed")
    call("admin", "upgrade", DB_URL=database.dsn).is_fine("nothing to do")


def test_a_role_that_may_not_upgrade_it_is_told_who_may(database: Database) -> None:
    anyio.run(make_older_control, database, ONE, 1, 2)
    role = f"migrator_{database.name}"
    database.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}';"
        f"GRANT ALL ON ALL TABLES IN SCHEMA tidegate TO {role}; GRANT ALL ON SCHEMA tidegate TO {role};"
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidegate TO {role}; GRANT ALL ON schema_migrations TO {role}"
    )

    said = call("admin", "upgrade", DB_URL=database.dsn_as(role))

    said.is_error(3, f"role {role} may not upgrade", "must be owner of table history", "as the role that owns it")

    assert database.psql("SELECT max(version) FROM tidegate.target_version") == "1"
    assert database.psql(FACES) == "t|t|2"
    database.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")
