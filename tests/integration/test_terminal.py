"""What a person sees on a terminal: progress, tables, colours, and the place in their file."""

import re
import sys
from pathlib import Path

import pytest

from tests.fixtures.command_line import call, files
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.terminals import OnTerminal, Terminal
from tests.fixtures.tools import tool
from tests.fixtures.workers import applied, eventually

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;[\d;]+)m")
HELD = """DO $$ BEGIN
    FOR n IN 1..1500 LOOP EXIT WHEN EXISTS (SELECT FROM go); PERFORM pg_sleep(0.02); END LOOP;
END $$;
"""
THREE = {
    "_1_orders": "CREATE TABLE orders (a int);",
    "_2_held": HELD,
    "_3_steps": "CREATE INDEX CONCURRENTLY i ON orders (a);\nCREATE INDEX CONCURRENTLY j ON orders (a);",
}
BROKEN = "-- first\n\nCREATE TABLE broken (\n\ta nonsense NOT NULL\n);\n"
ARROW = "4 │  a nonsense NOT NULL\n       │    ^~~~~~~~"


@pytest.fixture
def waiting(database: Database, tmp_path: Path) -> Path:
    """Three migrations, of which the second waits until the table `go` has a row."""
    database.psql("CREATE TABLE go (a int)")
    return files(tmp_path / "app", **THREE)


def test_up_shows_how_far_it_is_and_leaves_a_line_for_each_migration(
    database: Database, waiting: Path, on_terminal: OnTerminal
) -> None:
    up = on_terminal("up", "-s", waiting, env={"DB_URL": database.dsn})

    seen = up.until(lambda screen: "1 of 3 migrations" in screen and "2 held" in screen, "the second of three")
    assert re.search(r"^applied  1 orders  [\d.]+ m?s$", seen, re.MULTILINE)
    assert re.search(r"^[━╸╺]+ +1 of 3 migrations  \d+ s$", seen, re.MULTILINE)
    assert up.colours("applied") == {"green"}
    database.psql("INSERT INTO go VALUES (1)")
    assert up.ended() == 0

    assert [line.split()[:3] for line in up.screen.splitlines()[:3]] == [
        ["applied", "1", "orders"], ["applied", "2", "held"], ["applied", "3", "steps"],
    ]  # fmt: skip
    assert up.screen.splitlines()[3:] == ["public.schema_migrations: 3 migrations run; it is at version 3"]
    assert up.written.endswith("\r\n")
    assert "\x1b[?25h" in up.written


def test_a_journalled_migration_shows_its_segments(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    database.psql("CREATE TABLE go (a int)")
    folder = files(tmp_path, _1_steps="-- tidegate: transaction=off\nSELECT 1;\n" + HELD + "SELECT 2;")

    up = on_terminal("up", "-s", folder, env={"DB_URL": database.dsn})
    up.shows("segment 2 of 3")
    database.psql("INSERT INTO go VALUES (1)")

    assert up.ended() == 0


def test_an_index_build_shows_how_far_it_is_here_and_from_outside(
    database: Database, tmp_path: Path, on_terminal: OnTerminal
) -> None:
    database.psql(
        "CREATE TABLE t AS SELECT n FROM generate_series(1, 2000) AS n;"
        "CREATE FUNCTION slowly(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(0.01); RETURN $1; END'"
    )
    folder, env = files(tmp_path, _1_i="CREATE INDEX CONCURRENTLY i ON t (slowly(n));"), {"DB_URL": database.dsn}

    up = on_terminal("up", "-s", folder, env=env)
    watch = on_terminal("status", "--watch", env=env)
    build = re.compile(r"━.*CREATE INDEX CONCURRENTLY: building index.* \d+ of \d+ blocks")
    up.until(lambda screen: build.search(screen) is not None, "the build")
    watch.until(lambda screen: build.search(screen) is not None and "held by tidegate" in screen, "the build, outside")
    up.type("\x03")

    assert up.ended() == 130


def test_who_is_waited_for_is_shown(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    database.psql("CREATE TABLE go (a int)")
    folder = files(tmp_path, _1_table="CREATE TABLE held (a int);")
    call("up", "-s", folder, DB_URL=database.dsn).is_fine()
    files(folder, _2_late="ALTER TABLE held ADD b int;")
    holder = on_terminal(
        program=(str(database.server.clients / "psql"), "-X", database.dsn_as(application_name="shop"))
    )
    holder.type("BEGIN; LOCK TABLE held; SELECT 'has it';\n")
    holder.shows("(1 row)")

    up = on_terminal("up", "-s", folder, env={"DB_URL": database.dsn})
    up.until(lambda screen: "waits for a lock of role" in screen and "shop" in screen, "whom it waits for")
    holder.type("ROLLBACK;\n")

    assert up.ended() == 0


def test_ctrl_c_ends_up_with_the_terminal_in_order(database: Database, waiting: Path, on_terminal: OnTerminal) -> None:
    up = on_terminal("up", "-s", waiting, env={"DB_URL": database.dsn})
    up.shows("1 of 3 migrations")
    up.type("\x03")

    assert up.ended() == 130
    assert "Traceback" not in up.written
    assert "of 3 migrations" not in up.screen
    assert up.written.rfind("\x1b[?25h") > up.written.rfind("\x1b[?25l")


def test_a_terminal_that_is_gone_stops_no_migration(database: Database, waiting: Path, on_terminal: OnTerminal) -> None:
    up = on_terminal(
        "-c", "import signal, sys; from worker.cli import main; signal.signal(signal.SIGHUP, signal.SIG_IGN); main()",
        "up", "-s", waiting, env={"DB_URL": database.dsn}, program=(sys.executable,),
    )  # fmt: skip
    up.shows("1 of 3 migrations")
    up.hang_up()
    database.psql("INSERT INTO go VALUES (1)")

    eventually(lambda: applied(database) == ["1", "2", "3"], "all three applied")


def test_publish_shows_that_it_waits(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    folder = files(tmp_path, _1_a="CREATE TABLE a (a int);")

    publish = on_terminal("publish", folder, "--label", "1.0", "--wait", env={"DB_URL": database.dsn})
    publish.until(lambda screen: re.search(r"^waiting for \d+ s$", screen, re.MULTILINE) is not None, "a wait")
    call("up", "-s", folder, "--label", "1.0", DB_URL=database.dsn).is_fine()

    assert publish.ended() == 0
    assert publish.screen.splitlines()[-1] == "public.schema_migrations is ready for 1.0"
    assert "waiting for" not in publish.screen


def test_who_says_which_log_is_wanted_gets_it(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    folder = files(tmp_path, _1_a="CREATE TABLE a (a int);")

    up = on_terminal("up", "-s", folder, env={"DB_URL": database.dsn, "TIDEGATE_LOG_LEVEL": "info"})

    assert up.ended() == 0
    assert "migration.finished" in up.screen
    assert "applied  1 a" not in up.screen
    assert "of 1 migrations" not in up.written


def test_a_failed_migration_shows_its_line(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    folder = files(tmp_path, _1_broken=BROKEN)

    up = on_terminal("up", "-s", folder, env={"DB_URL": database.dsn})

    assert up.ended() == 1
    assert '1_broken.up.sql:4:4: type "nonsense" does not exist [42704]' in up.screen
    assert ARROW in up.screen
    assert up.colours("^~~~~~~~") == {"red"}
    assert "Traceback" not in up.screen


def test_a_refused_script_shows_its_line(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    folder = files(tmp_path, _1_copy="SELECT 1;\nCOPY t FROM stdin;\n")

    for words in (("plan", "-s"), ("up", "-s"), ("publish",)):
        seen = on_terminal(*words, folder, env={"DB_URL": database.dsn})
        assert seen.ended() == 2, words
        assert "2 │ COPY t FROM stdin;\n       │ ^~" in seen.screen, words


def test_a_line_is_shown_on_no_log_and_of_no_published_bundle(
    database: Database, tmp_path: Path, on_terminal: OnTerminal
) -> None:
    folder, env = files(tmp_path, _1_broken=BROKEN), {"DB_URL": database.dsn}

    assert "NOT NULL" not in call("up", "-s", folder, **env).all
    call("publish", folder, **env).is_fine()
    up = on_terminal("up", env=env)

    assert up.ended() == 1
    assert "1_broken.up.sql:4:4" in up.screen
    assert "NOT NULL" not in up.screen


def test_without_colour_there_is_none(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    env = {"DB_URL": database.dsn, "NO_COLOR": "1"}
    folder = files(tmp_path, _1_a="CREATE TABLE a (a int);", _2_broken=BROKEN)

    for words in (("up", "-s", folder), ("plan", "-s", folder), ("history",), ("status",)):
        seen = on_terminal(*words, env=env)
        seen.ended()
        assert len(seen.screen) > 50, words
        assert COLOUR.search(seen.written) is None, words


def test_a_dumb_terminal_gets_lines(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    env = {"DB_URL": database.dsn, "TERM": "dumb"}
    folder = files(tmp_path, _1_a="CREATE TABLE a (a int);", _2_broken=BROKEN)

    for words in (("up", "-s", folder), ("plan", "-s", folder), ("history",), ("status",)):
        seen = on_terminal(*words, env=env)
        seen.ended()
        assert len(seen.screen) > 50, words
        assert "\x1b" not in seen.written, words
        assert "│" not in seen.screen, words


def test_a_plan_shows_locks_and_sizes(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    database.psql("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 50000); ANALYZE t")
    folder = files(tmp_path, _1_light="CREATE TABLE n (a int);", _2_heavy="ALTER TABLE t ADD b int;\nDO 'BEGIN END';")

    plan = on_terminal("plan", "-s", folder, "--lint", env={"DB_URL": database.dsn}, columns=140)

    assert plan.ended() == 0
    assert re.search(r"1  light .* none that others wait for$", plan.screen, re.MULTILINE)
    assert re.search(r"2  heavy .* ACCESS EXCLUSIVE public.t 1.8 MB, about 50 k rows$", plan.screen, re.MULTILINE)
    assert "unknown, from line 2" in plan.screen
    assert plan.colours("ACCESS EXCLUSIVE") == {"red"}
    assert "2_heavy.up.sql:1:21\n     1 │ ALTER TABLE t ADD b int;\n       │                     ^~~" in plan.screen


def test_a_narrow_terminal_gets_what_fits(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    env = {"DB_URL": database.dsn}
    database.psql("CREATE TABLE orders (a int)")
    folder = files(tmp_path, _1_a="CREATE TABLE a (a int);")
    call("up", "-s", folder, **env).is_fine()
    files(folder, _2_b="ALTER TABLE orders ADD b int;")

    for words in (("history",), ("plan", "-s", folder), ("status",), ("bundle", "list"), ("doctor",)):
        seen = on_terminal(*words, env=env, columns=60)
        assert seen.ended() == 0
        assert all(len(line) <= 60 for line in re.sub(r"\x1b\[[\d;?]*\w", "", seen.written).splitlines()), words
    assert "left out, for want of room: bundle, mode, role," in on_screen(on_terminal("history", env=env, columns=60))
    assert "ACCESS EXCLUSIVE" in on_screen(on_terminal("plan", "-s", folder, env=env, columns=60))


def on_screen(terminal: Terminal) -> str:
    assert terminal.ended() == 0
    return terminal.screen


def test_a_files_text_cannot_write_on_the_terminal(database: Database, tmp_path: Path, on_terminal: OnTerminal) -> None:
    folder = files(tmp_path, _1_a='CREATE TABLE a (a "\x1b]0;gotcha\x07\x9b31m", b int);')

    for words in (("up",), ("status",), ("plan", "--lint")):
        seen = on_terminal(*words, "-s", folder, env={"DB_URL": database.dsn})
        seen.ended()
        assert "gotcha" in seen.written, words
        assert "\x1b]" not in seen.written, words
        assert "\x07" not in seen.written, words
        assert "\x9b" not in seen.written, words


def test_off_a_terminal_nothing_is_drawn(database: Database, tmp_path: Path, tidegate: StartTidegate) -> None:
    env = {"DB_URL": database.dsn, "TERM": "xterm-256color", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}
    folder = files(tmp_path, _1_a="CREATE TABLE a (a int);", _2_broken=BROKEN)

    for words in (("up", "-s", folder), ("plan", "-s", folder), ("history",), ("status",)):
        process = tidegate(*words, env=env)
        process.wait()
        assert "\x1b" not in process.stdout + process.stderr, words


SHELLS = {
    "bash": ("bash", "--norc", "--noprofile"),
    "zsh": ("zsh", "-f"),
    "fish": ("fish", "--no-config"),
}
SOURCED = {
    "bash": "source <(tidegate completion bash)",
    "zsh": "autoload -Uz compinit; compinit -u; source <(tidegate completion zsh)",
    "fish": "tidegate completion fish | source",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell: str, tmp_path: Path, on_terminal: OnTerminal) -> None:
    program, *options = SHELLS[shell]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    typing = on_terminal(
        program=(tool(program), *options), env={"PATH": path, "HOME": str(tmp_path), "PS1": "> ", "TERM": "xterm"}
    )
    typing.type(f"{SOURCED[shell]}; echo rea''dy\n")
    typing.shows("ready\n")

    typing.type("tidegate pla\t")
    typing.until(lambda screen: screen.endswith("tidegate plan"), "tidegate plan")
    typing.type("--che\t")
    typing.until(lambda screen: "--check" in screen, "--check")
    typing.type("\x15tidegate --log-level de\t")
    typing.shows("--log-level debug")
