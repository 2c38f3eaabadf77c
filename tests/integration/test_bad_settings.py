"""Wrong settings and arguments, and databases that cannot be worked on: one clear error, and no secret."""

import json
import socket
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fixtures.cluster import Shutdown, running_server
from tests.fixtures.command_line import call, content, files
from tests.fixtures.network import HOST, free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.relay import Relay
from tests.fixtures.servers import Database, Server

AWKWARD = "p@ss/w:o%rd#1?&=+ '\"\\%41"
ONE = "CREATE TABLE t1 (a int)"
PARTS = {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_NAME": "none", "DB_USER": "somebody", "DB_PASS": "suite-only"}
NOWHERE = "postgres://somebody:suite-only@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("variable", "value", "takes"),
    [
        ("DB_SCHEMA_DIR", "http://x/y", "a directory"),
        ("DB_AUTO_MIGRATE", "yes", "true"),
        ("DB_MIGRATIONS_TABLE", "t" * 64, "63"),
        ("DB_MIGRATIONS_TABLE_QUOTED", "maybe", "true"),
        ("DB_MIGRATIONS_OPTIONS", "role=x", "-c role="),
        ("DB_OPTIONS", "role=x", "-c role="),
        ("TIDEGATE_NEW_TABLE", "ja", "true"),
        ("TIDEGATE_SCHEMA", "Pg Mine", "lower-case"),
        ("TIDEGATE_READERS", "a,,b", "role names"),
        ("TIDEGATE_LINE", "a\nb", "printable"),
        ("TIDEGATE_LABEL", "a\nb", "printable"),
        ("TIDEGATE_ORDER", "sometimes", "apply"),
        ("TIDEGATE_BATCH", "all", "from 1 to 1000"),
        ("TIDEGATE_REQUIRE", "12", "version:V"),
        ("TIDEGATE_TIMEOUT", "10", "a whole number and a unit"),
        ("TIDEGATE_CONNECT_TIMEOUT", "0", "above 0"),
        ("TIDEGATE_ADVISORY_TIMEOUT", "soon", "a whole number and a unit"),
        ("TIDEGATE_LOCK_TIMEOUT", "-1s", "a whole number and a unit"),
        ("TIDEGATE_LOCK_BUDGET", "1 s", "a whole number and a unit"),
        ("TIDEGATE_BLOCK_BUDGET", "never", "a whole number and a unit"),
        ("TIDEGATE_STATEMENT_TIMEOUT", "0s", "above 0"),
        ("TIDEGATE_DRAIN_TIMEOUT", "none", "a whole number and a unit"),
        ("TIDEGATE_POLL_INTERVAL", "1y", "a whole number and a unit"),
        ("TIDEGATE_HTTP_HOST", "a b", "a host name"),
        ("TIDEGATE_HTTP_PORT", "tcp://10.0.0.1:80", "1 to 65535"),
        ("TIDEGATE_LOG_LEVEL", "loud", "debug"),
        ("TIDEGATE_LOG_FORMAT", "xml", "json"),
        ("TIDEGATE_WORKER", "w\t", "printable"),
    ],
)
def test_a_wrong_setting_says_which_what_it_got_and_what_it_takes(variable: str, value: str, takes: str) -> None:
    said = call("up", DB_URL=NOWHERE, **{variable: value})

    said.is_error(2, f"tidegate: {variable} ", repr(value)[:60], takes)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "no database is set"),
        ({"DB_URL": "mysql://somebody:suite-only@h/d"}, "DB_URL"),
        ({"DB_URL": "postgres://somebody:suite-only@h:99999/d"}, "DB_URL"),
        ({"DB_URL": NOWHERE, "DB_URL_FILE": "/f"}, "DB_URL and DB_URL_FILE are both set"),
        ({"DB_URL_FILE": "/no/such/file"}, "/no/such/file"),
        ({"DB_HOST": "h", "DB_PASS": "suite-only"}, "DB_NAME and DB_USER"),
        ({"DB_HOST": "h", "DB_NAME": "n", "DB_USER": "u", "DB_PORT": "tcp://10.0.0.1:5432"}, "service link"),
        ({"DB_HOST": "h", "DB_NAME": "n", "DB_USER": "u", "DB_SSL_DISABLE": "off"}, "DB_SSL_DISABLE got 'off'"),
    ],
)
def test_wrong_connection_settings_are_named_without_the_password(environment: dict[str, str], said: str) -> None:
    call("up", **environment).is_error(2, said)


@pytest.mark.parametrize("variable", ["DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASS"])
def test_a_secret_made_with_echo_is_told_by_its_line_break(variable: str) -> None:
    value = PARTS[variable] + "\n"

    call("up", **PARTS | {variable: value}).is_error(2, f"tidegate: {variable} got a line break", "printf")


@pytest.mark.parametrize(
    ("variable", "value", "got", "takes"),
    [
        ("DB_HOST", "", "is not set, beside DB_NAME, DB_USER", "set DB_HOST, DB_NAME and DB_USER"),
        ("DB_HOST", " ", "got ' '", "a host name"),
        ("DB_HOST", "db:5432", "got 'db:5432'", "a port goes into DB_PORT"),
        ("DB_HOST", "tcp://10.0.0.1:5432", "which is a Kubernetes service link", "enableServiceLinks"),
        ("DB_HOST", "postgres://somebody:suite-only@db/app", "got a URL", "a whole URL into DB_URL"),
        ("DB_PORT", "0", "got '0'", "1 to 65535"),
        ("DB_PORT", "postgres", "got 'postgres'", "1 to 65535"),
        ("DB_PORT", "tcp://10.0.0.1:5432", "which is a Kubernetes service link", "enableServiceLinks"),
        ("DB_NAME", "", "is not set, beside DB_HOST, DB_USER", "set DB_HOST, DB_NAME and DB_USER"),
        ("DB_NAME", " ", "got ' '", "it takes a name"),
        ("DB_USER", "", "is not set, beside DB_HOST, DB_NAME", "set DB_HOST, DB_NAME and DB_USER"),
        ("DB_USER", "a\tb", "got 'a\\tb'", "it takes a name"),
        ("DB_SSL_DISABLE", "yes", "got 'yes'", "it takes 1, t, T, TRUE, true or True"),
        ("DB_SSL_DISABLE", "true\n", "got 'true\\n'", "it takes 1, t, T, TRUE, true or True"),
        ("DB_SCHEMA_DIR", " ", "got ' '", "a directory"),
        ("DB_SCHEMA_DIR", "/no/such", "'/no/such' does not exist", "is mounted"),
        ("DB_SCHEMA_DIR", __file__, "is not a directory", "the folder that holds the migrations"),
        ("DB_MIGRATIONS_TABLE", "t\n", "got 't\\n'", "a name that is not blank"),
        ("DB_MIGRATIONS_TABLE", " ", "got ' '", "a name that is not blank"),
        ("DB_MIGRATIONS_OPTIONS", "-c role", "got '-c role'", "-c role=owner"),
        ("DB_MIGRATIONS_OPTIONS", "-c%20role%3Downer", "got '-c%20role%3Downer'", "-c role=owner"),
        ("DB_OPTIONS", " ", "got ' '", "-c role=owner"),
        ("DB_AUTO_MIGRATE", " ", "got ' '", "it takes 1, t, T, TRUE, true or True"),
    ],
)
def test_a_wrong_value_of_neosyncs_variables_is_named(variable: str, value: str, got: str, takes: str) -> None:
    call("up", **PARTS | {variable: value}).is_error(2, f"tidegate: {variable}", got, takes)


@pytest.mark.parametrize("name", ["plain", "public.plain", '"a"."b"."c"', '"a', '""'])
def test_a_name_that_has_to_be_quoted_and_is_not_is_told(name: str) -> None:
    said = call("up", **PARTS, DB_MIGRATIONS_TABLE=name, DB_MIGRATIONS_TABLE_QUOTED="true")

    said.is_error(2, f"DB_MIGRATIONS_TABLE got {name!r}", '"table" or "schema"."table", with the quotes')


@pytest.mark.parametrize("variable", ["DB_SCHEMA_DIR", "TIDEGATE_REQUIRE"])
def test_a_required_directory_that_is_not_there_is_told_by_its_variable(variable: str) -> None:
    value = "dir:/no/such" if variable == "TIDEGATE_REQUIRE" else "/no/such"

    call("wait", **PARTS | {variable: value}).is_error(2, f"{variable}: the directory '/no/such' does not exist")


def test_a_blank_password_does_not_mask_every_blank() -> None:
    said = call("version", **PARTS | {"DB_PASS": " "})

    said.is_error(5, "the connection was refused")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("launch",), "launch"),
        (("-d", NOWHERE), "no verb"),
        (("up", "--colour"), "--colour"),
        (("--colour", "up"), "--colour"),
        (("up", "-1"), "-1"),
        (("up", "all"), "'all'"),
        (("goto", "abc"), "'abc'"),
        (("goto",), "V"),
        (("force",), "V"),
        (("force", "one"), "'one'"),
        (("down", "1", "--all"), "N or --all"),
        (("publish",), "SOURCE"),
        (("history", "--limit", "few"), "few"),
        (("bundle",), "WHAT"),
        (("admin", "fly"), "fly"),
        (("wait",), "no requirement"),
        (("wait", "--at-least", "x"), "version:x"),
        (("wait", "--at-least", "1", "--bundle", "b"), "more than one requirement"),
        (("exec", "--", "true"), "no requirement"),
        (("exec",), "no command"),
        (("run", "--embedded"), "--embedded"),
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_told_in_two_lines(arguments: tuple[str, ...], said: str) -> None:
    call(*arguments, DB_URL=NOWHERE).is_error(2, said)


@pytest.mark.parametrize("way", ["url", "raw", "encoded", "file"])
def test_a_password_of_any_characters_logs_in_and_is_never_shown(database: Database, tmp_path: Path, way: str) -> None:
    role, server = f"awkward_{database.name}", database.server
    database.psql(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD $p${AWKWARD}$p$")
    raw = AWKWARD.removesuffix("%41")
    if way == "raw":
        database.psql(f"ALTER ROLE {role} PASSWORD $p${raw}$p$")
    (tmp_path / "password").write_text(AWKWARD)
    parts = {"DB_HOST": server.host, "DB_PORT": str(server.port), "DB_NAME": database.name, "DB_USER": role}
    parts["DB_SSL_DISABLE"] = "true"
    environment = {
        "url": {"DB_URL": f"postgres://{role}:{quote(AWKWARD, safe='')}@{server.host}:{server.port}/{database.name}"},
        "raw": parts | {"DB_PASS": raw},
        "encoded": parts | {"DB_PASS": quote(AWKWARD, safe="")},
        "file": parts | {"DB_PASS_FILE": str(tmp_path / "password")},
    }[way]
    folder = files(tmp_path / "bundle", _1_a=ONE, _2_b="SELECT 1/0")
    try:
        migrated = call("up", "-s", folder, TIDEGATE_LOG_LEVEL="debug", **environment)
        shown = call("admin", "config", **environment)
    finally:
        database.psql(f"REASSIGN OWNED BY {role} TO postgres; DROP ROLE {role}")

    assert migrated.code == 1
    assert "2_b.up.sql:1" in migrated.err
    shown.is_fine(role)
    assert not [secret for secret in (raw, quote(raw, safe="")) if secret in migrated.all + shown.all]


def test_a_database_that_cannot_be_reached_is_named_with_its_place(database: Database) -> None:
    server, closed = database.server, free_port()
    cases = {
        server.dsn("not_there"): "does not exist",
        f"postgres://postgres:suite-only@{HOST}:{closed}/x": f"{HOST}:{closed}",
        database.dsn_as("postgres", "not-this-one"): "password is wrong",
    }
    for url, said in cases.items():
        for verb in ("up", "status", "version"):
            answer = call(verb, DB_URL=url)
            answer.is_error(5, said)
            assert "not-this-one" not in answer.all


async def test_a_pooler_is_refused(database: Database, tidegate: StartTidegate, tmp_path: Path) -> None:
    async with Relay(database.server.port, pooler=True).open() as relay:
        url = database.dsn.replace(f":{database.server.port}/", f":{relay.port}/")
        process = tidegate("up", "-s", files(tmp_path, _1_a=ONE), env={"DB_URL": url})
        doctor = tidegate("doctor", "--json", env={"DB_URL": url})
        assert (await process.ended(), await doctor.ended()) == (3, 3)

    assert "a pooler stands before the server" in process.stderr
    assert [each["check"] for each in json.loads(doctor.stdout)] == ["pooler"]
    assert "Traceback" not in process.stderr
    assert await database.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'tidegate')") == 0


def test_a_standby_is_refused(server: Server, tmp_path: Path) -> None:
    with running_server(server.version, server.binaries) as standby:
        with (standby.home / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write("\nwal_level = replica\nhot_standby = on\n")
        standby.restart(Shutdown.FAST)
        standby.stop(Shutdown.FAST)
        (standby.home / "data" / "standby.signal").touch()
        standby.start()

        call("up", "-s", files(tmp_path, _1_a=ONE), DB_URL=standby.dsn()).is_error(3, "is a standby")
        doctor = call("doctor", "--json", DB_URL=standby.dsn())
        gate = call("doctor", "--gate", "--json", DB_URL=standby.dsn())

    assert (doctor.code, [each["check"] for each in doctor.document]) == (3, ["standby"])
    assert "gate_listen" in [each["check"] for each in gate.document]


def test_a_server_that_vanishes_while_a_migration_runs_is_no_database(
    server: Server, tidegate: StartTidegate, tmp_path: Path
) -> None:
    folder = files(tmp_path, _1_a=ONE, _2_b="CREATE TABLE t2 (a int); SELECT pg_sleep(60)")
    with running_server(server.version, server.binaries) as private:
        process = tidegate("up", "-s", folder, env={"DB_URL": private.dsn()})
        process.wait_for_event("migration.started", version=2, migration="b")
        private.stop(Shutdown.IMMEDIATE)
        code = process.wait()
        private.start()
        tables = private.psql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename ~ '^t'")
        recorded = private.psql("SELECT * FROM schema_migrations")

    assert code == 5, process.report()
    assert "Traceback" not in process.stderr
    assert (tables, recorded) == ("t1", "1|f")


def test_a_port_in_use_ends_the_worker(database: Database, tidegate: StartTidegate) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        before = content(database)
        process = tidegate("run", env={"DB_URL": database.dsn, "TIDEGATE_HTTP_PORT": port})
        assert process.wait() == 2, process.report()

    assert port in process.stderr
    assert "Traceback" not in process.stderr
    assert content(database) == before


def test_a_password_that_a_server_repeats_is_masked(database: Database, tmp_path: Path) -> None:
    folder = files(tmp_path / "m", _1_a="SELECT 'tell-tale-word'::int;\n")
    said = call("up", "--source", folder, DB_URL=database.dsn_as(options="-c application_name=x"), PGPASSWORD="unused")
    assert "tell-tale-word" in said.err
    database.psql("CREATE ROLE teller LOGIN SUPERUSER PASSWORD 'tell-tale-word'")
    try:
        acting = database.dsn_as("teller", "tell-tale-word", options="-c role=postgres")
        said = call("up", "--source", folder, DB_URL=acting)
        assert said.code == 1
        assert "tell-tale-word" not in said.all
    finally:
        database.psql("DROP OWNED BY teller; DROP ROLE teller")
