"""The units: systemd finds nothing wrong with them, and runs them in the order that holds the API back."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.held import HELD, holding
from tests.fixtures.network import HOST, free_port, http_get
from tests.fixtures.pods import is_closed
from tests.fixtures.servers import Database
from tests.fixtures.systemd import MACHINE, TIDEGATE, systemd
from tests.fixtures.tools import tool
from tests.fixtures.workers import eventually, migrations_in, tables
from worker.cli.arguments import parse
from worker.postgres.password import read_password
from worker.settings.reading import read_settings

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
OURS = ("tidegate.service", "tidegate-up.service")
HERE = Path(sys.executable).with_name("tidegate")


def installed(folder: Path, *units: str, **places: str | Path) -> Path:
    """The units as somebody installs them, with files and programs in other places."""
    folder.mkdir()
    for unit in units:
        text = (UNITS / unit).read_text()
        for name, place in {"/opt/tidegate/bin/tidegate": HERE, **places}.items():
            text = text.replace(name, str(place))
        (folder / unit).write_text(text)
    return folder


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    units = installed(tmp_path / "units", *OURS, "api.service", **{"/usr/local/bin/api": "/bin/true"})
    command = [tool("systemd-analyze"), "verify", "--man=no", *sorted(units.iterdir())]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_find_a_wrong_unit(tmp_path: Path) -> None:
    units = installed(tmp_path / "units", "tidegate.service", **{"Type=notify": "Type=notified"})
    command = [tool("systemd-analyze"), "verify", "--man=no", units / "tidegate.service"]
    assert "notified" in subprocess.run(command, check=False, capture_output=True, text=True).stderr


@pytest.mark.parametrize("unit", OURS)
def test_the_units_are_well_sheltered(unit: str, tmp_path: Path) -> None:
    units = installed(tmp_path / "units", unit)
    command = [tool("systemd-analyze"), "security", "--offline=yes", "--threshold=20", units / unit]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", OURS)
def test_its_command_and_settings_are_understood(unit: str, tmp_path: Path) -> None:
    (tmp_path / "db-password").write_text("secret")
    (command,) = values(unit, "ExecStart")
    _, flags = parse(command.split()[1:])
    environment = dict(setting.replace("%d", str(tmp_path)).split("=", 1) for setting in values(unit, "Environment"))
    named = {"DB_HOST": HOST, "DB_PORT": "5432", "DB_NAME": "app", "DB_USER": "migrator"}
    (tmp_path / "migrations").mkdir()
    environment["DB_SCHEMA_DIR"] = str(tmp_path / "migrations")
    settings = read_settings({**environment, **named}, flags.settings, worker="w")
    assert settings.database is not None
    params = settings.database.migrating.read()
    assert read_password(params, "migrator", "app") == "secret"


async def test_the_api_starts_when_the_worker_is_ready_and_not_before(
    database: Database, api_program: Path, tmp_path: Path
) -> None:
    async with holding(database) as holder:
        port = free_port()
        home = machine(database, api_program, port, tmp_path, {1: HELD})

        with systemd(home, "api.service") as manager:
            manager.process.wait_for_event("migration.retried")
            assert manager.property("tidegate.service", "ActiveState") == "activating"
            assert manager.property("tidegate.service", "StatusText") == "migration 1 m1 runs up"
            assert manager.property("api.service", "ActiveState") == "inactive"
            assert is_closed(port)

            await holder.close()
            manager.process.wait_for_line(lambda line: line == f"listening on {HOST}:{port}")
            assert http_get(port).status == 200
            assert manager.property("tidegate.service", "ActiveState") == "active"

            manager.stop("tidegate.service")
            assert manager.property("tidegate.service", "Result") == "success"
            assert manager.property("api.service", "ActiveState") == "inactive"


def test_the_api_does_not_start_when_the_one_run_fails(database: Database, api_program: Path, tmp_path: Path) -> None:
    home = machine(database, api_program, free_port(), tmp_path, {1: "SELECT 1/0"}, "tidegate-up.service")
    with systemd(home, "api.service") as manager:
        eventually(lambda: manager.property("tidegate-up.service", "Result") == "exit-code", "the one run failed")
        eventually(lambda: manager.property("api.service", "ActiveState") == "inactive", "the API was given up")
        assert manager.property("tidegate-up.service", "ExecMainStatus") == "1"
        assert manager.property("api.service", "ExecMainStartTimestamp") == ""


def test_the_api_starts_after_the_one_run(database: Database, api_program: Path, tmp_path: Path) -> None:
    port = free_port()
    home = machine(database, api_program, port, tmp_path, tables(1), "tidegate-up.service")
    with systemd(home, "api.service") as manager:
        manager.process.wait_for_line(lambda line: line == f"listening on {HOST}:{port}")
        assert database.psql("SELECT version FROM schema_migrations") == "1"
        assert manager.property("tidegate-up.service", "SubState") == "exited"


def machine(
    database: Database, api: Path, port: int, folder: Path, scripts: dict[int, str], unit: str = "tidegate.service"
) -> Path:
    """A machine with the units and what they name; its API is required to come after `unit`."""
    migrations_in(folder / "sql", scripts)
    shutil.copy(api, folder / "api")
    (folder / "db-password").write_text("suite-only")
    (folder / "api.env").write_text("")
    settings = {
        "DB_HOST": HOST,
        "DB_PORT": str(database.server.port),
        "DB_NAME": database.name,
        "DB_USER": "postgres",
        "DB_SSL_DISABLE": "true",
        "TIDEGATE_HTTP_PORT": str(free_port()),
    }
    (folder / "tidegate.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    places = {
        "/opt/tidegate/bin/tidegate": TIDEGATE,
        "/usr/share/app/migrations": MACHINE / "sql",
        "/etc/tidegate": MACHINE,
        "/etc/api": MACHINE,
        "/usr/local/bin/api": f"{MACHINE}/api {HOST}:{port}",
        "=tidegate.service": f"={unit}",
        # The environment of the tests may lie in somebody's home, where only they may look.
        "ProtectHome=yes": "ProtectHome=no",
        "DynamicUser=yes": "DynamicUser=no",
    }
    installed(folder / "units", unit, "api.service", **places)
    return folder
