"""What `--json` prints has the documented keys and types, and nothing else."""

import argparse
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.command_line import call
from tests.fixtures.servers import Database
from tests.fixtures.tools import tool
from tests.fixtures.workers import migrations_in, tables
from worker.cli.arguments import VERBS, parser_for
from worker.cli.documents import DOCUMENTS, ELSEWHERE, Maybe, OneOf, Time

FLEET = {name for name in DOCUMENTS if name.endswith(" --fleet")}

HEAVY = {
    4: "CREATE INDEX i ON t1 (a);\nDO 'BEGIN END';\n",
    5: "-- tidegate: gate=off\nCREATE INDEX CONCURRENTLY j ON t1 (a);\n",
}


def deviations(value: Any, shape: Any, place: str = "$") -> Iterator[str]:
    """Where a value is not of its shape."""
    match shape:
        case Maybe(inner):
            yield from () if value is None else deviations(value, inner, place)
        case [inner]:
            for number, each in enumerate(value):
                yield from deviations(each, inner, f"{place}[{number}]")
        case dict() if any(isinstance(key, OneOf) for key in shape):
            ((words, inner),) = shape.items()
            yield from [f"{place}.{key}: no such word" for key in value if not _is(key, words)]
            for key in value:
                yield from deviations(value[key], inner, f"{place}.{key}")
        case dict():
            yield from [f"{place}.{key}: in one only" for key in set(value) ^ set(shape)]
            for key in set(value) & set(shape):
                yield from deviations(value[key], shape[key], f"{place}.{key}")
        case _:
            yield from () if _is(value, shape) else [f"{place}: {value!r} is not {shape}"]


def _is(value: Any, shape: Any) -> bool:
    match shape:
        case OneOf(words):
            return value in words
        case Time():
            return datetime.fromisoformat(value).utcoffset() is not None
        case _:
            return type(value) is shape


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return migrations_in(tmp_path / "app", tables(1, 2))


def test_every_verb_prints_the_documented_document(database: Database, folder: Path) -> None:
    tool("squawk")
    flags = ("-s", folder, "-d", database.dsn, "--label")
    steps: list[tuple[str, tuple[object, ...]]] = [
        ("version", ()),
        ("history", ()),
        ("plan", ()),
        ("doctor", ()),
        ("up", ()),
        ("up", ()),
        ("plan", ()),
        ("publish", (folder,)),
        ("bundle list", ()),
        ("down", ("1", "--yes")),
        ("plan", ("--goto", "1", "--lint")),
        ("goto", ("2",)),
        ("version", ()),
        ("history", ()),
        ("status --drift", ()),
        ("admin fingerprint", ()),
        ("admin adopt", ()),
        ("admin config", ()),
        ("admin repair", ()),
        ("doctor", ()),
    ]
    for verb, words in steps:
        said = call(*verb.split(), *words, "--json", *flags, "1.0")
        assert list(deviations(said.document, DOCUMENTS[verb], verb)) == [], said
    migrations_in(folder, HEAVY)
    planned = call("plan", "--lint", "--json", *flags, "1.1").document
    assert list(deviations(planned, DOCUMENTS["plan"])) == []
    assert planned["run"][0]["locks"]
    assert planned["run"][0]["unknown_locks"] == [2]
    assert planned["findings"]
    signed_by_nobody(folder, database)
    call("bundle", "withdraw", "1.0", "-d", database.dsn)
    gone = call("admin", "uninstall", "--json", "--yes", "-d", database.dsn).document
    assert list(deviations(gone, DOCUMENTS["admin uninstall"])) == []
    assert {verb for verb, _ in steps} | {"admin uninstall", "bundle verify"} == set(DOCUMENTS) - FLEET


def test_a_fleet_prints_the_documented_documents(database: Database, tmp_path: Path) -> None:
    database.psql("CREATE SCHEMA t1; CREATE SCHEMA t2; CREATE TABLE t2.t1 ()")
    source, file = migrations_in(tmp_path / "app", tables(1, 2)), tmp_path / "fleet.toml"
    groups = ("schemas = ['t1', 't2', 't3']", "table = 'b'\nline = 'b'\nschemas_query = 'SELECT nonsense'")
    file.write_text("".join(f"[[targets]]\n{group}\n" for group in groups))
    flags = ("--json", "--fleet", file, "-s", source, "-d", database.dsn)
    for verb, words in (("doctor", ()), ("up", ()), ("status", ()), ("up", ("--target", "t1")), ("doctor", ())):
        said = call(verb, *words, *flags)
        assert list(deviations(said.document, DOCUMENTS[f"{verb} --fleet"], verb)) == [], said
    assert said.document["findings"]
    document = call("up", *flags).document
    assert document["states"] == {"failed": 1, "refused": 1, "succeeded": 1}
    assert len(document["troubled"]) == 2
    assert document["misdeclared"]
    migrations_in(tmp_path / "app", tables(3))
    call("pause", "--target", "t1", *flags[1:3], "-d", database.dsn).is_fine()
    document = call("up", "--target", "t1", *flags).document
    assert list(deviations(document, DOCUMENTS["up --fleet"], "up")) == []
    assert document["left"]


def signed_by_nobody(folder: Path, database: Database) -> None:
    """What `bundle verify` says of a signed source, and of published bundles that nobody signed."""
    key, trust = folder.parent / "ci", ("--audience", "shop")
    call("bundle", "keygen", "--out", key).is_fine()
    call("bundle", "sign", folder, "--key", key, "--label", "1.2", *trust).is_fine()
    said = call("bundle", "verify", folder, "--json", "--trusted-keys", f"{key}.pub", *trust, "-d", database.dsn)
    assert list(deviations(said.document, DOCUMENTS["bundle verify"])) == []
    assert said.document["source"]["signed"]["by"] == ["ci"]
    (published,) = said.document["published"]
    assert (published["trusted"], published["why"]) == (False, "bundle 1.0 is not trusted: it is not signed")
    assert said.code == 3


def test_every_verb_that_takes_json_is_documented() -> None:
    assert set(_taking_json()) == {name.split(" --")[0] for name in DOCUMENTS} | ELSEWHERE


def _taking_json() -> Iterator[str]:
    for verb in VERBS:
        for action in parser_for([verb])._actions:  # noqa: SLF001 - argparse tells it no other way
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
                yield from _of(verb, action.choices[verb])


def _of(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:  # noqa: SLF001 - the same
        if "--json" in action.option_strings:
            yield name
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
            for word, child in action.choices.items():
                yield from _of(f"{name} {word}", child)
