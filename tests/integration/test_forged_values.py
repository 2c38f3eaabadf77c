"""Any value that a column can hold, in every column that a worker reads: it goes on, and runs what was signed alone."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.attacked import Scene, scene_of
from tests.fixtures.attacker import CANARY, has_canary
from tests.fixtures.servers import Database
from worker.cli.show.looks import rows
from worker.core.status.snapshot import Snapshot, TargetStatus
from worker.core.status.status_document import status_document
from worker.core.target import Target
from worker.errors import TidegateError
from worker.gauges import Gauges
from worker.http.page import render_page
from worker.jobs.status import panorama_of, target_status
from worker.postgres.home_half import HomeHalf
from worker.postgres.target_half import TargetHalf, read_readiness

INJECTION = f"x']::text[]); {CANARY}; --"
TEXTS = st.one_of(
    st.sampled_from(["", INJECTION, "\x1b[2J", "1.0", "2.0", "schema_migrations", "x" * 100_000, "9" * 400]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
)
NUMBERS = st.one_of(st.sampled_from([0, 1, 2, 3, -1, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1))
LARGE = st.one_of(NUMBERS, st.sampled_from([2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))
TIMES = st.sampled_from(
    ["infinity", "-infinity", "4713-01-01 00:00:00+00 BC", "294276-12-31 23:59:59+00", "10000-01-01 00:00:00+00",
     "9999-12-31 23:59:59.999999-12", "0001-01-01 00:00:00+12", "1970-01-01 00:00:00+00", "2999-01-01 00:00:00+00"]
)  # fmt: skip
DOCUMENTS = st.one_of(
    st.sampled_from(
        ["[" * 3000 + "]" * 3000, '{"failure": {"line": ' + "9" * 5000 + "}}", '{"reason": {"x": []}}', '{"hint": 7}',
         '{"failure": {"file": 1, "line": "x", "column": [], "sqlstate": {}, "message": null, "hint": 1}}',
         '{"message": ["x"], "reason": null}', '{"failure": [1]}', "1e400", "null", '"x"']
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["reason", "message", "hint", "failure", "file", "line"]), inner, max_size=4),
        max_leaves=6,
    ).map(json.dumps),
)  # fmt: skip
NUMBER_ARRAYS = [
    "{}",
    "{NULL}",
    "{{1,2},{3,4}}",
    "[7:8]={1,2}",
    "{{NULL}}",
    "{9223372036854775807}",
    "{1,1,2}",
    "{2,1}",
]
TEXT_ARRAYS = ["{}", "{NULL}", "{{a,b},{c,d}}", "[7:8]={a,b}", "{1.0}", "{2.0,NULL}", '{""}']
VALUES: dict[str, st.SearchStrategy[str]] = {
    "text": TEXTS,
    "bigint": LARGE.map(str),
    "integer": NUMBERS.map(str),
    "xid8": st.sampled_from(["0", "3", "4294967296", "18446744073709551615"]),
    "boolean": st.sampled_from(["true", "false"]),
    "timestamp with time zone": TIMES,
    "double precision": st.sampled_from(["NaN", "Infinity", "-Infinity", "1e308", "-1"]),
    "jsonb": DOCUMENTS,
    "bytea": st.binary(max_size=40).map(lambda raw: f"\\x{raw.hex()}"),
    "bigint[]": st.sampled_from(NUMBER_ARRAYS),
    "text[]": st.sampled_from(TEXT_ARRAYS),
}
COLUMNS = """
SELECT c.relname AS table, a.attname AS column, format_type(a.atttypid, NULL) AS type, a.attnotnull AS needed
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'tidegate'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attidentity = '' AND c.relname NOT IN ('target_version', 'home_version') ORDER BY 1, a.attnum
"""
# What is there to be forged besides a bundle and what it left: a job, a segment that was cut, and a pin.
MORE = {
    "job": "INSERT INTO tidegate.job (target_id, bundle_id, state, failure, worker) "
    "SELECT t.id, b.id, 'failed', '{}', 'w' FROM tidegate.target AS t, tidegate.bundle AS b WHERE b.label = '2.0'",
    "journal": "INSERT INTO tidegate.journal (target, version, direction, segment, digest, state, epoch) "
    "VALUES ('public.schema_migrations', 2, 'up', 0, 'x', 'intent', 1)",
    "fence": "UPDATE tidegate.fence SET pinned = 'down', pinned_at = '2001-01-01' "
    "WHERE target = 'public.schema_migrations'",
}
KEEP = """
CREATE SCHEMA kept;
DO $$
DECLARE n name;
BEGIN
    FOR n IN SELECT relname FROM pg_class WHERE relnamespace = 'tidegate'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('CREATE TABLE kept.%I AS TABLE tidegate.%I', n, n);
    END LOOP;
END $$
"""
RESTORE = """
SET session_replication_role = replica;
DROP TABLE IF EXISTS t2;
DELETE FROM schema_migrations;
INSERT INTO schema_migrations VALUES (1, false);
DO $$
DECLARE n name;
BEGIN
    FOR n IN SELECT relname FROM pg_class WHERE relnamespace = 'kept'::regnamespace LOOP
        EXECUTE format('DELETE FROM tidegate.%I', n);
        EXECUTE format('INSERT INTO tidegate.%I OVERRIDING SYSTEM VALUE SELECT * FROM kept.%I', n, n);
    END LOOP;
END $$
"""


@dataclass
class Forgery:
    """A scene with a second bundle published, and what stands in each table before a value is forged."""

    scene: Scene
    owner: asyncpg.Connection
    columns: list[asyncpg.Record]

    async def forge(self, table: str, column: str, kind: str, value: str | None) -> None:
        """Write the value into every row, look with every face, and put all of it back."""
        with suppress(asyncpg.PostgresError):
            if table in MORE:
                await self.owner.execute(MORE[table])
            await self.scene.attacker.run(
                f"UPDATE tidegate.{table} SET {column} = CAST(CAST($1 AS text) AS {kind})", value
            )
            await self.look()
        await self.owner.execute(RESTORE)

    async def look(self) -> None:
        """Each face reads, and a round works; what they refuse they refuse with an error of their own."""
        worker = self.scene.worker
        session, target = worker.session, Target("public", "schema_migrations")
        with suppress(TidegateError):
            await worker.round()
        with suppress(TidegateError):
            view = await worker.look()
            shown = target_status(view, await panorama_of(session, view))
            show(snapshot_of(shown))
        with suppress(TidegateError):
            await HomeHalf(session, "schema_migrations").bundles()
        with suppress(TidegateError):
            await TargetHalf(session, target).history(20)
        with suppress(TidegateError):
            await read_readiness(session.conn, session.control, None)
        assert not await has_canary(self.scene.database)
        assert not session.conn.is_in_transaction()


def show(snapshot: Snapshot) -> None:
    """Every face of a worker, and the command."""
    json.dumps(status_document(snapshot), allow_nan=False).encode()
    render_page(snapshot, None).encode()
    "".join(value for _, value in rows(snapshot.targets[0])).encode()
    gauges = Gauges()
    gauges.observe(snapshot)
    assert list(gauges.collect())


def snapshot_of(status: TargetStatus) -> Snapshot:
    now = datetime.now(UTC)
    return Snapshot(
        "w", "1", now, now, None, draining=False, listening=False, holds_lock=False, running=None, targets=(status,)
    )


@asynccontextmanager
async def forgery(database: Database, directory: Path) -> AsyncIterator[Forgery]:
    async with scene_of(database, directory) as scene:
        await scene.worker.publish(scene.two)
        await database.execute(KEEP)
        owner = await database.connect()
        try:
            yield Forgery(scene, owner, await owner.fetch(COLUMNS))
        finally:
            await owner.close()


# An example is a round, and several looks.
@settings(
    max_examples=(settings().max_examples + 1) // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def check(portal: BlockingPortal, forged: Forgery, data: st.DataObject) -> None:
    found = data.draw(st.sampled_from(forged.columns))
    values = VALUES[found["type"]]
    value = data.draw(values if found["needed"] else st.none() | values)
    portal.call(forged.forge, found["table"], found["column"], found["type"], value)


def test_no_value_of_a_row_stops_the_worker_or_becomes_sql(database: Database, tmp_path: Path) -> None:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(forgery(database, tmp_path / "keys")) as forged,
    ):
        assert len(forged.columns) > 60
        check(portal, forged)
