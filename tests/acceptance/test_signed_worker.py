"""A running worker, and somebody who writes rows: what is not signed is not run, and what is signed is run after it."""

import asyncio
from pathlib import Path

from tests.fixtures.attacker import FORGED, attacking, has_canary
from tests.fixtures.command_line import call
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import Database
from tests.fixtures.workers import eventually, migrations_in, start_worker, tables

AUDIENCE = {"TIDEGATE_AUDIENCE": "shop"}


async def forge(database: Database) -> None:
    async with attacking(database) as attacker:
        await attacker.insert(FORGED)


def test_a_worker_refuses_a_forged_bundle_says_why_and_applies_the_next_signed_one(
    tidegate: StartTidegate, database: Database, tmp_path: Path
) -> None:
    key, following = tmp_path / "ci", tmp_path / "next"
    for one in (key, following):
        call("bundle", "keygen", "--out", one).is_fine()
    first, second = migrations_in(tmp_path / "1", tables(1)), migrations_in(tmp_path / "2", tables(1, 2))
    for folder, label in ((first, "1.0"), (second, "2.0")):
        call("bundle", "sign", folder, "--key", key, "--label", label, "--sequence", label[0], **AUDIENCE).is_fine()
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "ci.pub").write_bytes(key.with_name("ci.pub").read_bytes())
    flags = ("--trusted-keys", trusted, "--audience", "shop")
    worker = start_worker(tidegate, database.dsn, "--source", first, *flags)
    worker.until("/readyz?at_least=1")

    asyncio.run(forge(database))

    refused = worker.process.wait_for_event("job.failed")
    assert (refused["outcome"], refused["reason"]) == ("refused", "untrusted")
    assert refused["message"] == "bundle 6.6.6 is not trusted: it is not signed"
    assert worker.answers("/readyz?at_least=1") == 200
    trouble = worker.status()["trouble"]
    assert (trouble["reason"], trouble["message"]) == ("untrusted", refused["message"])
    shown = call("status", "--json", *flags, "--database", database.dsn).document["targets"][0]
    assert shown["refusal"] == refused["message"]

    call("bundle", "withdraw", "6.6.6", *flags, "--database", database.dsn).is_fine("1.0 is wanted now")
    publish = ("publish", second, *flags, "--database", database.dsn)
    call(*publish).is_fine("2.0")
    worker.until("/readyz?at_least=2")

    # The key is revoked in the mounted folder, and the worker that runs knows it.
    (trusted / "next.pub").write_bytes(following.with_name("next.pub").read_bytes())
    (trusted / "ci.pub").unlink()
    third = migrations_in(tmp_path / "3", tables(1, 2, 3))
    call("bundle", "sign", third, "--key", key, "--label", "3.0", "--sequence", 3, **AUDIENCE).is_fine()
    old = ("--trusted-keys", f"{key}.pub", "--audience", "shop", "--database", database.dsn)
    call("publish", third, *old).is_fine("3.0")
    eventually(lambda: "trusted are next" in worker.process.stderr, "the old key is not trusted any more")
    assert worker.answers("/readyz?at_least=3") == 503
    call("bundle", "sign", third, "--key", following, "--label", "3.0", "--sequence", 4, **AUDIENCE).is_fine()
    call("publish", third, *flags, "--database", database.dsn).is_fine("3.0")
    worker.until("/readyz?at_least=3")

    assert not asyncio.run(has_canary(database))
    assert worker.stop() == 0
