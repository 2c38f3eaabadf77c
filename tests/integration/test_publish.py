import anyio
import pytest

from tests.fixtures.jobs import until
from tests.fixtures.servers import Database
from tests.fixtures.sites import SITE, bundle_of, dump, tables, worker_on
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.wanted import AlreadyWanted, Intent, Kept, KeptBecause, KnownNowWanted, New
from worker.core.planning.reconcile import Insistence
from worker.errors import RefusedError
from worker.jobs.bring import bring
from worker.jobs.site import Request, Result
from worker.jobs.steer import withdraw
from worker.postgres.fleet import FleetHalf
from worker.postgres.home_half import HomeHalf
from worker.postgres.queries import queries
from worker.postgres.transaction import transaction

ONE = bundle_of(tables(1), "1.0")
TWO = bundle_of(tables(1, 2), "2.0")


async def label_wanted(database: Database) -> str | None:
    value = await database.fetchval(
        "SELECT label FROM tidegate.bundle WHERE withdrawn_at IS NULL ORDER BY wanted_seq DESC LIMIT 1"
    )
    return None if value is None else str(value)


async def test_the_rows_and_the_notification_commit_together(database: Database) -> None:
    listener = await database.connect()
    heard = anyio.Event()
    seen: list[str] = []

    def hear(_: object, __: int, channel: str, payload: str) -> None:
        seen.append(f"{channel} {payload}")
        heard.set()

    try:
        await listener.add_listener("tidegate_wake", hear)
        async with worker_on(database) as worker:
            decision = await worker.publish(ONE)
        with anyio.fail_after(10):
            await heard.wait()
        assert await label_wanted(database) == "1.0"
        assert (decision, seen) == (New(None), ["tidegate_wake schema_migrations"])
    finally:
        await listener.close()


async def test_two_publishers_of_a_line_are_serialised(database: Database) -> None:
    bundles = [bundle_of(tables(*range(1, number + 2)), f"v{number}") for number in range(6)]
    async with worker_on(database) as worker:
        await worker.publish(bundle_of(tables(1), "first"))

    async def one(bundle: Bundle) -> None:
        async with worker_on(database) as worker:
            await worker.publish(bundle, Intent.AUTOMATIC)

    async with anyio.create_task_group() as group:
        for bundle in bundles:
            group.start_soon(one, bundle)

    # Whatever the order was, each automatic offer that became wanted extends the one before it.
    rows = await database.fetch("SELECT cardinality(required) AS n FROM tidegate.bundle ORDER BY wanted_seq")
    counts = [row["n"] for row in rows]
    assert counts == sorted(counts)
    assert counts[-1] == 6


async def test_a_publisher_waits_for_another_one_for_longer_than_the_lock_timeout(database: Database) -> None:
    long_wait = "SELECT true FROM pg_locks WHERE NOT granted AND clock_timestamp() - waitstart > interval '200 ms'"
    async with worker_on(database) as worker, worker_on(database) as other:
        await worker.publish(ONE)
        async with anyio.create_task_group() as group, transaction(other.session, "testing"):
            line_lock = queries("home", "tidegate")["line_lock"]
            await other.session.conn.execute(line_lock, "schema_migrations")
            group.start_soon(worker.publish, TWO)
            await until(other, long_wait)
            assert await label_wanted(database) == "1.0"

    assert await label_wanted(database) == "2.0"


async def test_the_same_content_again_is_a_no_op_that_says_so(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        before = await dump(database)

        assert isinstance(await worker.publish(ONE), AlreadyWanted)

    assert await dump(database) == before


async def test_a_label_that_is_taken_is_refused(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        before = await dump(database)

        with pytest.raises(RefusedError, match="published before with other content") as caught:
            await worker.publish(bundle_of(tables(1, 2), "1.0"))

    assert caught.value.reason == "label"
    assert await dump(database) == before


async def test_contents_are_stored_once(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        await worker.publish(TWO)

    assert await database.fetchval("SELECT count(*) FROM tidegate.bundle_file") == 4
    assert await database.fetchval("SELECT sum(cardinality(names)) FROM tidegate.bundle") == 6


async def test_an_older_image_that_starts_changes_nothing(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(TWO)

        kept = await worker.publish(ONE, Intent.AUTOMATIC)

        assert isinstance(kept, Kept)
        assert kept.because is KeptBecause.OLDER
        assert await label_wanted(database) == "2.0"


async def test_a_person_may_publish_an_older_bundle(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        await worker.publish(TWO)

        assert isinstance(await worker.publish(ONE), KnownNowWanted)

    assert await label_wanted(database) == "1.0"


async def test_a_withdrawal_makes_the_previous_bundle_wanted_and_runs_nothing(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        await worker.publish(TWO)
        await worker.up()

        left = await withdraw(worker.session, SITE, "2.0")

        assert left is not None
        assert left.published.label == "1.0"
        report = await worker.round()
        assert (report.result, report.bundle, report.version) == (Result.UP_TO_DATE, "1.0", 2)
        # What was withdrawn stays applied, and does not come back by itself.
        assert isinstance(await worker.publish(TWO, Intent.AUTOMATIC), Kept)
        assert await withdraw(worker.session, SITE, "1.0") is None
        with pytest.raises(RefusedError, match=r"no bundle 1\.0 to withdraw"):
            await withdraw(worker.session, SITE, "1.0")
        assert (await worker.round()).result is Result.NOTHING_WANTED


async def test_a_second_label_with_the_same_content_makes_its_gate_ready(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        await worker.publish(bundle_of(tables(1), "1.0-rebuilt"))
        assert not await database.fetchval("SELECT tidegate.ready(bundle => '1.0-rebuilt')")

        assert (await worker.round()).result is Result.UP_TO_DATE

    assert await database.fetchval("SELECT tidegate.ready(bundle => '1.0-rebuilt')")
    assert await database.fetchval("SELECT tidegate.ready(bundle => '1.0')")


REFUSED = {
    "unrelated": (bundle_of(tables(7, 8), "other"), "unrelated"),
    "checksum": (bundle_of({1: "CREATE TABLE t1 (b int)", 3: "SELECT 1"}, "changed"), "checksum"),
    "late": (bundle_of(tables(1, 2, 3), "late"), "order"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_bundle_that_cannot_be_applied_is_refused_with_nothing_changed(database: Database, case: str) -> None:
    bundle, reason = REFUSED[case]
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1, 3), "1.0"))
        before = await dump(database)

        for publish in (worker.publish, worker.up):
            with pytest.raises(RefusedError) as caught:
                await publish(bundle)
            assert (caught.value.reason, caught.value.exit_code) == (reason, 3)

        assert await dump(database) == before
        assert (await worker.round()).result is Result.UP_TO_DATE


@pytest.mark.parametrize(("order", "applied"), [("apply", (2,)), ("skip", ())])
async def test_a_late_version_follows_the_policy(database: Database, order: str, applied: tuple[int, ...]) -> None:
    async with worker_on(database) as worker:
        await worker.up(bundle_of(tables(1, 3), "1.0"))

        report = await worker.up(bundle_of(tables(1, 2, 3), "late", f'order = "{order}"'))

        assert report.applied == applied
        assert (await worker.round()).result is Result.UP_TO_DATE
        assert await database.fetchval("SELECT tidegate.ready(3)")
        before = await dump(database)
        assert (await worker.round()).result is Result.UP_TO_DATE
    assert await dump(database) == before


async def test_a_dirty_version_table_refuses_a_publish_with_nothing_changed(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        await database.execute("UPDATE schema_migrations SET dirty = true")
        before = await dump(database)

        with pytest.raises(RefusedError, match="dirty at version 1") as caught:
            await worker.publish(TWO)

    assert caught.value.reason == "dirty"
    assert await dump(database) == before


async def test_a_pinned_target_is_let_go_by_an_explicit_publish_alone(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(ONE)
        await database.execute("UPDATE tidegate.fence SET pinned = 'down', pinned_at = clock_timestamp()")

        await worker.publish(TWO, Intent.AUTOMATIC)
        left = await worker.round()
        assert (left.result, left.why) == (Result.LEFT_ALONE, "pinned by down")

        await worker.publish(bundle_of(tables(1, 2, 3), "3.0"))
        assert (await worker.round()).applied == (2, 3)

    pinned = "SELECT count(*) FROM tidegate.fence WHERE target = 'public.schema_migrations' AND pinned IS NOT NULL"
    assert await database.fetchval(pinned) == 0


async def test_a_request_with_a_directory_that_is_not_wanted_leaves_the_wanted_bundle_be(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(TWO)

        report = await bring(worker.session, SITE, Request(Insistence.ROUND, offer=ONE))

    assert (report.result, report.bundle) == (Result.UP_TO_DATE, "2.0")


async def test_publishing_waits_for_the_disk_in_a_session_whose_other_commits_do_not(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(ONE)
        # What a commit waits for is what is set at its end, when a deferred trigger runs.
        await database.execute("""
            CREATE TABLE committed (id bigint GENERATED ALWAYS AS IDENTITY, waits text);
            CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO public.committed (waits) VALUES (current_setting('synchronous_commit')); RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER see AFTER INSERT OR UPDATE ON tidegate.bundle
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see()
        """)
        home = HomeHalf(worker.session, "schema_migrations")
        await FleetHalf(worker.session).prepare()

        await home.publish(TWO, Intent.EXPLICIT)
        await home.withdraw("2.0")
        await worker.session.conn.execute("UPDATE tidegate.bundle SET wanted_seq = wanted_seq")

    seen = [row["waits"] for row in await database.fetch("SELECT waits FROM committed ORDER BY id")]
    assert set(seen[:-2]) == {"on"}
    assert (len(seen) >= 4, seen[-2:]) == (True, ["off", "off"]), "the last statement, of two rows, is nobody's publish"
