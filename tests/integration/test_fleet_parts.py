"""Parts of a fleet's worker on a real home half: leases, what is due, what was seen, the audit."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from tests.fixtures.fleet_parts import OWN, Away, place, terms, wish
from tests.fixtures.fleets import TENANTS, Fleet, names
from tests.fixtures.jobs import gone
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.sites import worker_on
from worker.errors import NoDatabaseError
from worker.fleet.audit import Audit
from worker.fleet.home import Home
from worker.fleet.seats import Seats, reset
from worker.fleet.sights import Sights
from worker.postgres.fleet import GIVEN_UP_SECONDS, Done, End, Finished, FleetHalf
from worker.postgres.roster import yielded
from worker.postgres.session import Session

Door = Callable[[], Awaitable[Session]]
LEASES = "SELECT array_agg(DISTINCT claimed_pid) FROM tidegate.target WHERE claimed_by IS NOT NULL"
UNSETTLE = "UPDATE tidegate.target SET settled = NULL, outcome = NULL"


@pytest.fixture
def fleet(tidegate: StartTidegate, database: Database, tmp_path: Path) -> Fleet:
    made = Fleet(tidegate, database, tmp_path)
    made.schemas(names(2))
    made.declare(TENANTS)
    made.up()
    return made


@pytest.fixture
async def door(database: Database) -> AsyncIterator[Door]:
    """Opens sessions of one worker on the test's database."""
    async with AsyncExitStack() as opened:

        async def open_one() -> Session:
            return (await opened.enter_async_context(worker_on(database))).session

        yield open_one


async def test_leases_are_kept_by_a_worker_that_lost_its_home(fleet: Fleet, door: Door) -> None:
    await fleet.database.execute(UNSETTLE)
    home = Home(door)
    async with home.half() as half:
        assert len(await half.claim(wish())) == 2
        pid = half.session.conn.get_server_pid()
    await fleet.database.execute("SELECT pg_terminate_backend($1)", pid)
    await gone(fleet.database, pid)
    # Whether the driver has heard of it by now, or hears of it when the connection is used.
    with suppress(NoDatabaseError):
        async with home.half() as half:
            assert await half.claim(wish()) == ()

    async with home.half() as half:
        assert await half.claim(wish()) == ()
        assert await fleet.database.fetchval(LEASES) == [half.session.conn.get_server_pid()]


async def test_what_is_due_is_waited_for_until_it_is_halted_paused_named_otherwise_or_given_up(
    fleet: Fleet, door: Door
) -> None:
    half = FleetHalf(await door())
    assert not await half.is_due(wish())
    await fleet.database.execute(f"{UNSETTLE} WHERE name = 'tenant_0.schema_migrations'")
    assert await half.is_due(wish())
    (claim,) = await half.claim(wish())
    await half.give_back([Done(claim, End.INTERRUPTED, settles=False, pause=10)])

    assert await half.is_due(wish())
    assert not await half.is_due(wish("elsewhere"))
    assert not await half.is_due(replace(wish(), names=["tenant_1.schema_migrations"]))
    bad = "UPDATE tidegate.target SET outcome = $1 WHERE name = 'tenant_1.schema_migrations'"
    await fleet.database.execute(bad, "failed")
    assert not await half.is_due(replace(wish(), budgets=dict.fromkeys(OWN.lines, 1)))
    await fleet.database.execute("UPDATE tidegate.target SET paused_at = now()")
    assert not await half.is_due(wish())
    await fleet.database.execute("UPDATE tidegate.target SET paused_at = NULL, claimed_until = NULL")
    (claim,) = await half.claim(wish())
    await half.give_back([Done(claim, End.INTERRUPTED, settles=False, pause=GIVEN_UP_SECONDS)])
    assert not await half.is_due(wish())


async def test_a_target_that_was_deleted_by_hand_keeps_no_other_from_being_said(fleet: Fleet, door: Door) -> None:
    await fleet.database.execute(UNSETTLE)
    half = FleetHalf(await door())
    claims = await half.claim(wish())
    first = claims[0].id
    await fleet.database.execute(
        f"DELETE FROM tidegate.job_event WHERE job_id IN (SELECT id FROM tidegate.job WHERE target_id = {first})"
    )
    await fleet.database.execute(f"DELETE FROM tidegate.job WHERE target_id = {first}")
    await fleet.database.execute(f"DELETE FROM tidegate.target WHERE id = {first}")

    await half.give_back([Done(claim, End.SUCCEEDED, job=Finished(9, 1, 0.5)) for claim in claims])

    row = await fleet.database.fetchrow("SELECT outcome, claimed_by FROM tidegate.target WHERE id = $1", claims[1].id)
    assert row is not None
    assert tuple(row) == ("succeeded", None)


async def test_what_was_seen_of_a_target_is_of_the_bundle_that_was_wanted_then(fleet: Fleet, door: Door) -> None:
    await fleet.database.execute(UNSETTLE)
    session = await door()
    half, sights = FleetHalf(session), Sights()
    first, second = await half.claim(wish())
    assert await sights.of(session, first, [second]) is not None
    fleet.migrations({"0003_c.up.sql": "SELECT 1"})
    assert fleet.lone("publish", str(fleet.source)).wait() == 0
    await half.give_back([Done(each, End.INTERRUPTED, settles=False) for each in (first, second)])

    again = next(claim for claim in await half.claim(wish()) if claim.id == second.id)

    seen = await sights.of(session, again, [])
    assert seen is not None
    assert seen.is_of(again)
    assert not seen.is_of(second)


async def test_what_was_seen_long_ago_is_looked_at_again(fleet: Fleet, door: Door) -> None:
    await fleet.database.execute(UNSETTLE)
    session = await door()
    first, second = await FleetHalf(session).claim(wish())
    sights, now = Sights(), session.clock()
    await sights.of(replace(session, clock=lambda: now), first, [second])
    await fleet.database.execute(
        "CREATE FUNCTION tenant_1.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER t BEFORE INSERT ON tenant_1.schema_migrations FOR EACH ROW EXECUTE FUNCTION tenant_1.f();"
        "CREATE TRIGGER t BEFORE INSERT ON tenant_0.schema_migrations FOR EACH ROW EXECUTE FUNCTION tenant_1.f()"
    )

    assert await sights.of(replace(session, clock=lambda: now + 6), second, []) is None


async def test_a_session_that_is_reset_is_that_of_the_role_it_began_with(database: Database) -> None:
    async with worker_on(database, dsn=database.dsn_as(options="-c role=pg_monitor")) as worker:
        await worker.session.conn.execute("SET ROLE pg_read_all_data")

        await reset(worker.session)

        assert await worker.session.conn.fetchval("SELECT current_user::text") == "pg_monitor"


async def test_an_audit_whose_home_is_away_says_so_in_one_error() -> None:
    away = Away()
    audit = Audit(Home(away.home), Seats(away.doors, terms()), terms())

    with pytest.raises(NoDatabaseError, match="the home half is away"):
        await audit.run()


async def test_an_audit_tries_a_database_that_is_away_once(fleet: Fleet, door: Door) -> None:
    await fleet.database.execute(
        "INSERT INTO tidegate.target (name, line, database, schema, version_table, source, settled, outcome) "
        "SELECT 'dark/s' || n, 'schema_migrations', 'dark', 's' || n, 't', 'own schema_migrations', b.id, 'succeeded' "
        "FROM generate_series(1, 1000) AS n, tidegate.bundle AS b"
    )
    away = Away()
    seats = Seats(away.doors, terms())
    seats.places = {"dark": place("dark")}

    await Audit(Home(door), seats, terms()).run()

    # As many as look at once may knock before the first of them has no answer.
    assert 1 <= len(away.knocks) <= OWN.bounds.per_database


def test_what_an_audit_finds_wrong_and_cannot_say_ends_the_command(fleet: Fleet) -> None:
    fleet.database.psql(
        "UPDATE tenant_0.schema_migrations SET dirty = true;"
        "ALTER TABLE tidegate.target ADD CONSTRAINT stays CHECK (settled IS NOT NULL)"
    )

    process = fleet.start("up", "--source", fleet.source)

    assert process.wait() == 3, process.report()
    assert "stays" in process.stderr


class Interrupted(asyncpg.Connection):
    """A connection whose server says farewell at the moment at which something is sent."""

    async def execute(self, *_: object, **__: object) -> str:
        raise asyncpg.InternalClientError("got result for unknown protocol state 3")


async def test_a_query_whose_server_says_farewell_as_it_is_sent_has_lost_its_connection(database: Database) -> None:
    conn = await database.connect(connection_class=Interrupted)
    try:
        with pytest.raises(NoDatabaseError, match="a query: the connection was lost"):
            await yielded(conn, "SELECT 1", "a query")
    finally:
        conn.terminate()
