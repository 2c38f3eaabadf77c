"""The gate on a real server, as a role that may read readiness and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import asyncpg
import pytest

from tests.fixtures.cluster import Server, Shutdown, running_server
from tests.fixtures.gates import (
    TARGET,
    Heard,
    a_gate,
    dial,
    grant_reader,
    make_control_schema,
    make_control_schema_at,
    make_reader,
    notify,
    write_row,
)
from tests.fixtures.relay import Relay
from tests.fixtures.servers import Database
from worker import gate as gate_module
from worker.bundles.directory import read_directory
from worker.core.events.events import GateFound, GateOpened, GateWaiting
from worker.core.planning.readiness import AtLeast, OfBundle, Requirement
from worker.errors import ExitCode, JobFailedError, TimedOutError, UsageError
from worker.gate import Gate, OnFailure, directory_requirement, wait

FAR = 1000.0
"""A poll that does not come within a test."""

_SESSIONS = """
SELECT state, backend_xmin::text AS xmin, query FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# With replication's role, in which triggers do not fire: these bundles have no files.
_JOB = """
SET session_replication_role = replica;
INSERT INTO tidegate.bundle (line, label, digest, names, checksums, required, intent, wanted_seq)
VALUES ('app', '1.4.0', repeat('a', 64), '{}', '{}', '{}', 'explicit', 1);
INSERT INTO tidegate.target (name, line) VALUES ('public.schema_migrations', 'app');
INSERT INTO tidegate.job (target_id, bundle_id, state, failure)
SELECT t.id, b.id, 'failed', '{"message": "0002_b.up.sql:3: no such thing"}'
FROM tidegate.bundle AS b CROSS JOIN tidegate.target AS t;
"""


class Pause:
    """Jitter that tells when the gate asks for it: behind LISTEN and its second look, before it waits."""

    def __init__(self) -> None:
        self._begun = anyio.Event()

    def __call__(self) -> float:
        self._begun.set()
        return 0.0

    async def begun(self) -> None:
        with anyio.fail_after(20):
            await self._begun.wait()


@pytest.fixture
async def heard() -> Heard:
    return Heard()


@pytest.fixture
async def reader(database: Database) -> AsyncIterator[str]:
    """The control schema, and the URL of a role that may read readiness."""
    await make_control_schema(database)
    yield await make_reader(database)
    await drop_reader(database)


async def drop_reader(database: Database) -> None:
    await database.execute(f"DROP OWNED BY reader_{database.name}; DROP ROLE reader_{database.name}")


async def sessions(database: Database) -> list[tuple[str, str | None, str]]:
    return [tuple(row) for row in await database.fetch(_SESSIONS)]


async def refusal(gate: Gate) -> str:
    with pytest.raises(TimedOutError) as caught:
        await wait(gate)
    assert caught.value.exit_code is ExitCode.TIMED_OUT
    return f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize("requirement", [AtLeast(2), OfBundle("1.4.0")], ids=str)
async def test_what_is_ready_opens_at_once_and_leaves_no_session(
    database: Database, reader: str, heard: Heard, requirement: Requirement
) -> None:
    await write_row(database, 1, 2, bundles=("1.4.0",))

    await wait(a_gate(reader, requirement, heard, timeout=0))

    assert [event.requirement for event in heard.of(GateFound)] == [str(requirement)]
    assert (heard.of(GateWaiting), heard.of(GateOpened)) == ([], [])
    assert await sessions(database) == []


async def test_a_row_that_appears_opens_the_gate_by_its_notification_alone(
    database: Database, reader: str, heard: Heard
) -> None:
    pause = Pause()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, a_gate(reader, AtLeast(1), heard, poll=FAR, jitter=pause))
        await pause.begun()
        await write_row(database, 1)
        await notify(database)
        await heard.until(GateOpened)

    assert [event.why for event in heard.of(GateWaiting)] == ["no_row"]


async def test_a_row_that_nobody_tells_of_opens_the_gate_by_the_poll(
    database: Database, reader: str, heard: Heard
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, a_gate(reader, AtLeast(1), heard, poll=0.05))
        await heard.until(GateWaiting)
        await write_row(database, 1)
        await heard.until(GateOpened)


async def test_a_waiting_gate_idles_outside_any_transaction(database: Database, reader: str, heard: Heard) -> None:
    pause = Pause()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, a_gate(reader, AtLeast(1), heard, poll=FAR, jitter=pause))
        await pause.begun()
        idle = [(state, xmin) for state, xmin, _ in await sessions(database)]
        tasks.cancel_scope.cancel()

    assert idle == [("idle", None)]


async def test_version_one_passes_and_version_two_is_held_back(database: Database, reader: str, heard: Heard) -> None:
    await write_row(database, 1)

    await wait(a_gate(reader, AtLeast(1), heard, timeout=0))

    assert "version 2 is not applied" in await refusal(a_gate(reader, AtLeast(2), heard, timeout=0))


async def test_another_databases_row_is_no_answer(database: Database, reader: str, heard: Heard) -> None:
    await write_row(database, 1, elsewhere=True)

    assert "written in another database" in await refusal(a_gate(reader, AtLeast(1), heard, timeout=0))


async def test_a_directory_is_required_whole_but_for_what_the_gate_does_not_wait_for(
    database: Database, reader: str, heard: Heard, tmp_path: Path
) -> None:
    (tmp_path / "1_a.up.sql").write_text("SELECT 1")
    (tmp_path / "2_b.up.sql").write_text("SELECT 2")
    (tmp_path / "3_c.up.sql").write_text("-- tidegate: gate=off\nSELECT 3")
    requirement = directory_requirement(read_directory(tmp_path), "app/migrations")

    await write_row(database, 1)
    assert "version 2 of app/migrations is not applied" in await refusal(a_gate(reader, requirement, heard, timeout=0))
    await write_row(database, 1, 2)
    await wait(a_gate(reader, requirement, heard, timeout=0))


async def test_several_targets_and_none_named_is_a_usage_error_that_names_them(
    database: Database, reader: str, heard: Heard
) -> None:
    await write_row(database, 1)
    await write_row(database, 1, target="public.other")

    with pytest.raises(UsageError, match=r"2 targets: public\.other, public\.schema_migrations"):
        await wait(a_gate(reader, AtLeast(1), heard))
    await wait(a_gate(reader, AtLeast(1), heard, target=TARGET, timeout=0))


async def test_without_the_schema_it_waits_until_the_schema_and_the_row_are_there(
    database: Database, heard: Heard
) -> None:
    url = await make_reader(database, granted=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, a_gate(url, AtLeast(1), heard, poll=0.05))
        await heard.until(GateWaiting, lambda event: event.why == "no_schema")
        await make_control_schema(database)
        missing = await heard.until(GateWaiting, lambda event: event.why == "privilege")
        await grant_reader(database)
        await heard.until(GateWaiting, lambda event: event.why == "no_row")
        await write_row(database, 1)
        await heard.until(GateOpened)
    await drop_reader(database)

    assert 'GRANT USAGE ON SCHEMA "tidegate" TO "reader_' in missing.message
    assert 'GRANT SELECT ON "tidegate".readiness TO "reader_' in missing.message


async def test_without_select_on_the_table_it_says_which_grant(database: Database, heard: Heard) -> None:
    await make_control_schema(database)
    url = await make_reader(database, granted=False)
    await database.execute(f"GRANT USAGE ON SCHEMA tidegate TO reader_{database.name}")

    said = await refusal(a_gate(url, AtLeast(1), heard, timeout=0))
    await drop_reader(database)

    assert f'GRANT SELECT ON "tidegate".readiness TO "reader_{database.name}";' in said
    assert "USAGE" not in said


async def test_without_a_database_it_waits_and_says_so_and_times_out_with_exit_code_four(
    database: Database, heard: Heard
) -> None:
    nowhere = database.server.dsn("no_such_database")
    wrong = database.dsn_as("postgres", "wrong")

    assert 'database "no_such_database" does not exist' in await refusal(
        a_gate(nowhere, AtLeast(1), heard, timeout=0.2, poll=0.05)
    )
    said = await refusal(a_gate(wrong, AtLeast(1), heard, timeout=0))

    assert "the password is wrong or missing" in said
    assert ":wrong" not in said
    assert len(heard.of(GateWaiting)) == 2


async def test_a_server_that_stops_and_comes_back_is_waited_for(database: Database, reader: str, heard: Heard) -> None:
    database.server.stop()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, a_gate(reader, AtLeast(1), heard, timeout=60.0, poll=0.05))
        away = await heard.until(GateWaiting)
        await anyio.to_thread.run_sync(database.server.start)
        await heard.until(GateWaiting, lambda event: event.why == "no_row")
        await anyio.to_thread.run_sync(database.server.restart)
        await heard.until(GateWaiting, lambda event: event.why == "connection_lost")
        await write_row(database, 1)
        await heard.until(GateOpened)

    assert (away.why, "refused" in away.message) == ("no_database", True)


async def test_a_reason_is_said_once_and_again_after_half_a_minute(reader: str, heard: Heard) -> None:
    times = iter([0.0, 0.0, 1.0, 29.0, 30.0, 31.0, 61.0])
    gate = a_gate(reader, AtLeast(1), heard, poll=0.01, clock=lambda: next(times))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await wait(gate)

    assert [event.why for event in heard.of(GateWaiting)] == ["no_row"] * 3


async def test_a_failed_job_is_a_reason_where_the_role_may_read_jobs(
    database: Database, reader: str, heard: Heard
) -> None:
    await database.execute(_JOB)

    blind = await refusal(a_gate(reader, AtLeast(1), heard, timeout=0, on_failure=OnFailure.FAIL))
    assert f"role reader_{database.name} may not read tidegate.job" in blind

    await database.execute(f"GRANT SELECT ON tidegate.job, tidegate.target, tidegate.bundle TO reader_{database.name}")
    seeing = await refusal(a_gate(reader, AtLeast(1), heard, timeout=0))
    assert "the job for bundle 1.4.0 is failed: 0002_b.up.sql:3: no such thing" in seeing
    with pytest.raises(JobFailedError) as caught:
        await wait(a_gate(reader, AtLeast(1), heard, on_failure=OnFailure.FAIL))
    assert caught.value.exit_code is ExitCode.FAILED


async def test_an_older_bundles_failed_job_does_not_end_the_wait_for_a_newer_one(
    database: Database, reader: str, heard: Heard
) -> None:
    await database.execute(_JOB)
    await database.execute(
        f"GRANT SELECT ON tidegate.job, tidegate.target, tidegate.bundle TO reader_{database.name};"
        "SET session_replication_role = replica;"
        "INSERT INTO tidegate.bundle (line, label, digest, names, checksums, required, intent, wanted_seq)"
        "VALUES ('app', '1.5.0', repeat('b', 64), '{}', '{}', '{}', 'explicit', 2)"
    )

    said = await refusal(a_gate(reader, OfBundle("1.5.0"), heard, timeout=0, on_failure=OnFailure.FAIL))

    assert "1.4.0" not in said


async def test_a_failed_newer_bundle_leaves_what_was_ready_open(database: Database, reader: str, heard: Heard) -> None:
    await database.execute(_JOB)
    await write_row(database, 1, pending=2)

    await wait(a_gate(reader, AtLeast(1), heard, timeout=0, on_failure=OnFailure.FAIL))


async def test_behind_a_pooler_the_poll_alone_opens_it(database: Database, reader: str, heard: Heard) -> None:
    async with Relay(database.server.port, pooler=True).open() as relay:
        through = reader.replace(f":{database.server.port}/", f":{relay.port}/") + "?sslmode=disable"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, a_gate(through, AtLeast(1), heard, poll=0.05))
            await heard.until(GateWaiting)
            queries = [query for _, _, query in await sessions(database)]
            await write_row(database, 1)
            await heard.until(GateOpened)

    assert not [query for query in queries if query.startswith("LISTEN")]


async def test_a_silent_line_is_left_for_a_new_one(
    database: Database, reader: str, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "LOOK_SECONDS", 1.0)
    async with Relay(database.server.port).open() as relay:
        through = reader.replace(f":{database.server.port}/", f":{relay.port}/") + "?sslmode=disable"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, a_gate(through, AtLeast(1), heard, poll=0.05))
            await heard.until(GateWaiting)
            relay.fall_silent()
            lost = await heard.until(GateWaiting, lambda event: event.why == "connection_lost")
            relay.speak()
            await write_row(database, 1)
            await heard.until(GateOpened)

    assert "did not answer within 1 s" in lost.message


async def test_a_gate_whose_kept_statements_are_gone_on_the_server_connects_anew(
    database: Database, reader: str, heard: Heard
) -> None:
    opened: list[asyncpg.Connection] = []
    pause = Pause()

    async def kept() -> asyncpg.Connection:
        opened.append(await dial(reader)())
        return opened[-1]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, a_gate(reader, AtLeast(1), heard, connect=kept, poll=FAR, jitter=pause))
        await pause.begun()
        await opened[0].execute("DEALLOCATE ALL")
        await write_row(database, 1)
        await notify(database)
        await heard.until(GateOpened)

    assert (len(opened), [each.is_closed() for each in opened]) == (2, [True, True])
    assert [event.why for event in heard.of(GateWaiting)] == ["no_row", "connection_lost"]


async def test_on_a_standby_the_poll_alone_serves_it(server: Server, heard: Heard) -> None:
    with running_server(server.version, server.binaries) as copy:
        await make_control_schema_at(copy.dsn())
        with (copy.home / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write("\nwal_level = replica\nhot_standby = on\n")
        copy.restart(Shutdown.FAST)
        copy.stop(Shutdown.FAST)
        (copy.home / "data" / "standby.signal").touch()
        copy.start()
        said = await refusal(a_gate(copy.dsn(), AtLeast(1), heard, timeout=0.5, poll=0.05))

    assert "waited 500ms for version 1: the target has no readiness row yet" in said
    assert [event.why for event in heard.of(GateWaiting)] == ["no_row"]
