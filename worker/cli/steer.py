"""`tidegate retry`, `pause`, `resume` and `force`: what a person tells a target."""

import argparse
from typing import TYPE_CHECKING

import anyio

from worker.cli.aiming import add_target, add_targets, for_one, serves_fleet
from worker.cli.app import App
from worker.cli.output import print_line
from worker.errors import ExitCode, UsageError
from worker.jobs import steer
from worker.jobs.answer import Place, answer
from worker.jobs.force import force
from worker.postgres.target_half import Answer

if TYPE_CHECKING:
    from worker.cli.arguments import Flags
    from worker.postgres.session import Session


def add_arguments(verb: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of the verbs that steer."""
    if verb == "retry":
        parser.add_argument(
            "--segment",
            choices=[answer.value for answer in Answer],
            help="answer what became of a statement that is in doubt: it took effect, or it did not and is to run",
        )
        parser.add_argument("--at", type=_place, metavar="V:N", help="which version and segment the question is about")
    if verb != "force":
        add_targets(parser)
    else:
        add_target(parser)
        parser.add_argument("version", metavar="V", type=_version, help="the version; -1 for none")


def _version(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes a version, or -1") from None


def _place(text: str) -> Place:
    version, _, segment = text.partition(":")
    if not (version.isascii() and version.isdigit() and segment.isascii() and segment.isdigit()):
        raise argparse.ArgumentTypeError(f"got {text!r:.40}; it takes a version and a segment, for example 7:3")
    return Place(int(version), int(segment))


def run(verb: str, flags: "Flags") -> ExitCode:
    """Tell the target."""
    app = App(flags)
    is_answer = verb == "retry" and flags.own.segment is not None
    if verb != "force" and not is_answer and serves_fleet(app, flags):
        return _fleet(app, verb, flags)
    app = for_one(app, flags, "retry --segment" if is_answer else verb)
    verbs = {"retry": _retry, "pause": _pause, "resume": _resume, "force": _force}

    async def work() -> str:
        try:
            return await app.with_session(lambda session: verbs[verb](session, app, flags))
        finally:
            await app.moved()

    print_line(anyio.run(work))
    return ExitCode.OK


def _fleet(app: App, verb: str, flags: "Flags") -> ExitCode:
    from worker.cli.fleet import commands  # noqa: PLC0415  only where there is one

    print_line(anyio.run(commands.steer, app, verb, flags.own.target and tuple(flags.own.target)))
    return ExitCode.OK


async def _retry(session: "Session", app: App, flags: "Flags") -> str:
    if flags.own.segment is not None:
        return await _answer(session, app, Answer(flags.own.segment), flags.own.at)
    job = await steer.retry(session, app.site)
    if job is None:
        return "nothing to retry: no bundle is wanted, or no worker has begun with it"
    return f"job {job.id} is {job.state.value}; the workers are told"


async def _answer(session: "Session", app: App, given: Answer, at: Place | None) -> str:
    if at is None:
        raise UsageError("--segment needs --at", hint="the message that asks tells which, for example --at 7:3")
    await answer(session, app.site, given, at)
    what = {Answer.DONE: "is taken as done", Answer.NOT_DONE: "is to run again"}[given]
    return f"segment {at.segment} of version {at.version} {what}; the workers are told"


async def _pause(session: "Session", app: App, _flags: "Flags") -> str:
    await steer.pause(session, app.site)
    return "paused: workers leave the target alone until tidegate resume; what runs now goes on"


async def _resume(session: "Session", app: App, _flags: "Flags") -> str:
    await steer.resume(session, app.site)
    return "resumed: the workers are told"


async def _force(session: "Session", app: App, flags: "Flags") -> str:
    report = await force(session, app.site, flags.own.version, app.source())
    at = "no version" if report.version is None else f"version {report.version}"
    return f"{report.target.name}: recorded at {at}, and pinned until tidegate resume; no SQL was run"
