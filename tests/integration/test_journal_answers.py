"""A statement in doubt: what a person answers about it at the command line, and what the next run makes of that."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.command_line import Said, call, files
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.sites import worker_on
from tests.fixtures.workers import start_worker
from worker.errors import RefusedError
from worker.jobs.amend import holding
from worker.postgres.target_half import Answer, TargetHalf
from worker.postgres.transaction import fenced

# The code commits its first half; whether the second one is wanted again, nobody but a person can say.
HALF = """-- tidegate: transaction=off
CREATE TABLE before (x int);
DO $$BEGIN
    INSERT INTO a VALUES (1);
    COMMIT;
    IF to_regclass('mended') IS NULL THEN RAISE EXCEPTION 'half done'; END IF;
END$$;
CREATE TABLE behind (x int);
"""
ANSWERS = "SELECT version, name, mode, role FROM tidegate.history WHERE action = 'answer'"
JOURNAL = "SELECT segment, state FROM tidegate.journal ORDER BY 1"


def up(database: Database, folder: Path) -> Said:
    return call("up", "--source", folder, "--database", database.dsn)


def told(database: Database, *words: str) -> Said:
    return call(*words, "--database", database.dsn)


@pytest.fixture
def in_doubt(database: Database, tmp_path: Path) -> Path:
    """A bundle whose second migration is in doubt in the database."""
    folder = files(tmp_path / "sql", _1_a="CREATE TABLE a (x int)", _2_b=HALF)
    assert up(database, folder).code == 1
    up(database, folder).is_error(
        6, "2_b.up.sql:3:", "did it take effect?", "--segment done --at 2:2", "--segment not-done --at 2:2", "force 2"
    )
    assert database.psql(JOURNAL) == "0|done\n1|intent"
    return folder


def is_complete(database: Database) -> None:
    assert database.psql("SELECT version, dirty FROM schema_migrations") == "2|f"
    assert database.psql(JOURNAL) == ""
    assert database.psql("SELECT count(*) FROM tidegate.ledger WHERE target = 'public.schema_migrations'") == "2"


def test_a_statement_that_took_effect_is_not_repeated_and_what_is_behind_it_runs(
    database: Database, in_doubt: Path
) -> None:
    told(database, "retry", "--segment", "done", "--at", "2:2").is_fine("segment 2 of version 2 is taken as done")
    up(database, in_doubt).is_fine("version 2")

    is_complete(database)
    assert database.psql("SELECT count(*) FROM a") == "1"
    assert database.psql("SELECT to_regclass('behind')") == "behind"
    assert database.psql(ANSWERS) == "2|segment 2|done|postgres"
    told(database, "history").is_fine("answer")


def test_a_statement_that_did_not_take_effect_runs_again_and_nothing_before_it_does(
    database: Database, in_doubt: Path
) -> None:
    database.psql("CREATE TABLE mended ()")
    told(database, "retry", "--segment", "not-done", "--at", "2:2").is_fine("segment 2 of version 2 is to run again")
    up(database, in_doubt).is_fine("version 2")

    is_complete(database)
    assert database.psql("SELECT count(*) FROM a") == "2"
    assert database.psql(ANSWERS) == "2|segment 2|not-done|postgres"


def test_a_whole_migration_that_is_complete_is_forced_and_never_run(database: Database, in_doubt: Path) -> None:
    database.psql("CREATE TABLE behind (x int)")
    told(database, "force", "2").is_fine("version 2")
    told(database, "resume").is_fine()
    up(database, in_doubt).is_fine("version 2")

    is_complete(database)
    assert database.psql("SELECT count(*) FROM a") == "1"


def test_a_statement_that_fails_again_after_an_answer_is_in_doubt_again(database: Database, in_doubt: Path) -> None:
    told(database, "retry", "--segment", "not-done", "--at", "2:2").is_fine()
    assert up(database, in_doubt).code == 1
    assert up(database, in_doubt).code == 6
    assert database.psql("SELECT count(*) FROM a") == "2"


def test_an_answer_that_nobody_asked_for_is_refused_and_changes_nothing(database: Database, tmp_path: Path) -> None:
    up(database, files(tmp_path / "sql", _1_a="CREATE TABLE a (x int)")).is_fine()
    before = database.psql("SELECT count(*) FROM tidegate.history")

    told(database, "retry", "--segment", "done", "--at", "2:2").is_error(3, "nothing to answer")
    told(database, "retry", "--segment", "perhaps", "--at", "2:2").is_error(2, "perhaps", "not-done")
    assert database.psql("SELECT count(*) FROM tidegate.history") == before


@pytest.mark.usefixtures("in_doubt")
def test_an_answer_to_another_question_is_refused_and_changes_nothing(database: Database) -> None:
    before = database.psql(JOURNAL)
    told(database, "retry", "--segment", "done", "--at", "2:4").is_error(3, "about 2:2 by now, and not about 2:4")
    told(database, "retry", "--segment", "done").is_error(2, "--segment needs --at")
    told(database, "retry", "--segment", "done", "--at", "two").is_error(2, "a version and a segment")
    assert database.psql(JOURNAL) == before


def test_a_running_worker_goes_on_when_it_is_answered(
    database: Database, in_doubt: Path, tidegate: StartTidegate
) -> None:
    worker = start_worker(tidegate, database.dsn, "--source", in_doubt)
    worker.process.wait_for_event("worker.started")

    told(database, "retry", "--segment", "done", "--at", "2:2").is_fine("the workers are told")

    worker.until("/readyz?at_least=2")
    is_complete(database)


BUILD = "CREATE UNIQUE INDEX CONCURRENTLY i ON a (x)"


@pytest.mark.parametrize("given", ["done", "not-done"])
@pytest.mark.parametrize("is_there", [True, False], ids=["an INVALID index", "nothing"])
def test_an_answer_about_what_the_catalogue_tells_is_refused_and_changes_nothing(
    database: Database,
    tmp_path: Path,
    given: str,
    is_there: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    folder = files(tmp_path / "sql", _1_a="CREATE TABLE a (x int); INSERT INTO a VALUES (1), (1)", _2_b=BUILD)
    assert up(database, folder).code == 1
    # As if the worker had died in it.
    database.psql("UPDATE tidegate.journal SET state = 'intent'")
    if not is_there:
        database.psql("DROP INDEX i")
    before = everything(database)

    told(database, "retry", "--segment", given, "--at", "2:1").is_error(3, "2_b.up.sql:1", "the catalogue tells")
    assert everything(database) == before

    database.psql("DELETE FROM a")
    up(database, folder).is_fine("version 2")
    assert database.psql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == "t"


def everything(database: Database) -> list[str]:
    """What an answer could change."""
    tables = ("journal", "ledger", "history", "readiness", "job")
    return [database.psql(f"SELECT * FROM tidegate.{table} AS t ORDER BY t::text") for table in tables]


def test_an_answer_about_what_only_failed_is_refused_and_changes_nothing(database: Database, tmp_path: Path) -> None:
    folder = files(tmp_path / "sql", _1_a="-- tidegate: transaction=off\nVACUUM missing")
    assert up(database, folder).code == 1
    assert database.psql(JOURNAL) == "0|failed"
    before = everything(database)

    told(database, "retry", "--segment", "done", "--at", "1:1").is_error(3, "nothing to answer")
    assert everything(database) == before


@pytest.mark.usefixtures("in_doubt")
def test_an_answer_that_no_bundle_has_the_question_of_is_refused_and_changes_nothing(database: Database) -> None:
    database.psql("UPDATE tidegate.journal SET digest = repeat('0', 64) WHERE state = 'intent'")
    before = everything(database)

    told(database, "retry", "--segment", "done", "--at", "2:2").is_error(3, "no published bundle has what was run")
    assert everything(database) == before


def test_an_answer_in_a_migration_whose_temporary_table_is_gone_is_refused_and_names_what_settles_it(
    database: Database, tmp_path: Path
) -> None:
    code = "DO $$BEGIN COMMIT; RAISE EXCEPTION 'half done'; END$$"
    folder = files(tmp_path / "sql", _1_a=f"-- tidegate: transaction=off\nCREATE TEMP TABLE t (x int);\n{code}")
    assert up(database, folder).code == 1
    before = everything(database)

    told(database, "retry", "--segment", "done", "--at", "1:2").is_error(3, "a session that is gone", "force 1")
    assert everything(database) == before


@pytest.mark.usefixtures("in_doubt")
async def test_an_answer_that_finds_no_cut_segment_is_not_written_into_the_history(database: Database) -> None:
    before = everything(database)
    async with worker_on(database) as worker:
        view = await worker.look()
        progress = view.observation.observed.progress
        assert progress is not None
        async with holding(worker.session, worker.site, view) as held:
            half = TargetHalf(held.session, held.target)
            with pytest.raises(RefusedError, match="segment 1 of version 2 was not cut"):
                async with fenced(held, "answering"):
                    await half.answer(held, replace(progress, done=()), Answer.DONE)
    assert everything(database) == before
