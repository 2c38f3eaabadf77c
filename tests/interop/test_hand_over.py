"""One database, handed from golang-migrate to Tidegate and back, at any moment and in any order."""

from pathlib import Path

import pytest

from tests.fixtures.golang_migrate import Both
from tests.fixtures.network import free_port
from tests.fixtures.workers import finish, migrations_in, tables


def three(both: Both) -> Path:
    """The directory of an older image, which has the first three migrations."""
    return migrations_in(both.source.parent / "three", tables(1, 2, 3))


def test_up_by_it_and_then_by_us(both: Both) -> None:
    both.theirs("up", 2)

    assert "3 migrations run, 2 adopted from golang-migrate" in both.ours("up")

    assert both.ledger() == ["1|adopted", "2|adopted", "3|applied", "4|applied", "5|applied"]
    assert (both.row(), both.there()) == ("5|f", ["t1", "t2", "t3", "t4", "t5"])
    both.ours("wait", "--at-least", 5, "--timeout", "0")


def test_up_by_us_and_then_by_it(both: Both) -> None:
    both.ours("up", 3)

    assert both.theirs("version").strip() == "3"
    assert "4/u m4" in both.theirs("up")
    assert "no change" in both.theirs("up")
    assert "0 migrations run, 2 adopted" in both.ours("up")
    assert "no change" in both.theirs("up")

    assert both.row() == "5|f"


def test_our_version_row_is_read_by_its_version_at_every_step(both: Both) -> None:
    for step, version in ((("up", 1), "1"), (("goto", 4), "4"), (("down", "--yes"), "3"), (("force", 2), "2")):
        both.ours(*step)
        assert both.theirs("version").strip() == version, step
        assert both.ours("version").strip() == version, step

    both.ours("force", -1)
    assert "no migration" in both.theirs("version", code=1)


def test_down_and_goto_in_turns(both: Both) -> None:
    both.ours("up")
    both.theirs("down", 1)
    refusal = both.ours("down", "--yes", code=3)
    assert "another program moved it back" in refusal
    assert "tidegate admin adopt" in refusal

    both.ours("admin", "adopt")
    both.ours("down", 2, "--yes")
    assert (both.row(), both.there()) == ("2|f", ["t1", "t2"])
    both.theirs("goto", 4)
    both.ours("goto", 3, "--yes")
    assert (both.row(), both.there()) == ("3|f", ["t1", "t2", "t3"])
    both.theirs("goto", 1)
    both.ours("admin", "adopt")
    assert both.ledger() == ["1|applied"]

    assert "4 migrations run" in both.ours("up")
    both.theirs("down", "-all")
    assert (both.row(), both.there()) == ("", [])
    both.ours("admin", "adopt")
    assert "5 migrations run" in both.ours("up")


def test_a_worker_leaves_alone_what_a_person_undid_with_the_other_program(both: Both) -> None:
    both.ours("up")
    both.theirs("down", 2)
    both.ours("admin", "adopt")

    worker = both.start_ours("run", "--http-port", free_port())
    assert worker.wait_for_event("target.paused")["why"] == "pinned by admin adopt"
    assert both.row() == "3|f"
    both.ours("resume")
    worker.wait_for_event("job.finished", outcome="succeeded", applied=2)
    worker.terminate()
    finish(worker)

    assert both.row() == "5|f"


def test_a_database_that_is_newer_than_the_files_is_a_fact(both: Both) -> None:
    both.theirs("up")

    assert "no migration found for version 5" in both.theirs("up", source=three(both), code=1)
    both.ours("up", source=three(both))
    both.ours("up", source=three(both))
    assert (both.row(), both.ledger()[-1]) == ("5|f", "5|adopted")
    both.ours("wait", "--timeout", "0", source=three(both))

    assert "no change" in both.theirs("up")


def test_an_older_image_goes_back_over_what_only_newer_ones_have(both: Both) -> None:
    both.ours("up", "--label", "5.0")

    assert "no migration found for version 5" in both.theirs("down", 1, source=three(both), code=1)
    both.ours("goto", 3, "--yes", source=three(both))

    assert "no change" in both.theirs("up", source=three(both))
    assert both.there() == ["t1", "t2", "t3"]


def test_what_only_it_knows_is_undone_by_it(both: Both) -> None:
    both.ours("up", source=three(both))
    both.theirs("up")
    both.ours("up", source=three(both))

    refusal = both.ours("down", 1, "--yes", code=3, source=three(both))
    assert "version 5 was applied by another program" in refusal
    assert "migrate goto 3" in refusal

    both.theirs("goto", 3)
    both.ours("admin", "adopt", source=three(both))
    assert "1 migrations run; it is at version 2" in both.ours("down", 1, "--yes", source=three(both))
    assert both.row() == "2|f"


@pytest.mark.parametrize(
    ("order", "code", "says", "has"),
    [
        (None, 3, "version 3 is pending, but 5 is already applied", False),
        ("error", 3, "version 3 is pending, but 5 is already applied", False),
        ("apply", 0, "1 migrations run", True),
        ("skip", 0, "nothing to do", False),
    ],
)
def test_a_version_that_arrives_late_follows_the_policy(
    both: Both,
    order: str | None,
    code: int,
    says: str,
    has: bool,  # noqa: FBT001  a row of the table above
) -> None:
    late, settings = both.source / "0003_m3.up.sql", {} if order is None else {"TIDEGATE_ORDER": order}
    body = late.read_text(encoding="utf-8")
    late.unlink()
    (both.source / "0003_m3.down.sql").unlink()
    both.theirs("up")
    both.ours("up")
    late.write_text(body, encoding="utf-8")

    assert "no change" in both.theirs("up")
    assert says in both.ours("up", code=code, **settings)

    assert ("t3" in both.there(), both.row()) == (has, "5|f")
    assert "no change" in both.theirs("up")


def test_files_that_alter_the_version_table_itself_can_be_run_by_either(both: Both) -> None:
    alters = {6: "ALTER TABLE schema_migrations ADD COLUMN data_version int", 7: "CREATE TABLE t7 (a int)"}
    migrations_in(both.source, {**alters, 8: "ALTER TABLE schema_migrations DROP COLUMN data_version"})

    both.theirs("up", 6)
    both.ours("up", 1)
    both.theirs("up", 1)
    both.ours("goto", 5, "--yes", code=1)
    both.ours("up")

    assert (both.theirs("version").strip(), both.row()) == ("8", "8|f")


def test_replicas_of_both_that_start_together_apply_everything_once(both: Both) -> None:
    processes = [start("up") for start in (both.start_theirs, both.start_ours) for _ in range(3)]
    for process in processes:
        finish(process)

    assert (both.row(), both.there()) == ("5|f", ["t1", "t2", "t3", "t4", "t5"])
    both.ours("up")
    assert [line.split("|")[0] for line in both.ledger()] == ["1", "2", "3", "4", "5"]
