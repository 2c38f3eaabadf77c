"""A hot standby is promoted in the middle of a migration; the old primary is dead, or still alive."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.cluster import PASSWORD, SUPERUSER, Server, Shutdown, running_pair
from tests.fixtures.command_line import call
from tests.fixtures.network import HOST
from tests.fixtures.processes import StartTidegate
from tests.fixtures.scenes import Manner, facts, source, up
from tests.fixtures.servers import Database
from tests.fixtures.workers import applied, eventually, finish, migrations_in, sleeping, start_worker, tables
from worker.errors import ExitCode

pytestmark = pytest.mark.slow

# Waits only where nobody has marked the database, which the standby gets to see as well.
WAITING = "CREATE TABLE t2 (a int);\nSELECT pg_sleep(40) WHERE to_regclass('mark') IS NULL;\n"


@dataclass(frozen=True, slots=True)
class Pair:
    """The same database on a primary and on its standby."""

    old: Database
    new: Database

    @property
    def dsn(self) -> str:
        """Both addresses, as one gives them for a failover."""
        hosts = ",".join(f"{HOST}:{database.server.port}" for database in (self.old, self.new))
        return f"postgresql://{SUPERUSER}:{PASSWORD}@{hosts}/postgres"

    def has_streamed(self) -> None:
        """Wait until the standby has replayed what the primary has written."""
        position = self.old.psql("SELECT pg_current_wal_lsn()")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        eventually(lambda: self.new.psql(replayed) == "t", "the standby has replayed everything")


@pytest.fixture
def pair(server: Server) -> Iterator[Pair]:
    with running_pair(server.version, server.binaries) as (primary, standby):
        yield Pair(Database("postgres", primary), Database("postgres", standby))


def gate(database: Database, version: int) -> int:
    """How a gate that looks once ends."""
    return call("wait", "--at-least", str(version), "--timeout", "0", DB_URL=database.dsn).code


def test_a_worker_goes_on_at_the_promoted_standby_and_the_gate_never_closes(
    tidegate: StartTidegate, pair: Pair, tmp_path: Path
) -> None:
    up(pair.old, migrations_in(tmp_path, tables(1)))
    worker = start_worker(
        tidegate, pair.dsn, "--source", migrations_in(tmp_path, {2: WAITING}), "--poll-interval", "1s"
    )
    eventually(lambda: len(sleeping(pair.old)) == 1, "the migration sleeps")
    pair.old.psql("CREATE TABLE mark ()")
    pair.has_streamed()
    epoch = int(pair.new.psql("SELECT epoch FROM tidegate.fence WHERE target LIKE 'public.%'"))
    assert gate(pair.new, 1) == ExitCode.OK

    pair.old.server.stop(Shutdown.IMMEDIATE)
    pair.new.server.promote()

    assert gate(pair.new, 1) == ExitCode.OK
    worker.until("/readyz?at_least=2")
    assert applied(pair.new) == ["1", "2"]
    assert int(pair.new.psql("SELECT epoch FROM tidegate.fence WHERE target LIKE 'public.%'")) > epoch
    assert gate(pair.new, 2) == ExitCode.OK


def test_a_promotion_is_noticed_and_told(tidegate: StartTidegate, pair: Pair, tmp_path: Path) -> None:
    up(pair.old, migrations_in(tmp_path, tables(1)))
    pair.has_streamed()
    worker = start_worker(tidegate, pair.dsn, "--source", tmp_path, "--poll-interval", "1s")
    worker.until("/readyz?at_least=1")

    pair.old.server.stop(Shutdown.IMMEDIATE)
    pair.new.server.promote()
    pair.new.psql("CHECKPOINT")

    told = worker.process.wait_for_event("database.changed")
    assert (told["before"][-10:], told["now"][-10:]) == ("timeline 1", "timeline 2")
    assert told["before"][:-10] == told["now"][:-10]
    worker.until("/readyz?at_least=1")


def test_what_the_standby_had_not_received_is_applied_again(pair: Pair, tmp_path: Path) -> None:
    up(pair.old, migrations_in(tmp_path, tables(1)))
    pair.has_streamed()
    pair.new.server.stop(Shutdown.FAST)
    up(pair.old, source(tmp_path, Manner.TRANSACTIONAL))
    facts(pair.old).are_whole()
    pair.old.server.stop(Shutdown.IMMEDIATE)
    pair.new.server.start()
    pair.new.server.promote()
    assert (gate(pair.new, 1), gate(pair.new, 2)) == (ExitCode.OK, ExitCode.TIMED_OUT)

    up(pair.new, tmp_path)

    facts(pair.new).are_whole()
    assert gate(pair.new, 2) == ExitCode.OK


def has_ended(database: Database) -> None:
    """A gate opens before the job has ended: the fingerprint comes last."""
    eventually(lambda: facts(database).job == "succeeded", "the job is recorded")


def test_a_standby_is_refused_and_a_worker_there_waits_for_its_promotion(
    tidegate: StartTidegate, pair: Pair, tmp_path: Path
) -> None:
    up(pair.old, migrations_in(tmp_path, tables(1)))
    pair.has_streamed()
    folder = source(tmp_path, Manner.TRANSACTIONAL)
    call("up", "--source", folder, DB_URL=pair.new.dsn).is_error(ExitCode.REFUSED, "standby")
    worker = start_worker(tidegate, pair.new.dsn, "--source", folder, "--poll-interval", "1s")
    assert worker.process.wait_for_event("job.failed")["reason"] == "standby"
    facts(pair.new).agree()

    pair.old.server.stop(Shutdown.IMMEDIATE)
    pair.new.server.promote()

    worker.until("/readyz?at_least=2")
    has_ended(pair.new)
    facts(pair.new).are_whole()


def test_an_old_primary_that_is_still_alive_does_not_open_the_new_ones_gate(
    tidegate: StartTidegate, pair: Pair, tmp_path: Path
) -> None:
    up(pair.old, migrations_in(tmp_path, tables(1)))
    pair.has_streamed()
    pair.new.server.promote()

    # Two primaries are two databases: each has its own lock, fence and ledger, and whoever is left at the old one
    # writes there. Nothing of that reaches the new one.
    astray = start_worker(tidegate, pair.old.dsn, "--source", source(tmp_path, Manner.JOURNALLED))
    astray.until("/readyz?at_least=2")
    has_ended(pair.old)
    facts(pair.old).are_whole()
    assert (gate(pair.new, 1), gate(pair.new, 2)) == (ExitCode.OK, ExitCode.TIMED_OUT)
    facts(pair.new).agree()

    up(pair.new, tmp_path)

    facts(pair.new).are_whole()
    before = facts(pair.new)
    finish(tidegate("publish", migrations_in(tmp_path, tables(3)), env={"DB_URL": pair.old.dsn}))
    astray.until("/readyz?at_least=3")
    assert facts(pair.new) == before
    assert gate(pair.new, 3) == ExitCode.TIMED_OUT
