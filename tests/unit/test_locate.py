"""Which target of a fleet a word means, and where one lies by the file alone."""

from collections.abc import Callable

import pytest

from worker.core.connecting.dsn import parse_dsn
from worker.core.fleet.declared import Declared, Fleet, Group
from worker.core.fleet.file import read_fleet
from worker.core.target import Target
from worker.errors import SettingError, UsageError
from worker.jobs.locate import locate, locate_unread, pick
from worker.jobs.roster import Server

FILE = b"""
[[targets]]
schemas_query = "SELECT 1"
search_path = ["ext"]

[[targets]]
name = "far"
database = { env = "FAR" }
databases = ["eu", "us"]
schemas = ["a", "Odd name"]
line = "shop"

[[targets]]
name = "away"
database = { env = "AWAY" }
rows = true
"""


def fleet() -> Fleet:
    return read_fleet(FILE, "fleet.toml")


def server_of(*missing: str) -> Callable[[Group], Server]:
    """Servers as the command line makes them; those of the references in `missing` cannot be had."""

    def server(group: Group) -> Server:
        if group.reference is not None and group.reference.value in missing:
            raise SettingError(f"{group.reference.value} is not set", hint="set it")
        own = "home" if group.reference is None else group.reference.value.lower()

        def called(database: str) -> str:
            return "" if group.reference is None and database == own else group.called(database)

        async def nobody(database: str) -> object:
            raise AssertionError(database)

        return Server(own, own, called, nobody, lambda: parse_dsn("postgres://h/d", "x").params)  # type: ignore[arg-type]

    return server


def declared(database: str, schema: str, table: str = "schema_migrations", source: str = "own m") -> Declared:
    return Declared(database, Target(schema, table), "line", source, (schema,))


KNOWN = (declared("", "t1"), declared("far/eu", "t1"), declared("far/eu", "t2"), declared("", "t1", "audits"))


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("t1.schema_migrations", "t1.schema_migrations"),
        ("far/eu/t1.schema_migrations", "far/eu/t1.schema_migrations"),
        ("t2", "far/eu/t2.schema_migrations"),
        ("far/eu/t1", "far/eu/t1.schema_migrations"),
        ("t2.schema_migrations", "far/eu/t2.schema_migrations"),
        ("t1.audits", "t1.audits"),
    ],
)
def test_a_whole_name_or_what_no_other_has_is_enough(word: str, name: str) -> None:
    assert pick(word, KNOWN).name == name


def test_a_word_that_means_several_or_none_is_refused_and_they_are_named() -> None:
    with pytest.raises(UsageError, match=r"several: far/eu/t1\.schema_migrations, t1\.audits, t1\.schema_migrations$"):
        pick("t1", KNOWN)
    with pytest.raises(UsageError, match="the fleet has no such target"):
        pick("t3", KNOWN)
    many = [declared(f"d{number}", "t") for number in range(9)]
    with pytest.raises(UsageError, match=r"d4/t\.schema_migrations, …$"):
        pick("t", many)


@pytest.mark.parametrize(
    ("name", "database", "schema", "path"),
    [
        ("t9.schema_migrations", "home", "t9", ("t9", "ext")),
        ("far/us/a.schema_migrations", "us", "a", ("a",)),
        ('far/eu/"Odd name".schema_migrations', "eu", "Odd name", ("Odd name",)),
        ("away/somewhere/t.schema_migrations", "somewhere", "t", ("t",)),
    ],
)
def test_the_file_alone_tells_where_a_target_lies(name: str, database: str, schema: str, path: tuple[str, ...]) -> None:
    found = locate_unread(fleet(), server_of(), name)
    assert (found.place.database, found.declared.target.schema, found.declared.path) == (database, schema, path)
    assert found.declared.name == name


@pytest.mark.parametrize(
    "name",
    ["far/asia/a.schema_migrations", "far/eu/b.schema_migrations", "t.other", "x/t.schema_migrations", "", "t", "/"],
)
def test_what_no_group_can_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no group of the fleet can have such a target"):
        locate_unread(fleet(), server_of(), name)


def test_a_reference_that_is_wrong_hurts_no_target_of_another_group() -> None:
    assert locate_unread(fleet(), server_of("FAR", "AWAY"), "t.schema_migrations").place.database == "home"
    with pytest.raises(SettingError, match="is not set"):
        locate_unread(fleet(), server_of("FAR"), "far/eu/a.schema_migrations")


def test_a_declared_target_is_located_by_the_group_that_declared_it() -> None:
    groups = fleet().groups
    found = locate(fleet(), server_of("AWAY"), declared("far/us", "a", source=groups[1].source))
    assert (found.place.database, found.group.line) == ("us", "shop")
    with pytest.raises(UsageError, match="no group of the fleet's file declares it any more"):
        locate(fleet(), server_of(), declared("gone/us", "a", source="gone"))
