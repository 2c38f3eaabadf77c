"""Servers that are not the primary itself: a standby, and something that stands between, as a pooler does."""

import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketStream

from tests.fixtures.cluster import Server, Shutdown, running_server
from tests.fixtures.network import HOST, free_port
from tests.fixtures.servers import Database
from worker.core.connecting.dsn import Address, ConnectionParams, parse_dsn
from worker.errors import RefusedError
from worker.postgres.connection import Purpose, check_session, closing, connect

_KEY_DATA = b"K" + struct.pack("!i", 12)


@pytest.fixture(scope="module")
def standby(server: Server) -> Iterator[Server]:
    """A server in recovery that nothing feeds; it takes readers."""
    with running_server(server.version, server.binaries) as copy:
        with (copy.home / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write("\nwal_level = replica\nhot_standby = on\n")
        copy.restart(Shutdown.FAST)
        copy.stop(Shutdown.FAST)
        (copy.home / "data" / "standby.signal").touch()
        copy.start()
        yield copy


async def test_a_standby_is_refused_for_work_and_good_for_a_gate(standby: Server) -> None:
    params = parse_dsn(standby.dsn()).params

    with pytest.raises(RefusedError, match="is a standby") as caught:
        await connect(params, Purpose.MIGRATE, application_name="x")
    async with closing(await connect(params, Purpose.GATE, application_name="x")) as conn:
        assert await conn.fetchval("SELECT pg_is_in_recovery()")

    assert caught.value.reason == "standby"
    assert str(params.addresses[0]) in caught.value.message


async def test_of_a_standby_and_a_primary_the_primary_is_taken(standby: Server, server: Server) -> None:
    params = parse_dsn(server.dsn()).params
    both = replace(params, addresses=(Address(standby.host, standby.port), *params.addresses))

    async with closing(await connect(both, Purpose.CONTROL, application_name="x")) as conn:
        assert not await conn.fetchval("SELECT pg_is_in_recovery()")


async def relay(source: ByteReceiveStream, sink: ByteSendStream) -> None:
    """Pass bytes on; a server's process id is changed, as a pooler answers with one of its own."""
    async for data in source:
        start = data.find(_KEY_DATA) + len(_KEY_DATA)
        known = start >= len(_KEY_DATA)
        await sink.send(data[:start] + struct.pack("!i", 1) + data[start + 4 :] if known else data)
    await sink.aclose()


@asynccontextmanager
async def pooler(params: ConnectionParams) -> AsyncIterator[ConnectionParams]:
    address = params.addresses[0]

    async def serve(client: SocketStream) -> None:
        async with (
            client,
            await anyio.connect_tcp(address.host, address.port) as server,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(relay, client, server)
            tasks.start_soon(relay, server, client)

    port = free_port()
    listener = await anyio.create_tcp_listener(local_host=HOST, local_port=port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield params.at(Address(HOST, port))
        tasks.cancel_scope.cancel()


async def test_a_server_process_that_is_not_the_one_of_the_login_is_a_poolers(database: Database) -> None:
    async with (
        pooler(parse_dsn(database.dsn).params) as params,
        closing(await connect(params, Purpose.MIGRATE, application_name="x")) as conn,
    ):
        with pytest.raises(RefusedError, match="a pooler stands before the server") as caught:
            await check_session(conn, params)

    assert caught.value.reason == "pooler"
