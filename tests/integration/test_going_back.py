"""Going back from an older image: what it lacks comes from the bundles that were published, and only if it fits."""

import os
import pty
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.command_line import call, content
from tests.fixtures.processes import Process, StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.sites import COMMAND, Worker, bundle_of, tables, worker_on
from tests.fixtures.workers import finish, migrations_in
from tests.fixtures.workers import tables as tables_in
from worker.core.bundles.bundle import Bundle
from worker.core.planning.plan import Back, Goal, To
from worker.errors import RefusedError
from worker.jobs.bring import bring
from worker.jobs.look import look
from worker.jobs.preview import preview
from worker.jobs.site import Report, Result
from worker.jobs.steer import withdraw

OLD = bundle_of(tables(1, 2), "1.0")
NEW = bundle_of(tables(1, 2, 3, 4), "2.0")
THERE = "SELECT to_regclass($1) IS NOT NULL"


async def back(worker: Worker, bundle: Bundle, goal: Goal, agreed: tuple[int, ...] | None = None) -> Report:
    """`tidegate down` or `goto` of an image with this bundle."""
    request = replace(COMMAND, goal=goal, offer=bundle, pin="down", agreed=agreed)
    return await bring(worker.session, worker.site, request, bundle)


async def shown(worker: Worker, bundle: Bundle, goal: Goal) -> list[tuple[int, str | None]]:
    """What a preview shows: versions, and the bundles that lend them."""
    seen = await preview(worker.session, worker.site, bundle, goal)
    return [(run.migration.version, run.lender) for run in seen.runs]


@pytest.mark.parametrize(("goal", "undone"), [(Back(1), (4,)), (Back(3), (4, 3, 2)), (To(3), (4,)), (To(2), (4, 3))])
async def test_an_older_image_undoes_what_a_newer_one_applied(
    database: Database, goal: Goal, undone: tuple[int, ...]
) -> None:
    async with worker_on(database) as worker:
        await worker.up(NEW)
        seen = await shown(worker, OLD, goal)
        report = await back(worker, OLD, goal)

        assert report.applied == undone == tuple(version for version, _ in seen)
        assert [lent for _, lent in seen] == ["2.0" if version > 2 else None for version in undone]
        assert (await worker.look()).observation.pinned == "down"
        assert (await worker.round()).result is Result.LEFT_ALONE

    for version in (1, 2, 3, 4):
        assert await database.fetchval(THERE, f"t{version}") is (version not in undone)
        assert await database.fetchval("SELECT tidegate.ready($1)", version) is (version not in undone)
    history = await database.fetch("SELECT version, bundle FROM tidegate.history WHERE action = 'down' ORDER BY id")
    assert [tuple(row) for row in history] == [(version, "2.0" if version > 2 else "1.0") for version in undone]


@pytest.mark.parametrize("goal", [Back(1), To(1)])
async def test_a_directory_that_shares_nothing_with_the_ledger_undoes_nothing_though_all_could_be_lent(
    database: Database, goal: Goal
) -> None:
    stranger = bundle_of(tables(90), "9.0")
    async with worker_on(database) as worker:
        await worker.up(OLD)
        before = content(database)
        for way in (shown, back):
            with pytest.raises(RefusedError, match=r"shares no version with the 2 applied ones \(highest 2\)"):
                await way(worker, stranger, goal)

    assert content(database) == before


async def test_a_withdrawn_bundle_still_lends_what_was_applied_from_it(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.publish(OLD)
        await worker.publish(NEW)
        await worker.round()
        await withdraw(worker.session, worker.site, "2.0")

        assert (await back(worker, OLD, To(2))).applied == (4, 3)


async def test_the_bundle_that_a_version_was_applied_from_lends_before_a_newer_one(database: Database) -> None:
    newer = bundle_of(tables(1, 2, 3, 4, 5), "3.0")
    async with worker_on(database) as worker:
        await worker.up(NEW)
        await worker.publish(newer)

        assert await shown(worker, OLD, Back(1)) == [(4, "2.0")]


async def test_a_bundle_with_another_file_lends_nothing(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(NEW)
        await database.execute("UPDATE tidegate.ledger SET checksum = repeat('0', 64) WHERE version = 4")
        with pytest.raises(RefusedError, match="version 4 is applied, but no bundle here or published has it") as told:
            await back(worker, OLD, Back(1))

    assert told.value.reason == "no_down"
    assert await database.fetchval(THERE, "t4")


async def test_stored_files_that_somebody_changed_are_not_run(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(NEW)
        await database.execute("ALTER TABLE tidegate.bundle_file DISABLE TRIGGER USER")
        await database.execute(
            "UPDATE tidegate.bundle_file SET content = 'DROP TABLE t1' WHERE content = convert_to($1, 'UTF8')",
            "DROP TABLE t4",
        )
        with pytest.raises(RefusedError, match="not those that were published"):
            await back(worker, OLD, Back(1))

    assert await database.fetchval(THERE, "t1")
    assert await database.fetchval(THERE, "t4")


async def test_a_version_of_another_program_that_no_bundle_has_is_refused_with_the_ways_out(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(OLD)
        await database.execute("UPDATE schema_migrations SET version = 7")
        await worker.up(OLD)
        with pytest.raises(RefusedError) as told:
            await back(worker, OLD, Back(1))

    assert (told.value.reason, told.value.exit_code) == ("no_down", 3)
    assert "applied by another program" in told.value.message
    assert "migrate goto 2" in told.value.hint
    assert "tidegate admin adopt" in told.value.hint


async def test_what_another_program_applied_is_undone_with_a_published_bundle_that_has_it(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(OLD)
        await database.execute("CREATE TABLE t3 (a int); CREATE TABLE t4 (a int)")
        await worker.publish(NEW)
        await database.execute("UPDATE schema_migrations SET version = 4")

        assert (await back(worker, OLD, Back(1))).applied == (4,)
    assert not await database.fetchval(THERE, "t4")


async def test_a_command_with_nothing_to_undo_pins_all_the_same(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(OLD)
        await worker.publish(NEW)
        report = await back(worker, OLD, To(2))

        assert (report.result, report.applied) == (Result.UP_TO_DATE, ())
        assert (await worker.round()).why == "pinned by down"
        assert (await worker.up()).applied == (3, 4)
        assert (await worker.look()).observation.pinned is None


async def test_what_was_agreed_to_and_nothing_else_is_undone(database: Database) -> None:
    async with worker_on(database) as worker:
        await worker.up(NEW)
        for agreed in ((3,), (), (4, 3)):
            with pytest.raises(RefusedError, match="changed meanwhile: it is 4 now"):
                await back(worker, OLD, Back(1), agreed)
        assert await database.fetchval(THERE, "t4")
        assert (await look(worker.session, worker.site)).observation.pinned is None

        assert (await back(worker, OLD, Back(1), (4,))).applied == (4,)


def folders(path: Path) -> tuple[Path, Path]:
    """An older image's directory and a newer one's."""
    return migrations_in(path / "old", tables_in(1, 2)), migrations_in(path / "new", tables_in(1, 2, 3, 4))


def test_plan_shows_what_down_and_goto_do_and_changes_nothing(database: Database, tmp_path: Path) -> None:
    old, new = folders(tmp_path)
    call("up", "-s", new, "--label", "2.0", DB_URL=database.dsn).is_fine()
    before = content(database)

    for goal, versions in ((("--down", 1), [4]), (("--goto", 2), [4, 3]), (("--down", 3), [4, 3, 2])):
        plan = call("plan", *goal, "-s", old, "--label", "1.0", "--json", DB_URL=database.dsn).document
        assert [(step["direction"], step["version"]) for step in plan["run"]] == [("down", one) for one in versions]
        assert [step["bundle"] for step in plan["run"]] == ["2.0" if one > 2 else "1.0" for one in versions]
    call("plan", "--goto", 4, "-s", old, "--check", DB_URL=database.dsn).is_fine("nothing to do")
    call("plan", "--goto", 9, "-s", old, DB_URL=database.dsn).is_error(3, "no migration 9")
    call("plan", "--goto", 1, "--down", 1, "-s", old, DB_URL=database.dsn).is_error(2, "not allowed with")

    assert content(database) == before


def test_off_a_terminal_what_would_be_undone_is_shown_and_yes_is_asked_for(database: Database, tmp_path: Path) -> None:
    old, new = folders(tmp_path)
    call("up", "-s", new, "--label", "2.0", DB_URL=database.dsn).is_fine()
    before = content(database)

    said = call("goto", 2, "-s", old, DB_URL=database.dsn)
    said.is_error(2, "has to be confirmed", "--yes")
    assert said.out.splitlines() == ["undo 4 m4 (bundle 2.0)", "undo 3 m3 (bundle 2.0)"]
    assert content(database) == before

    call("goto", 2, "-s", old, "--yes", DB_URL=database.dsn).is_fine("version 2, and pinned until tidegate resume")
    assert database.psql("SELECT pinned FROM tidegate.fence WHERE target = 'public.schema_migrations'") == "goto 2"


OnTerminal = Callable[[str], Process]


@pytest.fixture
def goto_on_a_terminal(database: Database, tmp_path: Path, tidegate: StartTidegate) -> OnTerminal:
    """Runs `tidegate goto 2` of the older image on a terminal, where a person types this answer."""
    old, new = folders(tmp_path)
    call("up", "-s", new, "--label", "2.0", DB_URL=database.dsn).is_fine()

    def start(answer: str) -> Process:
        person, terminal = pty.openpty()
        try:
            process = tidegate("goto", "2", "-s", old, env={"DB_URL": database.dsn}, stdin=terminal)
            process.wait_for_line(lambda line: line == "undo 3 m3 (bundle 2.0)")
            os.write(person, f"{answer}\n".encode())
            process.wait()
        finally:
            os.close(person)
            os.close(terminal)
        return process

    return start


@pytest.mark.parametrize("answer", ["y", "Yes"])
def test_on_a_terminal_a_yes_undoes(database: Database, goto_on_a_terminal: OnTerminal, answer: str) -> None:
    assert "version 2" in finish(goto_on_a_terminal(answer))
    assert database.psql("SELECT * FROM schema_migrations") == "2|f"


@pytest.mark.parametrize("answer", ["", "n", "what"])
def test_on_a_terminal_anything_else_changes_nothing(
    database: Database, goto_on_a_terminal: OnTerminal, answer: str
) -> None:
    finish(goto_on_a_terminal(answer), 2)
    assert database.psql("SELECT * FROM schema_migrations") == "4|f"
    assert database.psql("SELECT count(*) FROM tidegate.fence WHERE pinned IS NOT NULL") == "0"
