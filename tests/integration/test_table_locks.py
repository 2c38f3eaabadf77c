"""The table from statements to lock modes, held to what a real server takes."""

from collections.abc import Iterator

import pytest

from tests.fixtures.servers import Server, fresh_database
from worker.core.sql.statement_locks import statement_locks
from worker.core.sql.table_locks import LockMode, Whose, summed

SETUP = """
CREATE TABLE parent (a int PRIMARY KEY);
CREATE TABLE t (a int PRIMARY KEY, b int, c text NOT NULL DEFAULT '');
CREATE INDEX i ON t (b);
CREATE TABLE u (a int, b int);
ALTER TABLE u ADD CONSTRAINT positive CHECK (b > 0) NOT VALID;
CREATE TABLE p (a int, b int) PARTITION BY RANGE (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 (a int, b int);
CREATE VIEW v AS SELECT a FROM t;
CREATE MATERIALIZED VIEW m AS SELECT a FROM t;
CREATE SEQUENCE s;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touched();
CREATE RULE quiet AS ON INSERT TO u DO ALSO NOTHING;
CREATE POLICY own ON t USING (true);
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE SCHEMA other; CREATE TABLE other."T x" (a int); CREATE TABLE heir (a int, b int); CREATE TABLE elder (a int);
CREATE TABLE before AS SELECT oid, relkind, relname FROM pg_class WHERE oid >= 16384 AND relkind <> 't';
"""

STATEMENTS = (
    "CREATE TABLE n (a int GENERATED ALWAYS AS IDENTITY, c varchar(20))",
    "CREATE TABLE n (a int REFERENCES parent (a), b int REFERENCES public.t)",
    "CREATE TABLE n PARTITION OF p FOR VALUES FROM (10) TO (20)",
    "CREATE TABLE n () INHERITS (t)",
    "CREATE UNIQUE INDEX n ON ONLY t USING btree (b)",
    "create index if not exists n on public.t (b) where b > 0",
    "DROP INDEX i",
    "ALTER INDEX i RENAME TO j",
    "ALTER INDEX i SET (fillfactor = 70)",
    "DROP TABLE u",
    'DROP TABLE IF EXISTS u, other."T x"',
    "ALTER TABLE t ADD COLUMN n int",
    "ALTER TABLE IF EXISTS ONLY t ADD n int, ALTER COLUMN b SET STATISTICS 10",
    "ALTER TABLE t ALTER COLUMN b SET STATISTICS 10",
    "ALTER TABLE t ALTER b SET (n_distinct = 5)",
    "ALTER TABLE t ALTER COLUMN c SET STORAGE external",
    "ALTER TABLE t SET (fillfactor = 70, autovacuum_enabled = false)",
    "ALTER TABLE t RESET (autovacuum_enabled)",
    "ALTER TABLE u VALIDATE CONSTRAINT positive",
    "ALTER TABLE u ADD FOREIGN KEY (a) REFERENCES parent",
    "ALTER TABLE u ADD CONSTRAINT n FOREIGN KEY (a) REFERENCES parent (a) NOT VALID",
    "ALTER TABLE u ADD COLUMN n int REFERENCES parent (a)",
    "ALTER TABLE u ADD CONSTRAINT n CHECK (a > 0) NOT VALID",
    "ALTER TABLE t DISABLE TRIGGER touch",
    "ALTER TABLE t ENABLE ALWAYS TRIGGER touch",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE t RENAME COLUMN b TO n",
    "ALTER TABLE t RENAME TO n",
    "ALTER TABLE heir INHERIT elder",
    "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (50) TO (60)",
    "ALTER TABLE p DETACH PARTITION p1",
    'ALTER TABLE other."T x" OWNER TO CURRENT_USER',
    "CREATE TRIGGER n AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION touched()",
    "DROP TRIGGER touch ON t",
    "CREATE RULE n AS ON DELETE TO u DO ALSO NOTHING",
    "DROP RULE quiet ON u",
    "CREATE POLICY n ON t FOR SELECT USING (b > 0)",
    "ALTER POLICY own ON t USING (false)",
    "DROP POLICY own ON t",
    "CREATE STATISTICS n ON a, b FROM t",
    "COMMENT ON TABLE t IS 'x'",
    "COMMENT ON COLUMN public.t.b IS 'x'",
    "CREATE OR REPLACE VIEW v AS SELECT a FROM t WHERE a > 0",
    "CREATE VIEW n AS SELECT a FROM t",
    "DROP VIEW v",
    "DROP MATERIALIZED VIEW m",
    "REFRESH MATERIALIZED VIEW m",
    "ALTER VIEW v RENAME TO n",
    "ALTER SEQUENCE s RESTART",
    "DROP SEQUENCE s",
    "CREATE SEQUENCE n",
    "TRUNCATE TABLE ONLY t, u",
    "LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE",
    "LOCK t, u",
    "ANALYZE t (b)",
    "CLUSTER t USING i",
    "REINDEX TABLE t",
    "REINDEX INDEX i",
    "INSERT INTO t (a, b) VALUES (1, 2) ON CONFLICT (a) DO NOTHING",
    "UPDATE ONLY t SET b = 1 WHERE a = 1",
    "DELETE FROM t USING u WHERE t.a = u.a",
    "SELECT a FROM t WHERE b IN (1, 2)",
    "CREATE TABLE n AS SELECT * FROM t",
    "GRANT SELECT ON t TO CURRENT_USER",
    "ALTER TYPE mood RENAME VALUE 'a' TO 'c'",
    "CREATE FUNCTION n() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SET search_path = other",
)  # fmt: skip

STRENGTH = {mode.value.title().replace(" ", "") + "Lock": mode.strength for mode in LockMode}
TAKEN = """
\\echo STATEMENT {number}
BEGIN; {statement};
SELECT b.relname, b.relkind, l.mode FROM pg_locks AS l JOIN public.before AS b ON b.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') ORDER BY 1;
ROLLBACK;
"""
TABLE_OF = {"i": "t"}


@pytest.fixture(scope="module")
def taken(server: Server) -> Iterator[list[dict[str, str]]]:
    """For each statement the strongest lock on each relation that was there before."""
    with fresh_database(server) as database:
        database.psql(SETUP)
        script = "".join(TAKEN.format(number=number, statement=text) for number, text in enumerate(STATEMENTS))
        _, *said = database.psql(script).split("STATEMENT ")
        yield [_strongest(lines.splitlines()[1:], text) for lines, text in zip(said, STATEMENTS, strict=True)]


def _strongest(lines: list[str], statement: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, kind, mode = line.split("|")
        if (kind != "i" or "ALTER INDEX" in statement) and STRENGTH[mode] > STRENGTH.get(found.get(name, ""), 0):
            found[name] = mode
    return found


@pytest.mark.parametrize("number", range(len(STATEMENTS)), ids=STATEMENTS)
def test_a_statement_takes_the_locks_that_the_server_takes(taken: list[dict[str, str]], number: int) -> None:
    said = {
        TABLE_OF[lock.relation.name] if lock.whose is Whose.TABLE_OF_INDEX else lock.relation.name:
            lock.mode.value.title().replace(" ", "") + "Lock"
        for lock in summed([(1, statement_locks(STATEMENTS[number]))]).locks
    }  # fmt: skip

    assert said == taken[number]
