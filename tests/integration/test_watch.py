"""`status --watch`: one picture on a terminal, lines off it, and both outlive a lost database."""

import json
import re
from pathlib import Path

from tests.fixtures.command_line import call, files
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.terminals import OnTerminal

CLEARED = "\x1b[2J"
ALTERNATE, BACK = "\x1b[?1049h", "\x1b[?1049l"


def test_the_picture_follows_the_database(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    env, folder = {"DB_URL": database.dsn}, files(tmp_path, _1_a="CREATE TABLE a (a int);")
    call("publish", folder, "--label", "1.0", **env).is_fine()

    watch = on_terminal("status", "--watch", env=env)
    watch.until(lambda screen: "0 of 1" in screen and "Ctrl-C ends" in screen, "nothing applied yet")
    call("up", **env).is_fine()
    watch.until(lambda screen: "1 of 1" in screen and "ready for  1.0" in screen, "what up did")

    assert database.name in watch.screen
    assert watch.colours("1.0") == {"default"} or watch.colours("ready for") == {"default"}


def test_the_picture_stays_in_place_and_fits_the_window(
    database: Database, tmp_path: Path, on_terminal: OnTerminal
) -> None:
    env, folder = {"DB_URL": database.dsn}, files(tmp_path, _1_a="CREATE TABLE a (a int);")
    call("up", "-s", folder, "--label", "a-label-that-is-longer-than-the-narrow-window-will-be", **env).is_fine()
    watch = on_terminal("status", "--watch", env=env)
    watch.shows("a-label-that-is-longer-than-the-narrow-window-will-be")
    watch.until(lambda _: watch.written.count("seen 0 s ago") > 4, "several pictures")

    watch.resize(50)
    watch.until(lambda screen: all(len(line) <= 50 for line in screen.splitlines()), "a narrow picture")
    watch.until(
        lambda screen: "a-label-that-is-longer-than-the-narrow-\n" in screen and screen.count("target ") == 1,
        "the label on two lines, in one whole picture",
    )

    assert watch.written.count(CLEARED) <= 1


def test_ctrl_c_ends_it_cleanly(database: Database, on_terminal: OnTerminal) -> None:
    watch = on_terminal("status", "--watch", env={"DB_URL": database.dsn})
    watch.shows("Ctrl-C ends")
    watch.type("\x03")

    assert watch.ended() == 130
    assert "Traceback" not in watch.written
    left = watch.written.partition(BACK)[2]
    assert "public.schema_migrations" in left
    assert watch.written.rfind("\x1b[?25h") > watch.written.rfind("\x1b[?25l")
    assert watch.written.count(ALTERNATE) == watch.written.count(BACK) == 1


def test_a_lost_database_is_said_and_found_again(database: Database, on_terminal: OnTerminal) -> None:
    watch = on_terminal("status", "--watch", env={"DB_URL": database.dsn})
    watch.shows("Ctrl-C ends")
    watch.shows("public.schema_migrations")

    database.server.stop()
    seen = watch.shows("the database is away")
    assert "public.schema_migrations" in seen
    database.server.start()

    watch.until(lambda screen: "away" not in screen and "seen 0 s ago" in screen, "the database again")


def test_off_a_terminal_documents_tell_of_a_lost_database(database: Database, tidegate: StartTidegate) -> None:
    watch = tidegate("status", "--watch", "--json", env={"DB_URL": database.dsn})
    watch.wait_for_line(lambda line: json.loads(line)["database"] is None)

    database.server.stop()
    lost = json.loads(watch.wait_for_line(lambda line: json.loads(line)["database"] is not None))
    database.server.start()
    before = len(watch.stdout.splitlines())
    watch.wait_for_line(
        lambda line: watch.stdout.splitlines().index(line) >= before and json.loads(line)["database"] is None
    )
    watch.interrupt()

    assert watch.wait() == 130
    assert [target["target"] for target in lost["targets"]] == ["public.schema_migrations"]
    assert re.search(r"Traceback|\x1b", watch.stdout + watch.stderr) is None


def test_no_database_at_the_beginning_is_an_error(database: Database, tidegate: StartTidegate) -> None:
    watch = tidegate("status", "--watch", env={"DB_URL": database.dsn.replace(database.name, "nowhere")})

    assert watch.wait() == 5
