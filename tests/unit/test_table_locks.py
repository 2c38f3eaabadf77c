"""What of a migration's table locks its text tells, where no transaction can show it, and what it does not tell."""

import pytest

from worker.core.bundles.migration import Directives
from worker.core.sql.script import read_script
from worker.core.sql.statement_locks import locks_of, statement_locks
from worker.core.sql.table_locks import LockMode, MigrationLocks, Relation, Whose


def taken(sql: str) -> MigrationLocks:
    return locks_of(read_script(sql, Directives()))


@pytest.mark.parametrize(
    ("statement", "name", "mode", "whose"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "t", LockMode.SHARE_UPDATE_EXCLUSIVE, Whose.OWN),
        ("DROP INDEX CONCURRENTLY IF EXISTS i", "i", LockMode.SHARE_UPDATE_EXCLUSIVE, Whose.TABLE_OF_INDEX),
        ("REINDEX INDEX CONCURRENTLY i", "i", LockMode.SHARE_UPDATE_EXCLUSIVE, Whose.TABLE_OF_INDEX),
        ("REINDEX (CONCURRENTLY) TABLE t", "t", LockMode.SHARE_UPDATE_EXCLUSIVE, Whose.OWN),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", "m", LockMode.EXCLUSIVE, Whose.OWN),
        ("VACUUM t", "t", LockMode.SHARE_UPDATE_EXCLUSIVE, Whose.OWN),
        ("VACUUM (ANALYZE, FULL) t (a)", "t", LockMode.ACCESS_EXCLUSIVE, Whose.OWN),
        ("VACUUM FULL VERBOSE t", "t", LockMode.ACCESS_EXCLUSIVE, Whose.OWN),
    ],
)
def test_what_no_transaction_holds_is_told_too(statement: str, name: str, mode: LockMode, whose: Whose) -> None:
    (lock,) = statement_locks(statement).locks

    assert (lock.relation, lock.mode, lock.whose) == (Relation("", name), mode, whose)


@pytest.mark.parametrize(
    "statement",
    [
        "DO $$ BEGIN DROP TABLE t; END $$",
        "CALL tidy()",
        "SELECT rebuild('t')",
        "INSERT INTO t SELECT other.rebuild(1)",
        "CREATE TABLE n AS SELECT rebuild()",
        "CREATE EXTENSION hstore",
        "CREATE MATERIALIZED VIEW n AS SELECT rebuild()",
        "ALTER TABLE t DROP COLUMN a CASCADE",
        "DROP TABLE t CASCADE",
        "DROP TYPE mood CASCADE",
        "ALTER TABLE ALL IN TABLESPACE x SET TABLESPACE y",
        "VACUUM",
        "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z",
        "DROP TABLE a.b.c",
        "ALTER TABLE",
        "GIBBERISH",
    ],
)
def test_what_the_text_does_not_tell_is_called_unknown(statement: str) -> None:
    assert statement_locks(statement).may_be_more


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u ON DELETE CASCADE ON UPDATE CASCADE",
        "CREATE TABLE n (a numeric(10, 2) GENERATED ALWAYS AS (b * 2) STORED, c varchar(9) DEFAULT now())",
    ],
)
def test_what_only_looks_as_if_it_locked_more_is_not_called_unknown(statement: str) -> None:
    assert not statement_locks(statement).may_be_more


def test_a_table_that_may_be_there_already_counts() -> None:
    found = taken("CREATE TABLE IF NOT EXISTS t (a int);\nALTER TABLE t ADD b int;")

    assert [lock.relation.name for lock in found.locks] == ["t"]


@pytest.mark.parametrize("statement", ["SELECT count(*) FROM t", "SET search_path = a", "SELECT setval('s', 1)", ";"])
def test_what_locks_no_table_is_not_called_unknown(statement: str) -> None:
    assert not statement_locks(statement).may_be_more
    assert statement_locks(statement).locks == ()


def test_the_strongest_lock_on_a_table_counts() -> None:
    found = taken("UPDATE t SET a = 1;\nALTER TABLE t ADD b int;\nCREATE INDEX i ON t (a);")

    assert [(lock.relation.name, lock.mode) for lock in found.locks] == [("t", LockMode.ACCESS_EXCLUSIVE)]


def test_a_table_that_the_migration_creates_keeps_nobody_waiting() -> None:
    found = taken("CREATE TABLE n (a int REFERENCES t);\nCREATE INDEX i ON n (a);\nINSERT INTO n VALUES (1);")

    assert [(lock.relation.name, lock.mode) for lock in found.locks] == [("t", LockMode.SHARE_ROW_EXCLUSIVE)]


def test_the_lines_that_may_lock_more_are_named() -> None:
    assert taken("CREATE TABLE a (b int);\n\nDO 'BEGIN END';\nCALL x();").unknown == (3, 4)


@pytest.mark.parametrize(
    ("name", "relation"),
    [
        ("Orders", Relation("", "orders")),
        ('"Orders"', Relation("", "Orders")),
        ('Public."a ""b"""', Relation("public", 'a "b"')),
        ("a . b", Relation("a", "b")),
        ("/* x */ ä", Relation("", "ä")),
    ],
)
def test_names_are_folded_as_the_server_does(name: str, relation: Relation) -> None:
    (lock,) = statement_locks(f"TRUNCATE {name}").locks

    assert lock.relation == relation
