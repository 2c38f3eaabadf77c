import dataclasses
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import asyncpg
import pytest

from tests.fixtures.cluster import Server
from tests.fixtures.network import HOST, free_port
from tests.fixtures.servers import Database
from worker.core.connecting.dsn import Address, ConnectionParams, LiteralPassword, PassFile, PasswordFile, parse_dsn
from worker.errors import NoDatabaseError, RefusedError, SettingError
from worker.postgres import connection
from worker.postgres.connection import Purpose, check_session, close, closing, connect

SHOWN = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "client_connection_check_interval",
    "tcp_keepalives_idle",
    "tcp_user_timeout",
)
EXPECTED = ("0", "30s", "0", "0", "read committed", "off", "250ms", "5", "8000")


def params_of(dsn: str) -> ConnectionParams:
    return parse_dsn(dsn).params


async def shown(params: ConnectionParams, purpose: Purpose, *before: str) -> tuple[str, ...]:
    async with closing(await connect(params, purpose, application_name="tidegate test")) as conn:
        for sql in before:
            await conn.execute(sql)
        return tuple([await conn.fetchval(f"SHOW {name}") for name in SHOWN])


@pytest.mark.parametrize("purpose", [Purpose.MIGRATE, Purpose.CONTROL, Purpose.LISTEN])
async def test_a_working_session_has_the_settings_that_it_needs(database: Database, purpose: Purpose) -> None:
    assert await shown(params_of(database.dsn), purpose) == EXPECTED


async def test_what_a_role_or_the_options_set_does_not_reach_a_working_session(database: Database) -> None:
    await database.execute(f"ALTER DATABASE {database.name} SET idle_session_timeout = '5s'")
    await database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    params = params_of(database.dsn_as(options="-c statement_timeout=5s", lock_timeout="9s"))

    assert await shown(params, Purpose.MIGRATE) == EXPECTED


async def test_reset_all_restores_what_the_session_was_given(database: Database) -> None:
    changes = ("SET lock_timeout = '5s'", "SET default_transaction_isolation = serializable")

    assert await shown(params_of(database.dsn), Purpose.MIGRATE, *changes, "RESET ALL") == EXPECTED


async def test_a_gates_session_asks_for_nothing_but_a_name(database: Database) -> None:
    async with closing(await connect(params_of(database.dsn), Purpose.GATE, application_name="gate")) as conn:
        rows = await conn.fetch("SELECT name FROM pg_settings WHERE source = 'client' ORDER BY name")

        assert [row["name"] for row in rows] == ["application_name", "client_encoding"]


async def test_options_and_search_path_are_the_users_own(database: Database) -> None:
    await database.execute("CREATE SCHEMA s")
    params = params_of(database.dsn_as(options="-c search_path=s"))

    async with closing(await connect(params, Purpose.MIGRATE, application_name="x")) as conn:
        assert await conn.fetchval("SELECT current_schema()") == "s"


async def test_the_clients_socket_notices_a_dead_server(database: Database) -> None:
    async with closing(await connect(params_of(database.dsn), Purpose.GATE, application_name="x")) as conn:
        sock = conn._transport.get_extra_info("socket")  # noqa: SLF001 - asyncpg gives no other way to its socket

        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5


async def test_a_socket_directory_will_do_for_a_host(server: Server, database: Database) -> None:
    params = dataclasses.replace(params_of(database.dsn), addresses=(Address(str(server.socket_dir), server.port),))

    async with closing(await connect(params, Purpose.MIGRATE, application_name="x")) as conn:
        assert await conn.fetchval("SELECT inet_client_addr()") is None


async def test_an_address_that_refuses_is_passed_over(database: Database) -> None:
    params = params_of(database.dsn)
    several = dataclasses.replace(params, addresses=(Address(HOST, free_port()), *params.addresses))

    async with closing(await connect(several, Purpose.MIGRATE, application_name="x")) as conn:
        assert await conn.fetchval("SELECT 1") == 1


async def test_the_environment_of_libpq_is_not_mixed_in(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"PGPASSWORD": "wrong", "PGUSER": "nobody", "PGDATABASE": "none", "PGTARGETSESSIONATTRS": "standby"}
    with monkeypatch.context() as patch:
        for name, value in (environ | {"PGSSLMODE": "require", "PGSSLNEGOTIATION": "direct"}).items():
            patch.setenv(name, value)
        conn = await connect(params_of(database.dsn), Purpose.GATE, application_name="x")

    async with closing(conn):
        assert await conn.fetchval("SELECT current_database()") == database.name


async def test_an_optional_parameter_that_the_server_refuses_is_left_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection._OPTIONAL, "of_no_server", "1")  # noqa: SLF001 - no server here refuses the others

    assert await shown(params_of(database.dsn), Purpose.MIGRATE) == EXPECTED


@asynccontextmanager
async def login(database: Database, password: str = "right") -> AsyncIterator[str]:  # noqa: S107 - of a test's role
    role = f"{database.name}_login"
    await database.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    try:
        yield role
    finally:
        await database.execute(f"DROP OWNED BY {role}")
        await database.execute(f"DROP ROLE {role}")


async def test_a_password_file_is_read_at_every_connect(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "password"
    async with login(database, "a%40b") as role:
        params = dataclasses.replace(params_of(database.dsn_as(role)), password=PasswordFile(str(file)))
        file.write_text("wrong\n")
        with pytest.raises(NoDatabaseError, match="password"):
            await connect(params, Purpose.GATE, application_name="x")

        file.write_text("a%40b\n")
        async with closing(await connect(params, Purpose.GATE, application_name="x")) as conn:
            assert await conn.fetchval("SELECT current_user") == role


async def test_a_passfile_gives_the_password_unless_others_can_read_it(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "pgpass"
    async with login(database) as role:
        file.write_text(f"*:*:*:{role}:right\n")
        file.chmod(0o600)
        params = dataclasses.replace(params_of(database.dsn_as(role)), password=PassFile(str(file)))
        await close(await connect(params, Purpose.GATE, application_name="x"))

        file.chmod(0o644)
        with pytest.raises(NoDatabaseError, match="can be read by others"):
            await connect(params, Purpose.GATE, application_name="x")


async def refusal(params: ConnectionParams, purpose: Purpose = Purpose.MIGRATE) -> str:
    with pytest.raises((NoDatabaseError, RefusedError, SettingError)) as caught:
        await close(await connect(params, purpose, application_name="x"))
    text = f"{type(caught.value).__name__} {caught.value.reason}: {caught.value.message} ({caught.value.hint})"
    assert "\n" not in text
    if isinstance(params.password, LiteralPassword):
        assert params.password.value not in text
    return text


async def test_a_port_that_nobody_listens_on_is_named(database: Database) -> None:
    params = params_of(database.dsn).at(Address("localhost", free_port()))

    assert "NoDatabaseError no_database: postgres@localhost:" in await refusal(params)
    assert "the connection was refused" in await refusal(params)


async def test_a_host_that_cannot_be_resolved_is_named(database: Database) -> None:
    params = params_of(database.dsn)

    assert "cannot be resolved" in await refusal(params.at(Address("nowhere.invalid", 5432)))
    assert "host name is not valid" in await refusal(params.at(Address("x" * 70, 5432)))


async def test_a_socket_that_is_not_there_is_named(database: Database, tmp_path: Path) -> None:
    assert "no such" in (await refusal(params_of(database.dsn).at(Address(str(tmp_path), 5432)))).lower()


async def test_a_server_that_says_nothing_runs_into_the_connect_timeout(database: Database) -> None:
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        params = dataclasses.replace(
            params_of(database.dsn).at(Address(HOST, silent.getsockname()[1])), connect_timeout_ms=50
        )

        assert "no answer within the connect timeout" in await refusal(params)


async def test_a_wrong_password_and_a_missing_database_are_no_database(database: Database) -> None:
    missing = dataclasses.replace(params_of(database.dsn), database="nowhere")
    wrong = dataclasses.replace(params_of(database.dsn), password=LiteralPassword("hush"))

    assert f"/{database.name}: the password is wrong" in await refusal(wrong)
    assert "NoDatabaseError login: " in await refusal(wrong)
    assert "NoDatabaseError no_such_database: " in await refusal(missing)
    assert "/nowhere: the database does not exist" in await refusal(missing)


async def test_a_server_without_tls_is_named_where_tls_is_required(database: Database) -> None:
    assert "the server does not offer TLS" in await refusal(params_of(database.dsn_as(sslmode="require")))


async def test_a_certificate_that_is_not_there_is_a_wrong_setting(database: Database) -> None:
    text = await refusal(params_of(database.dsn_as(sslmode="verify-ca", sslrootcert="/nowhere/root.crt")))

    assert text.startswith("SettingError setting: ")
    assert "sslrootcert is '/nowhere/root.crt'" in text


async def test_a_role_without_membership_is_refused_with_the_grant(database: Database) -> None:
    owner = f"{database.name}_owner"
    await database.execute(f"CREATE ROLE {owner}")
    async with login(database) as role:
        params = params_of(database.dsn_as(role, "right", options=f"-c role={owner}"))
        text = await refusal(params)
        assert text.startswith("RefusedError privilege: ")
        assert f'GRANT "{owner}" TO "{role}";' in text

        await database.execute(f'GRANT "{owner}" TO "{role}"')
        async with closing(await connect(params, Purpose.MIGRATE, application_name="x")) as conn:
            assert await conn.fetchval("SELECT current_user") == owner
    await database.execute(f"DROP ROLE {owner}")


async def test_a_database_that_the_login_may_not_enter_is_refused_with_the_grant(database: Database) -> None:
    await database.execute(f"REVOKE CONNECT ON DATABASE {database.name} FROM PUBLIC")
    async with login(database) as role:
        text = await refusal(params_of(database.dsn_as(role, "right")))

        assert f'GRANT CONNECT ON DATABASE "{database.name}" TO "{role}";' in text


@pytest.mark.parametrize("parameters", [{"options": "-c role=nobody_there"}, {"no_such_setting": "1"}])
async def test_a_start_up_parameter_that_the_server_refuses_is_a_wrong_setting(
    database: Database, parameters: dict[str, str]
) -> None:
    text = await refusal(params_of(database.dsn_as(**parameters)))

    assert text.startswith("SettingError setting: ")
    assert next(iter(parameters.values())).removeprefix("-c role=") in text or next(iter(parameters)) in text


async def test_too_many_connections_are_no_database(database: Database) -> None:
    async with login(database) as role:
        await database.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")

        assert "no connection left" in await refusal(params_of(database.dsn_as(role, "right")))


async def test_a_session_on_the_server_itself_passes_the_check(database: Database) -> None:
    params = params_of(database.dsn)

    async with closing(await connect(params, Purpose.MIGRATE, application_name="x")) as conn:
        await check_session(conn, params)


async def test_a_session_without_its_start_up_parameters_is_taken_for_a_poolers(database: Database) -> None:
    params = params_of(database.dsn)

    async with closing(await connect(params, Purpose.GATE, application_name="x")) as conn:
        with pytest.raises(RefusedError, match="a pooler stands before the server") as caught:
            await check_session(conn, params)

    assert caught.value.reason == "pooler"


async def test_a_session_is_closed_although_its_task_is_cancelled(database: Database) -> None:
    conn = await connect(params_of(database.dsn), Purpose.MIGRATE, application_name="x")

    with anyio.move_on_after(0.05):
        async with closing(conn):
            await anyio.sleep_forever()

    assert conn.is_closed()


async def test_a_connection_that_hangs_is_terminated(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT_S", 0.1)
    conn = await connect(params_of(database.dsn), Purpose.MIGRATE, application_name="x")
    pid = conn.get_server_pid()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fails, conn.execute, "SELECT pg_sleep(30)")
        await anyio.wait_all_tasks_blocked()
        os.kill(pid, signal.SIGSTOP)
        try:
            await close(conn)
        finally:
            os.kill(pid, signal.SIGCONT)

    assert conn.is_closed()


async def fails(work: Callable[[str], Awaitable[object]], sql: str) -> None:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await work(sql)
