"""What a command has to do does not depend on who listens to it."""

from pathlib import Path

import pytest

from tests.fixtures.command_line import redirected
from tests.fixtures.servers import Database


@pytest.fixture
def words(database: Database, tmp_path: Path) -> tuple[object, ...]:
    """`up`, with something to do."""
    (tmp_path / "1_table.up.sql").write_text("CREATE TABLE made (id bigint)")
    (tmp_path / "1_table.down.sql").write_text("DROP TABLE made")
    return "--source", tmp_path, "--database", database.dsn


def made(database: Database) -> bool:
    return database.psql("SELECT to_regclass('made') IS NOT NULL") == "t"


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_migrations_are_applied_where_nobody_listens(
    database: Database, words: tuple[object, ...], streams: str
) -> None:
    assert redirected(streams, "up", *words).returncode == 0
    assert made(database)
    assert redirected(streams, "status", *words).returncode == 0


def test_a_report_that_cannot_be_written_is_an_error_behind_what_was_done(
    database: Database, words: tuple[object, ...]
) -> None:
    said = redirected(">/dev/full", "up", "--json", *words)
    assert said.returncode == 2
    assert "tidegate: standard output cannot be written: No space left on device\n" in said.stderr
    assert "Traceback" not in said.stderr
    assert made(database)


def test_a_question_that_nobody_can_answer_is_answered_with_no(database: Database, words: tuple[object, ...]) -> None:
    assert redirected("", "up", *words).returncode == 0
    said = redirected("<&-", "down", *words)
    assert said.returncode == 2
    assert said.stderr == "tidegate: undoing migrations has to be confirmed\n  hint: say --yes\n"
    assert made(database)
