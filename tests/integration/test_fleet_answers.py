"""Answers for single targets of a fleet: one question's end hurts no other, and few connections serve many."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import asyncpg
import pytest

from tests.fixtures.command_line import call
from tests.fixtures.fleets import ONE
from tests.fixtures.jobs import until
from tests.fixtures.network import free_port
from tests.fixtures.servers import Database, fresh_database
from worker.cli.app import App
from worker.cli.arguments import parse
from worker.cli.fleet.app import FleetApp
from worker.core.fleet.declared import Group
from worker.core.status.probe import Reading
from worker.fleet.answers import Answers, Asked
from worker.jobs.roster import Server
from worker.postgres.session import Session

GROUPS = 20
"""More than the connections that are used at once, and those that are kept."""

SEATS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'tidegate fleet %'"
)
HELD_UP = SEATS.replace("count(*)", "count(*) = $1") + " AND wait_event_type = 'Lock'"


def variable(number: int) -> str:
    """Where a group's database is: the first one's, or that of all others, which a test can make dark."""
    return "DARK" if number else "FAR"


@pytest.fixture
def far(database: Database) -> Iterator[Database]:
    with fresh_database(database.server) as other:
        yield other


@pytest.fixture
def asked(database: Database, far: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A fleet with many groups in one database, each of which has a connection of its own."""
    source, file = tmp_path / "migrations", tmp_path / "fleet.toml"
    source.mkdir()
    (source / "0001_a.up.sql").write_text(ONE["0001_a.up.sql"])
    far.psql("".join(f"CREATE SCHEMA s{number};" for number in range(GROUPS)))
    file.write_text(
        "".join(
            f'[[targets]]\nname = "g{number}"\ndatabase = {{ env = "{variable(number)}" }}\nschemas = ["s{number}"]\n'
            for number in range(GROUPS)
        )
        + "[limits]\nper_server = 4\n"
    )
    monkeypatch.setenv("FAR", far.dsn)
    monkeypatch.setenv("DARK", far.dsn)
    # No test here is about how long a question may take, which it does on a machine that is busy.
    for name in ("_ANSWER_SECONDS", "_HOME_SECONDS"):
        monkeypatch.setattr(f"worker.fleet.answers.{name}", 60.0)
    words = ("--fleet", str(file), "--database", database.dsn)
    call("up", "--source", source, *words, FAR=far.dsn, DARK=far.dsn).is_fine()
    own = FleetApp(App(parse(["status", *words])[1]))
    return Asked(own.read(), own.doors, "tidegate", time.monotonic, str)


@pytest.fixture
def answers(asked: Asked) -> Answers:
    return Answers(asked)


def named(far: Database, number: int) -> str:
    return f"g{number}/{far.name}/s{number}.schema_migrations"


async def holding(far: Database) -> asyncpg.Connection:
    """A session that has every reader of readiness wait."""
    session = await far.connect()
    await session.execute("BEGIN; LOCK TABLE tidegate.readiness IN ACCESS EXCLUSIVE MODE")
    return session


async def test_a_question_that_gives_up_waiting_leaves_the_connection_to_the_one_that_is_read_on(
    answers: Answers, far: Database
) -> None:
    holder, watcher, found = await holding(far), await far.connect(), dict[str, Reading | None]()

    async def ask(name: str) -> None:
        found[name] = await answers.about(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, named(far, 0))
        await until(watcher, HELD_UP, 1)
        pid = await watcher.fetchval(SEATS.replace("count(*)", "pid"))
        with anyio.move_on_after(0.2) as waiter:
            await answers.about(named(far, 0))
        await holder.execute("ROLLBACK")
    assert waiter.cancelled_caught
    reading = found[named(far, 0)]
    assert reading is not None
    assert (reading.away, reading.readiness is not None) == (None, True)
    assert await watcher.fetchval(SEATS + " AND pid = $1", pid) == 1
    await end(answers, holder, watcher)


async def test_a_rush_of_questions_is_served_by_few_connections_and_fewer_are_kept(
    answers: Answers, far: Database
) -> None:
    holder, watcher, found = await holding(far), await far.connect(), list[Reading | None]()

    async def ask(number: int) -> None:
        found.append(await answers.about(named(far, number)))

    async with anyio.create_task_group() as tasks:
        for number in range(GROUPS * 10):
            tasks.start_soon(ask, number % GROUPS)
        await until(watcher, HELD_UP, 16)
        # All others have come to where they wait, and more than these there never are.
        for _ in range(5):
            assert await watcher.fetchval(SEATS) == 16
            await watcher.execute("SELECT pg_sleep(0.02)")
        await holder.execute("ROLLBACK")
    assert len(found) == GROUPS * 10
    assert all(reading is not None and reading.away is None and reading.readiness for reading in found)
    await until(watcher, f"SELECT ({SEATS}) = 8")
    await end(answers, holder, watcher)


async def test_no_question_has_a_connection_once_the_worker_has_come_to_its_end(asked: Asked, far: Database) -> None:
    begun, ended, watcher = anyio.Event(), anyio.Event(), await far.connect()
    doors, opened, found = asked.doors, list[Session](), list[Reading | None]()

    async def home() -> Session:
        begun.set()
        await ended.wait()
        opened.append(await doors.home())
        return opened[-1]

    answers = Answers(replace(asked, doors=replace(doors, home=home)))

    async def ask() -> None:
        found.append(await answers.about(named(far, 0)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await begun.wait()
        with anyio.move_on_after(0):
            await answers.tidy()
        await ask()
        ended.set()
    assert [reading is not None and reading.away is not None for reading in found] == [True, True]
    assert [session.conn.is_closed() for session in opened] == [True]
    await end(answers, watcher)


class Silence:
    """A server that takes connections and says nothing; `most` is how many it had at once."""

    def __init__(self) -> None:
        self.port = self.most = self._now = 0
        self._taken = anyio.Semaphore(0)

    async def take(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            self._now += 1
            self.most = max(self.most, self._now)
            self._taken.release()
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()
            self._now -= 1

    async def had(self, number: int) -> None:
        """Wait until it has taken so many."""
        for _ in range(number):
            await self._taken.acquire()


@asynccontextmanager
async def silence() -> AsyncIterator[Silence]:
    silent = Silence()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, silent.take)
        silent.port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  nothing of Django's
        yield silent
        tasks.cancel_scope.cancel()


async def test_a_target_that_answers_does_not_wait_for_databases_that_are_dark(
    answers: Answers, far: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = await far.connect()
    async with silence() as silent, anyio.create_task_group() as tasks:
        monkeypatch.setenv("DARK", f"postgresql://app@127.0.0.1:{silent.port}/{far.name}")
        for number in range(1, GROUPS):
            tasks.start_soon(answers.about, named(far, number))
        with anyio.fail_after(9):
            await silent.had(16)
            reading = await answers.about(named(far, 0))
        tasks.cancel_scope.cancel()

    assert reading is not None
    assert (reading.away, reading.readiness is not None) == (None, True)
    await end(answers, watcher)


async def test_databases_that_were_dark_are_asked_in_turns_of_their_own_until_they_answer(
    asked: Asked, far: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, watcher = 0.0, await far.connect()
    answers = Answers(replace(asked, clock=lambda: time.monotonic() + later))
    monkeypatch.setattr("worker.fleet.answers._CONNECT_SECONDS", 60.0)
    monkeypatch.setenv("DARK", f"postgresql://app@127.0.0.1:{free_port()}/{far.name}")
    refused = [await answers.about(named(far, number)) for number in range(1, GROUPS)]

    async with silence() as silent, anyio.create_task_group() as tasks:
        monkeypatch.setenv("DARK", f"postgresql://app@127.0.0.1:{silent.port}/{far.name}")
        later = 5.0
        for number in range(1, GROUPS):
            tasks.start_soon(answers.about, named(far, number))
        with anyio.fail_after(9):
            await silent.had(16)
            reading = await answers.about(named(far, 0))
        tasks.cancel_scope.cancel()
    monkeypatch.setenv("DARK", far.dsn)
    later = 10.0
    healed = [await answers.about(named(far, number)) for number in range(1, GROUPS)]

    assert all(each is not None and each.away for each in refused)
    assert reading is not None
    assert reading.away is None
    assert all(each is not None and each.away is None for each in healed)
    await end(answers, watcher)


def bounded(monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
    for name, value in values.items():
        monkeypatch.setattr(f"worker.fleet.answers._{name}", value)


async def test_a_database_that_connected_is_not_dark_for_whoever_gives_up_waiting_for_a_turn(
    asked: Asked, far: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded(monkeypatch, AT_ONCE=1, CONNECT_SECONDS=0)
    holder, watcher, begun, gate = await holding(far), await far.connect(), anyio.Event(), anyio.Event()

    def server(group: Group) -> Server:
        there = asked.doors.server(group)

        async def slowly(database: str) -> "asyncpg.Connection[asyncpg.Record]":
            begun.set()
            await gate.wait()
            return await there.connect(database)

        return replace(there, connect=slowly) if group.name == "g0" else there

    answers = Answers(replace(asked, doors=replace(asked.doors, server=server)))
    given_up = anyio.CancelScope()

    async def ask_slowly() -> None:
        with given_up:
            await answers.about(named(far, 0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_slowly)
        await begun.wait()
        tasks.start_soon(answers.about, named(far, 1))
        await until(watcher, HELD_UP, 1)
        gate.set()
        # What it was started up with is read: from then on it waits for its turn.
        await until(watcher, f"SELECT ({SEATS} AND state = 'idle') = 1")
        await anyio.wait_all_tasks_blocked()
        given_up.cancel()
        pid = await watcher.fetchval(SEATS.replace("count(*)", "pid") + " AND state = 'idle'")
        await holder.execute("ROLLBACK")
    reading = await answers.about(named(far, 0))

    assert reading is not None
    assert (reading.away, reading.readiness is not None) == (None, True)
    assert await watcher.fetchval(SEATS + " AND pid = $1", pid) == 1
    await end(answers, holder, watcher)


async def test_databases_that_go_dark_together_are_connected_to_within_bounds_and_hold_up_no_other(
    asked: Asked, far: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded(monkeypatch, AT_ONCE=2, LATE=4, CONNECT_SECONDS=0.01, PATIENCE_SECONDS=0.2)
    answers, watcher = Answers(asked), await far.connect()
    async with silence() as silent, anyio.create_task_group() as tasks:
        monkeypatch.setenv("DARK", f"postgresql://app@127.0.0.1:{silent.port}/{far.name}")
        for number in range(1, GROUPS):
            tasks.start_soon(answers.about, named(far, number))
        with anyio.fail_after(20):
            await silent.had(6)
            reading = await answers.about(named(far, 0))
            await silent.had(GROUPS - 1 - 6)
        tasks.cancel_scope.cancel()

    assert reading is not None
    assert (reading.away, reading.readiness is not None) == (None, True)
    # One that is ended and one that follows it can be there together, as the server sees it.
    assert 6 <= silent.most <= 8
    await end(answers, watcher)


async def test_a_database_whose_connection_is_open_waits_for_none_that_is_connected_to_and_keeps_it(
    asked: Asked, far: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded(monkeypatch, AT_ONCE=1, CONNECT_SECONDS=60.0)
    later, watcher = 0.0, await far.connect()
    answers = Answers(replace(asked, clock=lambda: time.monotonic() + later))
    readings, pids = [await answers.about(named(far, 0))], [await watcher.fetchval(SEATS.replace("count(*)", "pid"))]
    async with silence() as silent, anyio.create_task_group() as tasks:
        monkeypatch.setenv("DARK", f"postgresql://app@127.0.0.1:{silent.port}/{far.name}")
        for number in range(1, GROUPS):
            tasks.start_soon(answers.about, named(far, number))
        with anyio.fail_after(9):
            await silent.had(1)
            for _ in range(2):
                later += 5.0
                readings.append(await answers.about(named(far, 0)))
                pids.append(await watcher.fetchval(SEATS.replace("count(*)", "pid")))
        tasks.cancel_scope.cancel()

    assert [reading is not None and reading.away for reading in readings] == [None, None, None]
    assert pids == [pids[0]] * 3
    await end(answers, watcher)


async def end(answers: Answers, *sessions: asyncpg.Connection) -> None:
    """Have the answers tidied away, and see that no connection is left."""
    with anyio.move_on_after(0):
        await answers.tidy()
    await until(sessions[-1], f"SELECT ({SEATS}) = 0")
    for session in sessions:
        await session.close()
