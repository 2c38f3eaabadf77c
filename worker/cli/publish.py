"""`tidegate publish`: make a directory or an archive a bundle, and the wanted one."""

import argparse
import random
import time
from functools import partial
from typing import TYPE_CHECKING

import anyio

from worker.bundles.archive import read_source
from worker.bundles.directory import local_path
from worker.cli import stay
from worker.cli.app import App
from worker.cli.drawing import drawing
from worker.cli.output import print_json, print_line
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.wanted import AlreadyWanted, Intent, KnownNowWanted, PublishDecision
from worker.core.planning.readiness import OfBundle
from worker.errors import ExitCode, UsageError
from worker.gate import Gate, OnFailure, wait
from worker.jobs.look import look_settled
from worker.jobs.offer import publish
from worker.postgres.connection import Purpose
from worker.postgres.session import Session

if TYPE_CHECKING:
    from worker.cli.arguments import Flags


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of `publish`; `--label` is a setting."""
    parser.add_argument("bundle", metavar="SOURCE", help="a directory, .tar.gz or .zip")
    parser.add_argument(
        "--wait", action="store_true", help="wait until it is applied; exits 1 if it fails; not for a fleet"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")


def run(_verb: str, flags: "Flags") -> ExitCode:
    """Publish, and wait if asked to."""
    app = App(flags)
    if app.settings.fleet is not None and flags.own.wait:
        raise UsageError(
            "--wait is for one target, and a fleet is set",
            hint="tidegate status --fleet says how its targets stand, and tidegate wait --target NAME waits for one",
        )
    app.trust.ready()
    with drawing(app, flags.own.bundle):
        bundle = read_source(local_path(flags.own.bundle), app.settings.target.label, app.trust.vet)
        anyio.run(_publish, app, bundle, flags)
    return ExitCode.OK


async def _publish(app: App, bundle: Bundle, flags: "Flags") -> None:
    if app.settings.fleet is not None:
        from worker.cli.fleet.publish import publish as publish_to_fleet  # noqa: PLC0415  only where there is one

        decision, line = await publish_to_fleet(app, bundle)
        _print(bundle, _label(bundle, decision), decision, line, as_json=flags.own.json)
        return

    async def work(session: Session) -> tuple[PublishDecision, str, str]:
        view = await look_settled(session, app.site, bundle)
        decision = await publish(session, app.site, view, bundle, Intent.EXPLICIT)
        return decision, view.line, view.survey.target.name

    decision, line, target = await app.with_session(work)
    label = _label(bundle, decision)
    _print(bundle, label, decision, line, as_json=flags.own.json)
    if flags.own.wait:
        await _wait(app, label, target)
        if not flags.own.json:
            print_line(f"{target} is ready for {label}")


def _label(bundle: Bundle, decision: PublishDecision) -> str:
    """The label that the content goes by."""
    return decision.bundle.label if isinstance(decision, (AlreadyWanted, KnownNowWanted)) else bundle.label


async def _wait(app: App, label: str, target: str) -> None:
    stay()
    limit = app.settings.limits.wait_ms
    gate = Gate(
        connect=partial(app.connect, Purpose.MIGRATE),
        control=app.settings.control.schema,
        requirement=OfBundle(label),
        target=target,
        timeout=None if limit is None else limit / 1000,
        on_failure=OnFailure.FAIL,
        emit=app.emit,
        clock=time.monotonic,
        jitter=random.random,
    )
    await wait(gate)


def _print(bundle: Bundle, label: str, decision: PublishDecision, line: str, *, as_json: bool) -> None:
    match decision:
        case AlreadyWanted():
            what = "already published and wanted; nothing to do"
        case KnownNowWanted():
            what = "was published before, and is wanted again"
        case _:
            what = "published, and wanted now"
    if as_json:
        known = isinstance(decision, AlreadyWanted)
        print_json({"line": line, "label": label, "digest": bundle.digest, "changed": not known, "message": what})
        return
    print_line(f"{line}: {label} ({len(bundle.migrations)} migrations, digest {bundle.digest[:12]}) {what}")
