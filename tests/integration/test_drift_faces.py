"""How drift is told: by the command, and by a worker's events, metric and status document."""

from pathlib import Path

import anyio

from tests.fixtures.cluster import PASSWORD
from tests.fixtures.command_line import call, content
from tests.fixtures.older_control import make_older_control
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.sites import bundle_of, tables
from tests.fixtures.workers import eventually, migrations_in, start_worker


def test_a_worker_tells_it_by_event_metric_and_status(
    database: Database, tidegate: StartTidegate, tmp_path: Path
) -> None:
    source = migrations_in(tmp_path / "m", {1: "CREATE TABLE t1 (a int);"})
    often = ("--drift-interval", "100ms", "--poll-interval", "100ms")
    running = start_worker(tidegate, database.dsn, "--source", source, *often)
    series = 'tidegate_drift_objects{target="public.schema_migrations"}'
    running.until("/readyz")
    eventually(lambda: running.target()["drift"] is not None and running.target()["drift"]["objects"] == 0, "no drift")

    database.psql("ALTER TABLE t1 ADD note text")
    running.process.wait_for_event("drift.found")
    eventually(lambda: running.metric(series) == 1, "the metric says 1")
    assert running.target()["drift"]["differences"][0]["object"] == "public.t1.note"
    database.psql("ALTER TABLE t1 DROP note")
    running.process.wait_for_event("drift.gone")
    eventually(lambda: running.metric(series) == 0, "the metric says 0")

    assert running.stop() == 0
    told = [event["event"] for event in running.process.events if event.get("event", "").startswith("drift.")]
    assert told == ["drift.found", "drift.gone"]


def test_status_prints_it_and_writes_nothing(database: Database, tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_text("CREATE TABLE a (b int NOT NULL)")
    call("status", "--drift", DB_URL=database.dsn).is_fine("drift is not known: there is no control schema yet")
    call("up", "-s", tmp_path, "--label", "1.0", DB_URL=database.dsn).is_fine()
    call("status", "--drift", DB_URL=database.dsn).is_fine("no drift since bundle 1.0")
    database.psql("ALTER TABLE a ALTER b TYPE bigint")
    before = content(database)

    call("status", "--drift", DB_URL=database.dsn).is_fine(
        "1 object is not what bundle 1.0 left", "public.a.b  type  integer  bigint  1.0"
    )
    document = call("status", "--drift", "--json", DB_URL=database.dsn).document

    assert content(database) == before
    assert document.pop("taken_at").endswith("Z")
    assert document == {
        "target": "public.schema_migrations",
        "unknown": None,
        "bundle": "1.0",
        "differences": [
            {
                "kind": "column",
                "object": "public.a.b",
                "change": "changed",
                "right_until": "1.0",
                "parts": [{"part": "type", "was": "integer", "now": "bigint"}],
            }
        ],
    }
    call("admin", "fingerprint", DB_URL=database.dsn).is_fine("public.a.b", "the catalogue is right as it is now")
    call("status", "--drift", DB_URL=database.dsn).is_fine("no drift since bundle 1.0")


def test_a_secret_in_the_catalogue_is_not_printed(database: Database, tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_text("CREATE TABLE a (b text DEFAULT 'none')")
    call("up", "-s", tmp_path, DB_URL=database.dsn).is_fine()
    database.psql(f"ALTER TABLE a ALTER b SET DEFAULT 'is {PASSWORD}'")

    for command in (("status", "--drift"), ("status", "--drift", "--json"), ("admin", "fingerprint")):
        said = call(*command, DB_URL=database.dsn)
        said.is_fine("public.a.b", "is ***")
        assert PASSWORD not in said.all


def test_an_older_control_schema_has_no_fingerprint_until_it_is_asked_for(database: Database) -> None:
    one = bundle_of(tables(1, 2), "1.0")
    anyio.run(make_older_control, database, one, 1, 2)
    before = content(database)
    call("status", "--drift", DB_URL=database.dsn).is_fine("drift is not known: the control schema is older")
    assert content(database) == before
    call("admin", "fingerprint", DB_URL=database.dsn).is_fine("right as it is now")
    call("status", "--drift", DB_URL=database.dsn).is_fine("no drift since bundle 1.0")


def test_a_role_that_may_not_read_the_fingerprint_is_told_what_it_lacks(database: Database, tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_text("CREATE TABLE a (b int)")
    call("up", "-s", tmp_path, DB_URL=database.dsn).is_fine()
    role = f"reader_{database.name}"
    database.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA tidegate TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA tidegate, public TO {role};"
        f"REVOKE ALL ON tidegate.fingerprint, tidegate.fingerprint_object FROM {role}"
    )
    said = call("status", "--drift", DB_URL=database.dsn_as(role))
    database.psql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    said.is_error(3, "fingerprint", "GRANT")
