"""A dirty version table: what either program leaves, what the other says of it, and how either mends it."""

import pytest

from tests.fixtures.golang_migrate import Both
from tests.fixtures.workers import migrations_in, tables

BROKEN = {3: "CREATE TABLE t3 (a int); SELECT 1/0"}


def failed(both: Both) -> None:
    """It fails at the third migration."""
    migrations_in(both.source, BROKEN)
    both.theirs("up", code=1)
    migrations_in(both.source, tables(3))
    assert both.row() == "3|t"


def test_its_dirt_is_seen_and_explained_by_every_verb(both: Both) -> None:
    both.ours("up", 2)
    both.ours("wait", "--at-least", 2, "--timeout", "0")
    failed(both)
    newer = migrations_in(both.source.parent / "six", tables(1, 2, 3, 4, 5, 6))

    for verb in (("up",), ("plan",), ("goto", 1), ("down", "--yes"), ("admin", "adopt"), ("publish", newer)):
        said = both.ours(*verb, code=3)
        assert "the version table is dirty at version 3: a run of golang-migrate failed there" in said, verb
        assert "tidegate force 3 if that migration is complete" in said, verb
    assert both.ours("version").strip() == "3 (dirty)"
    assert "3 (dirty)" in both.ours("status")
    both.ours("wait", "--at-least", 2, "--timeout", "0", code=4)

    assert both.there() == ["t1", "t2"]


@pytest.mark.parametrize("mender", ["ours", "theirs"])
def test_either_mends_its_dirt_and_we_go_on(both: Both, mender: str) -> None:
    failed(both)
    getattr(both, mender)("force", 2)
    both.ours("up")

    assert (both.row(), both.there()) == ("5|f", ["t1", "t2", "t3", "t4", "t5"])
    both.ours("wait", "--at-least", 5, "--timeout", "0")


def test_what_we_mended_is_clean_for_it(both: Both) -> None:
    failed(both)
    both.ours("force", 2)

    both.theirs("up")

    assert both.row() == "5|f"
    both.ours("up")


def test_a_failed_migration_of_ours_leaves_it_no_dirt(both: Both) -> None:
    migrations_in(both.source, BROKEN)
    both.ours("up", code=1)

    assert both.theirs("version").strip() == "2"
    migrations_in(both.source, tables(3))
    both.theirs("up")
    assert "0 migrations run, 3 adopted" in both.ours("up")


def test_a_half_done_migration_of_ours_is_dirt_to_it_until_we_finish_it(both: Both) -> None:
    migrations_in(both.source, {3: "CREATE UNIQUE INDEX CONCURRENTLY i3 ON t1 (a)"})
    both.ours("up", 2)
    both.database.psql("INSERT INTO t1 VALUES (1), (1)")
    both.ours("up", code=1)

    assert both.theirs("version").strip() == "3 (dirty)"
    assert "Dirty database version 3" in both.theirs("up", code=1)
    both.ours("admin", "adopt", code=3)
    both.database.psql("TRUNCATE t1")
    both.ours("up")

    assert "no change" in both.theirs("up")
    assert both.database.psql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i3'::regclass") == "t"


def test_dirt_of_ours_that_it_forced_away_has_to_be_settled(both: Both) -> None:
    migrations_in(both.source, {3: "CREATE UNIQUE INDEX CONCURRENTLY i3 ON t1 (a)"})
    both.ours("up", 2)
    both.database.psql("INSERT INTO t1 VALUES (1), (1)")
    both.ours("up", code=1)
    both.theirs("force", 2)

    for verb in (("up",), ("admin", "adopt")):
        said = both.ours(*verb, code=3)
        assert "migration 3 (up) is half done, but the version table says 2 and is clean" in said
        assert "tidegate force 3" in said

    both.database.psql("TRUNCATE t1; DROP INDEX i3")
    both.ours("force", 2)
    both.ours("up")
    assert both.row() == "5|f"
