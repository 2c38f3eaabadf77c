"""The verbs that are about all targets of a fleet: up, status, pause, resume, retry and run."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

import anyio

from worker.board import Board
from worker.cli.app import App
from worker.cli.fleet.aim import check_names, unpin
from worker.cli.fleet.app import FleetApp, known_half
from worker.cli.fleet.left import left_of
from worker.cli.fleet.publish import no_such_line
from worker.cli.fleet.summary import LIMIT, Summary, counted, print_summary
from worker.core.bundles.bundle import Bundle
from worker.core.bundles.wanted import Intent, Kept, KeptBecause, PublishDecision
from worker.core.events.event import Outcome
from worker.core.events.events import JobFailed
from worker.core.fleet.declared import Fleet
from worker.core.status.fleet_status import halts_of
from worker.errors import ExitCode, RefusedError, TidegateError
from worker.fleet.answers import Answers, Asked
from worker.fleet.board import FleetBoard
from worker.fleet.home import HomeSeat
from worker.fleet.slots import Slots
from worker.fleet.terms import Until
from worker.fleet.worker import FleetWorker
from worker.jobs.offer import publish_to_line
from worker.jobs.site import Site
from worker.postgres.connection import Purpose
from worker.postgres.fleet_targets import FleetTargets
from worker.postgres.listener import listen
from worker.postgres.session import Session

PROBE_SECONDS = 30.0


async def up(app: App, words: tuple[str, ...] | None, *, as_json: bool) -> ExitCode:
    """Bring all targets of the fleet, or those that are named, to what is wanted, once, and say what came of it.

    Raises:
        UsageError: A target was named that the fleet does not have.
        RefusedError: The directory is not what a line may be led to.
    """
    own = FleetApp(app)
    fleet, bundle = own.read(), app.source()

    async def begin(half: HomeSeat) -> None:
        worker.slots.names = await check_names(half.session, fleet, words)
        if bundle is not None:
            for line in own.site.trust.lines_claimed(bundle, fleet.lines):
                _check_kept(await publish_to_line(half.session, own.site, line, bundle, Intent.AUTOMATIC), line, bundle)
        await half.retry(fleet.sources, worker.slots.names)
        for name in worker.slots.names or ():
            # What a target's own `up` does; one that cannot be reached is told of when it is its turn.
            with suppress(TidegateError):
                await unpin(own, fleet, half.session, name)

    worker = own.worker(fleet, Until.DONE, begin)
    await worker.run()
    wrong = tuple((group.place, error) for group, error in worker.wrong)
    summary = replace(
        await _summary(app, fleet, worker.slots),
        wrong=wrong, applied=worker.slots.applied, migrations=worker.slots.migrations,
    )  # fmt: skip
    print_summary(summary, app.mask, as_json=as_json)
    return summary.exit_code


async def _summary(app: App, fleet: Fleet, slots: Slots | None = None) -> Summary:
    """How the fleet stands, by the home half alone; the exit code is of the targets that the slots were for.

    Raises:
        RefusedError: It knows of no fleet.
    """
    async with app.session() as session:
        half = await known_half(session)
        summary = Summary(await half.counts(fleet.sources), await half.troubled(fleet.sources, LIMIT))
        if slots is None or slots.names is None:
            return summary
        outcomes = await FleetTargets(session).outcomes(slots.names)
        halts = halts_of(summary.counts, await half.spent(slots.budgets), slots.budgets)
        states = frozenset(each.state for each in outcomes)
        return replace(summary, judged=states, left=left_of(outcomes, halts))


def _check_kept(decision: PublishDecision, line: str, bundle: Bundle) -> None:
    """Refuse a directory that the line is not led to; an older one changes nothing, and what is wanted is applied."""
    if isinstance(decision, Kept) and decision.because is not KeptBecause.OLDER:
        raise RefusedError(
            f"the line {line} is not led to bundle {bundle.label}, which is {decision.because.value.replace('_', ' ')}",
            hint="tidegate publish says that it is meant, for each line",
            reason="diverged",
        )


async def status(app: App, *, as_json: bool) -> ExitCode:
    """Say how the fleet stands, by the home half alone; nothing is written."""
    print_summary(await _summary(app, FleetApp(app).read()), app.mask, as_json=as_json)
    return ExitCode.OK


async def steer(app: App, verb: str, words: tuple[str, ...] | None) -> str:
    """Pause, resume or retry targets of the fleet: those that are named, those of the line that is set, or all.

    Raises:
        UsageError: A target or a line was named that the fleet does not have.
    """
    own = FleetApp(app)
    fleet = own.read()
    async with app.session() as session:
        half = await known_half(session)
        names = await _steered(app, session, fleet, words)
        if verb == "retry":
            found = await half.retry(fleet.sources, names)
        else:
            found = await half.steer(fleet.sources, names, paused=verb == "pause")
        await half.wake()
        for name in found if verb == "resume" and words is not None else ():
            await unpin(own, fleet, session, name)
    what = {"retry": "to be tried again", "pause": "paused", "resume": "resumed"}[verb]
    return f"{counted(len(found), 'target')} {what}; the workers are told"


async def _steered(app: App, session: Session, fleet: Fleet, words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The whole names of what is steered, None for all."""
    line = app.settings.target.line
    if words is not None or line is None:
        return await check_names(session, fleet, words)
    names = await FleetTargets(session).of_line(fleet.sources, line)
    if not names and line not in fleet.lines:
        raise no_such_line(fleet.lines, line)
    return names


def crew(app: App, board: Board) -> tuple[FleetWorker, Answers]:
    """The worker of `run --fleet`, which offers its directory to each line, and who answers for its targets."""
    if not isinstance(board, FleetBoard):
        raise TypeError("a fleet's worker has a fleet's board")
    own = FleetApp(app)
    fleet, bundle = own.read(), app.source()

    async def offer(half: HomeSeat) -> None:
        if bundle is not None:
            await _offered(half.session, own.site, fleet.lines, bundle)

    worker = own.worker(fleet, Until.STOPPED, offer)
    worker.looked = lambda: board.fleet_read(worker.status, is_idle=worker.slots.is_idle)
    worker.away = board.unreachable
    answers = Answers(Asked(fleet, own.doors, app.settings.control.schema, time.monotonic, app.mask))
    return worker, answers


async def _offered(session: Session, site: Site, lines: Sequence[str], bundle: Bundle) -> None:
    """Offer a directory to the lines that it is for; what is refused for one is told, and hinders no other."""
    meant: Sequence[str] = ()
    with _refusal_told(session):
        meant = site.trust.lines_claimed(bundle, lines)
    for line in meant:
        with _refusal_told(session):
            await publish_to_line(session, site, line, bundle, Intent.AUTOMATIC)


@contextmanager
def _refusal_told(session: Session) -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        session.emit(JobFailed(Outcome.REFUSED, error.reason, error.message, error.hint, 0, 0.0))


async def work(app: App, worker: FleetWorker, answers: Answers) -> None:
    """Run the worker, woken by NOTIFY."""
    hear = partial(
        listen, partial(app.connect, Purpose.LISTEN), f"{app.settings.control.schema}_wake", worker.wake, app.emit,
        clock=time.monotonic, jitter=random.random, probe_interval=PROBE_SECONDS,
    )  # fmt: skip
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hear)
        tasks.start_soon(answers.tidy)
        await worker.run()
        tasks.cancel_scope.cancel()
