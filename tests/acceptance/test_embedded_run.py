"""`tidegate run --embedded`: the first minute with the program, and nothing of it left behind."""

from pathlib import Path
from urllib.parse import unquote

from tests.fixtures.network import free_port
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import Worker, eventually, finish


def still_running(directory: Path) -> list[str]:
    """The processes whose command line names the directory."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().decode(errors="replace").replace("\0", " "))
        except OSError:
            continue
    return [line for line in lines if str(directory) in line]


def test_a_private_server_shows_the_example_and_is_gone_after_an_interrupt(tidegate: StartTidegate) -> None:
    port = free_port()
    process = tidegate("run", "--embedded", "--http-port", str(port))
    dsn = process.wait_for_line(lambda line: line.startswith("DSN "), 60).split()[1]
    directory = Path(unquote(dsn.partition("?host=")[2]))
    assert directory.is_dir()

    finish(tidegate("wait", "--at-least", "12", env={"DB_URL": dsn}))
    Worker(process, port).until("/readyz?at_least=12")
    assert still_running(directory)
    process.interrupt()

    assert process.wait(20) == 0, process.report()
    eventually(lambda: not directory.exists() and not still_running(directory), "server and directory are gone")


def test_a_private_server_beside_a_named_one_is_refused(tidegate: StartTidegate, database: Database) -> None:
    process = tidegate("run", "--embedded", env={"DB_URL": database.dsn})

    finish(process, 2)
    assert "--embedded starts a Postgres of its own, but DB_URL names one too" in process.stderr
