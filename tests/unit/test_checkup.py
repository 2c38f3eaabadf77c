"""What facts of a live database come to: the severity, the reason, and SQL that the grammar takes."""

from dataclasses import replace

import pglast
import pytest

from tests.fixtures.standings import RUNNING
from worker.core.checks.checkup import Facts, ForeignObject, InvalidIndex, LockSession, SettingSeen, examine
from worker.core.checks.findings import Finding, Severity
from worker.core.checks.standing import Role

FACTS = Facts(
    RUNNING, "15.18", "UTF8", '"$user", public', is_superuser=False, has_own_schema=False, is_open_to_public=False
)


def told(facts: Facts) -> list[Finding]:
    return [finding for finding in examine(facts) if finding.severity is not Severity.OK]


def test_what_is_as_it_should_be_is_said_too() -> None:
    assert told(FACTS) == []
    assert [finding.check for finding in examine(FACTS)] == ["server", "encoding", "role", "search_path"]


def test_a_server_newer_than_any_tested_one_is_a_warning() -> None:
    newer = replace(FACTS, standing=replace(RUNNING, role=Role("login", "owner", 190_000)))
    assert [(each.check, each.severity) for each in told(newer)] == [("server", Severity.WARNING)]


@pytest.mark.parametrize(
    ("source", "sql"),
    [
        ("user", 'ALTER ROLE "login" RESET row_security;'),
        ("database user", 'ALTER ROLE "login" IN DATABASE "app" RESET row_security;'),
        ("database", 'ALTER DATABASE "app" RESET row_security;'),
        ("global", "ALTER ROLE ALL RESET row_security;"),
        ("configuration file", "ALTER ROLE \"login\" SET row_security = 'on';"),
    ],
)
def test_a_setting_is_taken_back_where_it_was_made(source: str, sql: str) -> None:
    (finding,) = told(replace(FACTS, settings=(SettingSeen("row_security", "off", source),)))
    assert (finding.check, finding.sql) == ("setting", sql)
    pglast.parse_sql(finding.sql)


def test_a_setting_that_was_chosen_as_it_should_be_is_no_finding() -> None:
    assert told(replace(FACTS, settings=(SettingSeen("row_security", "on", "user"),))) == []


def test_objects_are_told_by_owner_with_a_statement_each() -> None:
    objects = tuple(ForeignObject("TABLE", f"public.t{n}", "b" if n == 4 else "a") for n in range(5))
    first, second = told(replace(FACTS, objects=objects))
    assert ("role a, and not owner's to alter: 4 in all" in first.message, first.sql.count("\n")) == (True, 3)
    assert second.sql == 'ALTER TABLE public.t4 OWNER TO "owner";'


def test_a_right_to_remove_old_events_is_missed_by_nobody_who_may_not_write() -> None:
    lacking = replace(FACTS, may_forget_events=False)
    (finding,) = told(lacking)
    assert (finding.severity, finding.sql) == (Severity.WARNING, 'GRANT DELETE ON "tidegate".job_event TO "owner";')
    onlooker = replace(RUNNING, may_write_control=False)
    assert "events" not in [each.check for each in told(replace(lacking, standing=onlooker))]


@pytest.mark.parametrize(
    ("holds", "is_ours", "check", "ends"),
    [(True, False, "lock", True), (False, False, "lock_waiter", True), (True, True, "lock", False)],
)
def test_who_is_at_the_lock_is_told_and_a_stranger_can_be_ended(
    *, holds: bool, is_ours: bool, check: str, ends: bool
) -> None:
    (finding,) = told(replace(FACTS, sessions=(LockSession(7, holds, "app", "migrate", is_ours),)))
    assert (finding.check, finding.sql == "SELECT pg_terminate_backend(7);") == (check, ends)


def test_an_index_is_built_again_and_a_leftover_dropped() -> None:
    index, leftover = told(
        replace(
            FACTS,
            indexes=(InvalidIndex("public.i", is_leftover=False), InvalidIndex("public.i_ccnew", is_leftover=True)),
        )
    )
    assert index.sql == "REINDEX INDEX CONCURRENTLY public.i;"
    assert leftover.sql == "DROP INDEX CONCURRENTLY public.i_ccnew;"
