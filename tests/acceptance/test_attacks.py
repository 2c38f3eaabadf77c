"""What each role of `admin grants` can try to have its SQL run by another one; nothing of it may work."""

from itertools import product
from pathlib import Path

import pytest

from tests.fixtures.command_line import call
from tests.fixtures.processes import StartTidegate
from tests.fixtures.roles import RoleSet, psql_at
from tests.fixtures.servers import Database
from tests.fixtures.shadows import shadow
from tests.fixtures.workers import applied, complaints, migrations_in, start_worker, tables

PUBLISH = (
    "SELECT outcome FROM tidegate.publish({line}, {label}, ARRAY['{name}'], "
    "ARRAY[convert_to('{sql}', 'UTF8')], intent => 'explicit')"
)
FORGED = """
INSERT INTO tidegate.bundle (line, label, digest, names, checksums, required, intent)
SELECT line, 'forged', {digest}, names, {checksums}, required, intent FROM tidegate.bundle
"""
MINE = """
INSERT INTO tidegate.bundle (line, label, digest, names, checksums, required, intent, published_by, published_at)
SELECT line, 'mine', digest, names, checksums, required, intent, 'somebody', '2001-01-01' FROM tidegate.bundle;
UPDATE tidegate.bundle SET withdrawn_at = now(), withdrawn_by = 'somebody' WHERE label = 'mine';
"""
RIGHTS = "{INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}"


def publish(
    label: str, sql: str, name: str = "0002_m2.up.sql", line: str = "schema_migrations", label_is: str = "text"
) -> str:
    return PUBLISH.format(line=f"'{line}'", label="NULL" if label_is == "null" else f"'{label}'", sql=sql, name=name)


def test_no_login_may_write_a_control_table_or_put_a_trigger_on_it(installed: RoleSet) -> None:
    held = installed.database.psql(
        f"SELECT r.rolname, t.tablename, p.privilege FROM pg_roles AS r, pg_tables AS t, unnest('{RIGHTS}'::text[]) "
        f"AS p (privilege) WHERE r.rolname LIKE '{installed.base}%' AND r.rolname <> '{installed.owner}' "
        f"AND r.rolname <> '{installed.migrator}' AND t.schemaname = 'tidegate' "
        "AND has_table_privilege(r.oid, format('%I.%I', t.schemaname, t.tablename), p.privilege)"
    )
    assert held == ""


def test_an_older_set_ups_rights_on_the_tables_go(installed: RoleSet) -> None:
    publisher = f'"{installed.base}_publisher"'
    installed.database.psql(
        f"GRANT INSERT, UPDATE ON tidegate.bundle, tidegate.bundle_file TO {publisher};"
        f"GRANT USAGE ON SEQUENCE tidegate.wanted_seq TO {publisher}"
    )

    installed.set_up()

    test_no_login_may_write_a_control_table_or_put_a_trigger_on_it(installed)


def test_a_publisher_publishes_and_withdraws_by_the_function_alone(installed: RoleSet, tmp_path: Path) -> None:
    source, publisher = migrations_in(tmp_path / "two", tables(1, 2)), {"DB_URL": installed.dsn("publisher")}

    call("publish", source, "--label", "2", **publisher).is_fine("published, and wanted now")
    call("publish", source, "--label", "2", **publisher).is_fine("nothing to do")
    call("bundle", "withdraw", "2", **publisher).is_fine()
    call("publish", source, "--label", "2", **publisher).is_fine("wanted again")

    said = installed.database.psql("SELECT label, published_by FROM tidegate.bundle ORDER BY id")
    assert said.split() == [f"1|{installed.migrator}", f"2|{installed.base}_publisher"]
    call("up", **installed.migrating).is_fine()
    assert applied(installed.database) == ["1", "2"]


def test_only_a_publisher_may_execute_the_functions(installed: RoleSet) -> None:
    for role in ("api", "reader"):
        assert "permission denied for function publish" in installed.psql(role, publish("x", "SELECT 1"))
        assert "permission denied" in installed.psql(role, "SELECT tidegate.withdraw('schema_migrations', '1')")


FORGERIES = (
    "UPDATE tidegate.bundle SET wanted_seq = 99",
    "UPDATE tidegate.bundle SET published_by = 'somebody'",
    "DELETE FROM tidegate.bundle",
    "TRUNCATE tidegate.bundle CASCADE",
    "UPDATE tidegate.bundle_file SET content = 'DROP TABLE t1'",
    "INSERT INTO tidegate.bundle_file VALUES (repeat('0', 64), 'SELECT 1')",
    "SELECT nextval('tidegate.wanted_seq')",
    "UPDATE tidegate.readiness SET bundles = '{x}'",
    "UPDATE tidegate.fence SET epoch = 99",
    "SELECT tidegate.hold_fence('public.schema_migrations', 1, NULL)",
    "SELECT tidegate.record_applied('public.schema_migrations', 1, NULL, 9, 'x', 'x', 'x', 'x', 'x', 0, NULL)",
    "CREATE TRIGGER x BEFORE UPDATE ON tidegate.ledger EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE x AS ON INSERT TO tidegate.ledger DO INSTEAD NOTHING",
    "CREATE FUNCTION tidegate.ready(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE tidegate.bundle ENABLE ROW LEVEL SECURITY",
)


def test_no_login_can_forge(installed: RoleSet) -> None:
    for role, forged in product(("api", "publisher", "reader"), FORGERIES):
        answer = installed.psql(role, forged)
        assert "permission denied" in answer or "must be owner" in answer or "is not a view" in answer, (
            role,
            forged,
            answer,
        )


REFUSED = (
    (publish("1", "CREATE TABLE evil (a int)"), "published before with other content"),
    (publish("../x", "SELECT 1"), "a label takes"),
    (publish("2", "SELECT 1", name="../0002_x.up.sql"), "neither a migration's file name"),
    (publish("2", "SELECT 1", name="0002_x.up.sql.d/a"), "neither a migration's file name"),
    (publish("2", "SELECT 1", name="readme.md"), "neither a migration's file name"),
    (publish("2", "SELECT 1", name="9223372036854775808_x.up.sql"), "neither a migration's file name"),
    (publish("2", "SELECT 1", name=f"{'9' * 240}_x.up.sql"), "neither a migration's file name"),
    (publish("2", "SELECT 1", name=f"{'1' * 150_000}_x.up.sql"), "neither a migration's file name"),
    (publish("2", "SELECT 1", name="bundle.toml"), "at least one migration"),
    (publish("2", "SELECT 1", line=""), "a line takes"),
    (
        "SELECT tidegate.publish('l', '2', ARRAY['1_a.up.sql', '01_b.up.sql'], ARRAY['', '']::bytea[])",
        "not the only",
    ),
    ("SELECT tidegate.publish('l', '2', ARRAY['1_a.up.sql'], ARRAY[]::bytea[])", "as many contents as names"),
    ("SELECT tidegate.publish('l', '2', ARRAY['1_a.up.sql'], ARRAY['\\xff']::bytea[])", "invalid byte sequence"),
    (
        "SELECT tidegate.publish('l', '2', ARRAY['1_a.up.sql'], ARRAY['']::bytea[], '{2}')",
        "a version that the bundle",
    ),
    (
        "SELECT tidegate.publish('l', '2', ARRAY['1_a.up.sql'], ARRAY['']::bytea[], '{1,NULL}')",
        "a version that the bundle",
    ),
    ("SELECT tidegate.publish('l', '2', ARRAY['1_a.up.sql'], ARRAY['']::bytea[], serves => 2)", "serves is above"),
    (
        "SELECT tidegate.publish('l', '2', ARRAY['1_a.up.sql'], ARRAY['']::bytea[], order_policy => 'x')",
        "violates check",
    ),
    ("SELECT tidegate.publish('l', '2', ARRAY['1_a.up.sql'], ARRAY['']::bytea[], intent => 'x')", "intent takes"),
)


def test_the_function_refuses_what_tidegate_publish_refuses(installed: RoleSet) -> None:
    before = installed.database.psql("SELECT count(*) FROM tidegate.bundle")
    for forged, words in REFUSED:
        assert words in installed.psql("publisher", forged)
    assert installed.database.psql("SELECT count(*) FROM tidegate.bundle") == before


KEPT = (
    ("UPDATE tidegate.bundle SET names = '{}', checksums = '{}'", "neither changed nor removed"),
    ("UPDATE tidegate.bundle SET published_by = 'somebody'", "neither changed nor removed"),
    ("UPDATE tidegate.bundle SET required = '{}'", "neither changed nor removed"),
    ("DELETE FROM tidegate.bundle", "neither changed nor removed"),
    ("TRUNCATE tidegate.bundle CASCADE", "neither changed nor removed"),
    ("UPDATE tidegate.bundle_file SET content = ''", "neither changed nor removed"),
    ("DELETE FROM tidegate.bundle_file", "neither changed nor removed"),
    ("TRUNCATE tidegate.bundle_file", "neither changed nor removed"),
    ("INSERT INTO tidegate.bundle_file VALUES (repeat('0', 64), 'SELECT 1')", "not the SHA-256"),
    (FORGED.format(digest="repeat('0', 64)", checksums="checksums"), "the digest is not that of"),
    (FORGED.format(digest="digest", checksums="ARRAY[repeat('0', 64)]"), "not stored"),
)


def test_whoever_may_write_the_rows_changes_nothing_that_was_published(installed: RoleSet) -> None:
    """With every right on the rows, and with settings that would change what the triggers' own words mean."""
    database, api = installed.database, installed.api
    database.psql(f'GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA tidegate TO "{api}"')
    shadow(database, "evil")
    database.psql(f'ALTER ROLE "{api}" SET search_path = evil, pg_catalog')
    settings = "SET standard_conforming_strings = off; SET transform_null_equals = on; SET quote_all_identifiers = on;"

    for forged, words in KEPT:
        assert words in installed.psql("api", settings + forged.replace("repeat(", "pg_catalog.repeat("))


def test_who_published_and_who_took_back_cannot_be_said_otherwise(installed: RoleSet) -> None:
    database, api = installed.database, installed.api
    database.psql(f'GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA tidegate TO "{api}"')
    installed.psql("api", MINE)
    said = database.psql(
        "SELECT published_by, withdrawn_by, published_at > '2002-01-01' FROM tidegate.bundle WHERE label = 'mine'"
    )
    assert said == f"{api}|{api}|t"


LIE = (
    "SELECT outcome FROM tidegate.publish('schema_migrations', '2', ARRAY['0001_m1.up.sql', '0002_m2.up.sql'], "
    "ARRAY[convert_to(E'CREATE TABLE t1 (a int);\\n', 'UTF8'), 'CREATE TABLE t2 (a int)'], '{}')"
)


def test_rows_that_do_not_say_what_the_files_say_are_not_run(installed: RoleSet) -> None:
    assert installed.psql("publisher", LIE) == "published"

    call("up", **installed.migrating).is_error(3, "bundle 2: its row does not say what its files say")

    assert applied(installed.database) == ["1"]


def test_a_worker_refuses_what_a_publisher_lied_about_and_applies_what_comes_behind_it(
    installed: RoleSet, tidegate: StartTidegate, tmp_path: Path
) -> None:
    worker = start_worker(tidegate, installed.dsn("migrator"), "--migrations-options", f"-c role={installed.owner}")
    worker.until("/readyz?at_least=1")
    assert installed.psql("publisher", LIE) == "published"
    refused = worker.process.wait_for_event("job.failed")
    assert refused["outcome"] == "refused"
    assert "bundle 2: its row does not say what its files say" in refused["message"]
    assert worker.answers("/readyz?at_least=1") == 200

    folder = migrations_in(tmp_path / "3", tables(1, 3))
    call("publish", folder, "--label", "3", **installed.migrating).is_fine("3")
    worker.until("/readyz?at_least=3")
    assert applied(installed.database) == ["1", "3"]
    assert worker.stop() == 0


STEAL = "CREATE FUNCTION {name} RETURNS {type} LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$captured$$; END';"
TRIGGER = STEAL.format(name="public.steal()", type="trigger") + (
    "CREATE TRIGGER {name} BEFORE INSERT OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION public.steal()"
)
CONDITION = STEAL.format(name="public.steal(bigint)", type="bool")
MAY_TRIGGER = 'GRANT TRIGGER ON {table} TO "{{publisher}}"; GRANT CREATE ON SCHEMA public TO "{{publisher}}"'
MAY_CREATE = 'GRANT CREATE ON SCHEMA tidegate TO "{publisher}"'
INTRUSIONS = {
    "a trigger": (
        MAY_TRIGGER.format(table="tidegate.ledger"),
        TRIGGER.format(name="tidegate_rows", table="tidegate.ledger"),
        "DROP TRIGGER tidegate_rows ON tidegate.ledger",
    ),
    "a trigger on the version table": (
        MAY_TRIGGER.format(table="schema_migrations"),
        TRIGGER.format(name="x", table="schema_migrations"),
        "DROP TRIGGER x ON public.schema_migrations",
    ),
    "a condition of a trigger that runs our own function": (
        MAY_TRIGGER.format(table="tidegate.ledger"),
        CONDITION + "CREATE TRIGGER tidegate_x BEFORE INSERT ON tidegate.ledger FOR EACH ROW "
        "WHEN (public.steal(NEW.version)) EXECUTE FUNCTION tidegate.guard_bundle()",
        "DROP TRIGGER tidegate_x ON tidegate.ledger",
    ),
    "our own trigger, replaced": (
        MAY_TRIGGER.format(table="tidegate.bundle"),
        CONDITION + "CREATE OR REPLACE TRIGGER tidegate_rows BEFORE INSERT OR UPDATE OR DELETE ON tidegate.bundle "
        "FOR EACH ROW WHEN (public.steal(1)) EXECUTE FUNCTION tidegate.guard_bundle()",
        "CREATE OR REPLACE TRIGGER tidegate_rows BEFORE INSERT OR UPDATE OR DELETE ON tidegate.bundle FOR EACH ROW",
    ),
    "our own trigger, made narrower": (
        MAY_TRIGGER.format(table="tidegate.bundle"),
        (
            "CREATE OR REPLACE TRIGGER tidegate_rows BEFORE INSERT ON tidegate.bundle "
            "FOR EACH ROW EXECUTE FUNCTION tidegate.guard_bundle()"
        ),
        "CREATE OR REPLACE TRIGGER tidegate_rows BEFORE INSERT OR UPDATE OR DELETE ON tidegate.bundle FOR EACH ROW",
    ),
    "a condition of a trigger on the version table that runs the server's function": (
        MAY_TRIGGER.format(table="schema_migrations"),
        CONDITION + "CREATE TRIGGER x BEFORE INSERT ON schema_migrations FOR EACH ROW "
        "WHEN (public.steal(NEW.version)) EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "DROP TRIGGER x ON public.schema_migrations",
    ),
    "a function": (
        MAY_CREATE,
        STEAL.format(name="tidegate.hold_fence(target text, epoch int, lock_key int)", type="void"),
        "DROP FUNCTION tidegate.hold_fence(text,integer,integer)",
    ),
    "a table": (MAY_CREATE, "CREATE TABLE tidegate.mine (a int)", "ALTER TABLE tidegate.mine OWNER TO"),
    "a rule": (
        "CREATE RULE x AS ON INSERT TO tidegate.history DO ALSO NOTIFY stolen",
        "SELECT 1",
        "DROP RULE x ON tidegate.history",
    ),
    "row security": (
        "ALTER TABLE tidegate.bundle ENABLE ROW LEVEL SECURITY",
        "SELECT 1",
        "ALTER TABLE tidegate.bundle DISABLE ROW LEVEL SECURITY",
    ),
}


@pytest.mark.parametrize("name", INTRUSIONS)
def test_what_is_not_tidegates_on_a_control_table_stops_the_worker(
    installed: RoleSet, tmp_path: Path, name: str
) -> None:
    database, publisher = installed.database, f"{installed.base}_publisher"
    given, planted, remedy = INTRUSIONS[name]
    source = migrations_in(tmp_path / "m", tables(1, 2))
    database.psql(given.format(publisher=publisher))
    assert "ERROR" not in installed.psql("publisher", planted)

    said = call("up", "--source", source, "--label", "2", **installed.migrating)
    said.is_error(3, "is not Tidegate's", remedy)
    assert "captured" not in said.all
    assert applied(database) == ["1"]
    found = call("doctor", "--json", **installed.migrating)
    (sql,) = [each["sql"] for each in found.document if each["check"] == "intruder"]
    assert found.code == 3

    database.psql(sql)

    call("up", "--source", source, "--label", "2", **installed.migrating).is_fine("version 2")


def test_forged_notifications_are_hints_and_no_more(installed: RoleSet, tidegate: StartTidegate) -> None:
    worker = start_worker(tidegate, installed.dsn("migrator"), "--migrations-options", f"-c role={installed.owner}")
    worker.until("/readyz?at_least=1")
    for payload in ("", "x", "schema_migrations", "{}", "'; DROP TABLE t1; --", "9" * 7999):
        for channel in ("tidegate_wake", "tidegate_ready"):
            quoted = payload.replace("'", "''")
            assert installed.psql("api", f"SELECT pg_notify('{channel}', '{quoted}')") == ""
    assert worker.answers("/livez") == 200
    assert worker.stop() == 0
    assert complaints(worker.process) == []
    assert applied(installed.database) == ["1"]


def test_another_roles_objects_in_the_application_do_not_stop_the_worker(database: Database, tmp_path: Path) -> None:
    """A trigger of the table's own owner on the version table is a person's own affair."""
    source = migrations_in(tmp_path / "m", tables(1))
    call("up", "--source", source, DB_URL=database.dsn).is_fine()
    psql_at(
        database,
        database.dsn,
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER note AFTER INSERT ON schema_migrations FOR EACH ROW EXECUTE FUNCTION note()",
    )
    migrations_in(source, tables(2))
    call("up", "--source", source, DB_URL=database.dsn).is_fine("version 2")
