"""The page for operators says what the code says."""

import re

import pytest

from tests.fixtures.observing import PAGE, tables, written
from worker.cli.arguments import VERBS

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_of_events_metrics_and_alerts_are_the_codes() -> None:
    assert written(TEXT) == TEXT, "python -m tests.fixtures.observing writes them anew"


@pytest.mark.parametrize("name", tables())
def test_a_table_that_is_out_of_date_is_noticed(name: str) -> None:
    line = tables()[name].splitlines(keepends=True)[-1]
    stale = TEXT.replace(line, "")
    assert stale != TEXT
    assert written(stale) == TEXT


def test_every_command_that_the_page_names_is_one() -> None:
    assert set(re.findall(r"`tidegate ([a-z]+)", TEXT)) <= set(VERBS)


def test_every_file_that_the_page_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
