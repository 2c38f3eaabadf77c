"""`tidegate bundle …`: pack, sign, list, verify and withdraw bundles."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from worker.applier.run import read
from worker.bundles.archive import pack, read_source
from worker.bundles.directory import local_path
from worker.cli import sealing
from worker.cli.app import App
from worker.cli.arguments import SettingsParser
from worker.cli.output import print_json, print_line, print_table
from worker.core.bundles.bundle import Bundle, Vet, unsealed, unvetted
from worker.core.bundles.migration import Direction
from worker.errors import ExitCode
from worker.jobs.look import look
from worker.jobs.steer import withdraw
from worker.postgres.home_half import HomeHalf, Row

if TYPE_CHECKING:
    from worker.cli.arguments import Flags


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """The verbs of `bundle`."""
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True, parser_class=SettingsParser)
    packing = verbs.add_parser("pack", help="write a directory as a .tar.gz that is the same for the same content")
    packing.add_argument("bundle", metavar="SOURCE")
    packing.add_argument("--out", "-o", metavar="FILE", required=True)
    sealing.add_claim_arguments(packing, "--sign")
    sealing.add_key_arguments(verbs.add_parser("keygen", help="make a pair of keys to sign with"))
    signing = verbs.add_parser("sign", help="sign a directory: writes its bundle.sig")
    signing.add_argument("bundle", metavar="DIR")
    sealing.add_claim_arguments(signing, "--key")
    listing = verbs.add_parser("list", help="list what was published on the line")
    listing.add_argument("--json", action="store_true", help="print a JSON document")
    verifying = verbs.add_parser("verify", help="check a directory or an archive, or all that is published")
    verifying.add_argument(
        "bundle", metavar="SOURCE", nargs="?", help="without one, what the database holds is checked"
    )
    verifying.add_argument("--json", action="store_true", help="print a JSON document")
    withdrawing = verbs.add_parser("withdraw", help="take a bundle back; no SQL is run")
    withdrawing.add_argument("bundle", metavar="LABEL")


def run(_verb: str, flags: "Flags") -> ExitCode:
    """Run one of the verbs of `bundle`."""
    match flags.own.what:
        case "pack":
            _pack(flags)
        case "keygen":
            sealing.keygen(flags)
        case "sign":
            app = App(flags)
            _checked(flags, unsealed)
            print_line(f"{flags.own.bundle}: {_told(app, sealing.sign(app, flags))}")
        case "verify":
            _verify(App(flags), flags)
        case "list":
            anyio.run(_list, App(flags), flags)
        case _:
            anyio.run(_withdraw, App(flags), flags.own.bundle)
    return ExitCode.OK


def _pack(flags: "Flags") -> None:
    if flags.own.keys:
        app = App(flags)
        bundle = sealing.sealed(app, flags, _checked(flags, unsealed, app.settings.target.label))
    else:
        bundle = _checked(flags, unvetted, flags.settings["label"])
    pack(bundle, Path(flags.own.out))
    print_line(f"{flags.own.out}: {bundle.label}, {len(bundle.migrations)} migrations, digest {bundle.digest}")


def _verify(app: App, flags: "Flags") -> None:
    """Check a source, and what is published where no source or a database was named besides."""
    policy, named = sealing.strict(app), flags.own.bundle is not None
    bundle = _checked(flags, app.trust_under(policy).vet, app.settings.target.label) if named else None
    if bundle is not None and not flags.own.json:
        print_line(_told(app, bundle))
    looks = bundle is None or flags.settings["database"] is not None
    verdicts = anyio.run(sealing.verdicts, app, policy) if looks else None
    if flags.own.json:
        source = None if bundle is None else sealing.document(app, bundle)
        print_json({"source": source, "published": verdicts and [one.document for one in verdicts]})
    elif verdicts is not None:
        sealing.print_verdicts(verdicts)
    sealing.check_verdicts(verdicts or ())


def _told(app: App, bundle: Bundle) -> str:
    said = f"{bundle.label}: {len(bundle.migrations)} migrations, digest {bundle.digest}"
    return f"{said}; {sealing.described(app, bundle)}"


def _checked(flags: "Flags", vet: Vet, label: str | None = None) -> Bundle:
    bundle = read_source(local_path(flags.own.bundle), label, vet)
    for migration in bundle.migrations:
        for direction in Direction:
            read(migration, direction)
    return bundle


async def _list(app: App, flags: "Flags") -> None:
    async with app.session() as session:
        view = await look(session, app.site)
        rows = await HomeHalf(session, view.line).bundles() if view.has_home else ()
    wanted = None if view.wanted is None else view.wanted.published.label
    if flags.own.json:
        print_json([_document(row, wanted) for row in rows])
        return
    head = ("label", "versions", "digest", "published", "by", "")
    print_table(head, [_cells(row, wanted) for row in rows], least=("by", "digest", "versions"))


def _document(row: Row, wanted: str | None) -> dict[str, object]:
    published = row.published
    return {
        "label": published.label,
        "digest": published.digest,
        "versions": sorted(published.checksums),
        "published_at": row.published_at.isoformat(),
        "published_by": row.published_by,
        "wanted": published.label == wanted,
        "withdrawn": published.withdrawn,
    }


def _cells(row: Row, wanted: str | None) -> tuple[object, ...]:
    published, versions = row.published, sorted(row.published.checksums)
    state = "wanted" if published.label == wanted else "withdrawn" if published.withdrawn else ""
    when = row.published_at.isoformat(sep=" ", timespec="seconds")
    span = f"{versions[0]}..{versions[-1]}" if versions else "none"
    return published.label, span, published.digest[:12], when, row.published_by, state


async def _withdraw(app: App, label: str) -> None:
    wanted = await app.with_session(lambda session: withdraw(session, app.site, label))
    now = "nothing is wanted now" if wanted is None else f"{wanted.published.label} is wanted now"
    print_line(f"{label} is withdrawn; {now}; no SQL was run")
