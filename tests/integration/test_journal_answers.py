"""A statement in doubt: what a person answers about it at the command line, and what the next run makes of that."""

from pathlib import Path

import pytest

from tests.fixtures.command_line import Said, call, files
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import start_worker

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


def test_an_answer_to_another_question_is_refused_and_changes_nothing(database: Database, in_doubt: Path) -> None:
    before = database.psql(JOURNAL)
    told(database, "retry", "--segment", "done", "--at", "2:4").is_error(3, "about 2:2 by now, and not about 2:4")
    told(database, "retry", "--segment", "done").is_error(2, "--segment needs --at")
    told(database, "retry", "--segment", "done", "--at", "two").is_error(2, "a version and a segment")
    assert database.psql(JOURNAL) == before
    assert in_doubt.exists()


def test_a_running_worker_goes_on_when_it_is_answered(
    database: Database, in_doubt: Path, tidegate: StartTidegate
) -> None:
    worker = start_worker(tidegate, database.dsn, "--source", in_doubt)
    worker.process.wait_for_event("worker.started")

    told(database, "retry", "--segment", "done", "--at", "2:2").is_fine("the workers are told")

    worker.until("/readyz?at_least=2")
    is_complete(database)
