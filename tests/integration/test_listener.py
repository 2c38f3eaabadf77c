"""LISTEN on a real server: heard, lost, silent, through a pooler and on a standby."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from tests.fixtures.gates import Heard, dial
from tests.fixtures.relay import Relay
from tests.fixtures.servers import Database
from worker.core.events.events import ListenerConnected, ListenerLost
from worker.errors import RefusedError
from worker.postgres import listener
from worker.postgres.connection import Purpose
from worker.postgres.listener import MAX_CHANNEL_BYTES, Bell, listen

CHANNEL = "tidegate_wake"


@dataclass
class Owner:
    """What the listener told: its events, and its wakes in order."""

    heard: Heard = field(default_factory=Heard)
    wakes: list[str] = field(default_factory=list)
    _bell: Bell = field(default_factory=Bell)

    def wake(self, source: str) -> None:
        self.wakes.append(source)
        self._bell.ring()

    async def woken(self, *wakes: str) -> None:
        """Return once these are all the wakes so far."""
        with anyio.fail_after(20):
            while self.wakes != list(wakes):
                await self._bell.heard()


@asynccontextmanager
async def listening(dsn: str, **changes: Any) -> AsyncIterator[Owner]:
    owner = Owner()
    values = {"probe_interval": 60.0, "connect": dial(dsn, Purpose.LISTEN), "channel": CHANNEL, **changes}

    async def run() -> None:
        await listen(wake=owner.wake, emit=owner.heard.emitter, clock=time.monotonic, jitter=random.random, **values)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        yield owner
        tasks.cancel_scope.cancel()


def through(database: Database, relay: Relay) -> str:
    return database.dsn_as(sslmode="disable").replace(f":{database.server.port}/", f":{relay.port}/")


async def notify(database: Database) -> None:
    await database.execute("SELECT pg_notify($1, '')", CHANNEL)


async def test_it_wakes_once_it_listens_and_at_each_notification(database: Database) -> None:
    async with listening(database.dsn) as owner:
        await owner.woken("connect")
        await notify(database)
        await owner.woken("connect", "notify")
        await database.execute("NOTIFY tidegate_ready")
        await notify(database)
        await owner.woken("connect", "notify", "notify")

    assert [type(event) for event in owner.heard.events] == [ListenerConnected]


async def test_it_idles_in_no_transaction(database: Database) -> None:
    async with listening(database.dsn) as owner:
        await owner.woken("connect")
        row = await database.fetchrow(
            "SELECT state, backend_xmin::text FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            database.name,
        )

    assert tuple(row or ()) == ("idle", None)


async def test_a_session_that_is_ended_is_replaced_and_the_tables_are_to_be_read_again(database: Database) -> None:
    async with listening(database.dsn) as owner:
        await owner.woken("connect")
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            database.name,
        )
        await owner.woken("connect", "reconnect")
        await notify(database)
        await owner.woken("connect", "reconnect", "notify")

    (lost,) = owner.heard.of(ListenerLost)
    assert lost.cause == "terminated"
    assert 0 < lost.delay_seconds <= 0.25


async def test_a_line_that_falls_silent_is_found_out_and_left(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "ANSWER_SECONDS", 1.0)
    async with (
        Relay(database.server.port).open() as relay,
        listening(through(database, relay), probe_interval=0.05) as owner,
    ):
        await owner.woken("connect")
        relay.fall_silent()
        lost = await owner.heard.until(ListenerLost)
        relay.speak()
        await owner.woken("connect", "reconnect")

    assert lost.cause == "silent"


async def test_probes_wake_nobody(database: Database) -> None:
    async with listening(database.dsn) as other, listening(database.dsn, probe_interval=0.01) as owner:
        await other.woken("connect")
        await owner.woken("connect")
        for _ in range(50):
            await database.fetchval("SELECT 1")
        await notify(database)
        await owner.woken("connect", "notify")
        await other.woken("connect", "notify")


async def test_behind_a_pooler_it_says_so_once_and_leaves_the_work_to_the_poll(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "UNSUPPORTED_SECONDS", 0.01)
    tried = Bell()
    async with Relay(database.server.port, pooler=True).open() as relay:
        opened = dial(through(database, relay), Purpose.LISTEN)

        async def connect() -> Any:
            tried.ring()
            return await opened()

        async with listening("", connect=connect) as owner:
            with anyio.fail_after(20):
                for _ in range(4):
                    await tried.heard()

    assert [event.cause for event in owner.heard.of(ListenerLost)] == ["pooler"]
    assert owner.wakes == []


async def test_what_is_no_primary_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "UNSUPPORTED_SECONDS", 0.01)
    tried = Bell()

    async def connect() -> Any:
        tried.ring()
        raise RefusedError("the server is a standby", reason="standby")

    async with listening("", connect=connect) as owner:
        with anyio.fail_after(20):
            for _ in range(4):
                await tried.heard()

    assert [event.cause for event in owner.heard.of(ListenerLost)] == ["standby"]


async def test_a_channel_that_the_server_would_cut_is_refused(database: Database) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with listening(database.dsn, channel="c" * (MAX_CHANNEL_BYTES + 1)):
            await anyio.sleep_forever()

    assert caught.group_contains(ValueError, match="longer than 63 bytes")


async def test_a_channel_of_sixty_three_bytes_is_heard(database: Database) -> None:
    channel = "c" * MAX_CHANNEL_BYTES
    async with listening(database.dsn, channel=channel) as owner:
        await owner.woken("connect")
        await database.execute(f"NOTIFY {channel}")
        await owner.woken("connect", "notify")


async def test_a_bell_that_rang_many_times_is_heard_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    await bell.heard()

    with anyio.move_on_after(0.05) as scope:
        await bell.heard()

    assert scope.cancelled_caught
