"""The home half: where bundles are published, and where jobs are seen."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from functools import cache, partial
from hashlib import sha256
from typing import TYPE_CHECKING

import asyncpg

from worker.core.bundles.bundle import Bundle, OrderPolicy, digest_of
from worker.core.bundles.limits import MAX_SEAL_BYTES
from worker.core.bundles.migration import Direction, FileName, parse_file_name
from worker.core.bundles.seal import render_seal
from worker.core.bundles.wanted import (
    AlreadyWanted,
    Intent,
    KnownNowWanted,
    New,
    Offer,
    PublishDecision,
    Published,
    decide_publish,
)
from worker.core.planning.job import JobEvent, advance
from worker.core.planning.readiness import required_versions
from worker.core.value import dataclass, replace
from worker.errors import BundleError, RefusedError
from worker.postgres.contents import as_one_value, store
from worker.postgres.faults import credible, told
from worker.postgres.job_row import Job, JobFailure, job_of
from worker.postgres.queries import queries, with_values
from worker.postgres.session import Session
from worker.postgres.transaction import transaction

if TYPE_CHECKING:
    from asyncpg import Record


_WITH_JOBS = ("open_job", "start_job")

_MOST_AT_FIRST = 256 * 1024
_ROUND_A_FILE = 100
"""Characters of the message that a file takes besides its name and content."""

# A fleet's session does not wait for the disk; what was published must not be lost where targets have it already.
_TO_DISK = "SET LOCAL synchronous_commit TO DEFAULT"


@dataclass(frozen=True, slots=True)
class Row:
    """A bundle's row: what deciding needs, and what a person is shown."""

    published: Published
    names: tuple[str, ...]
    checksums: tuple[str, ...]
    required: tuple[int, ...]
    serves: int | None
    order: OrderPolicy | None
    intent: Intent
    published_at: datetime
    published_by: str
    wanted_at: datetime | None


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A target's row."""

    id: int
    line: str
    paused_by: str | None
    paused_at: datetime | None


class HomeHalf:
    """The home half's reads and writes for one line."""

    def __init__(self, session: Session, line: str) -> None:
        self._session = session.at_home
        self._conn = self._session.conn
        self._sql = _queries(session.control)
        self._line = line
        self._channel = f"{session.control}_wake"

    async def bundles(self) -> tuple[Row, ...]:
        """Every bundle of the line, oldest first."""
        async with told(self._session, "reading the bundles"):
            with credible("bundle"):
                return tuple(map(row_of, await self._conn.fetch(self._sql["published"], self._line)))

    async def required(self) -> dict[str, tuple[int, ...]]:
        """The versions that a gate waits for, by the label of each bundle of the line."""
        sql = with_values(self._sql["required"], self._line)
        async with told(self._session, "reading the bundles"):
            with credible("bundle"):
                return {row["label"]: _versions(row["required"]) for row in await self._conn.fetch(sql)}

    async def publish(
        self, bundle: Bundle, intent: Intent, check: Callable[[], None] = lambda: None
    ) -> PublishDecision:
        """Decide what the offer changes, and change it: the rows and the NOTIFY commit together.

        `check` may raise, and is asked where a bundle would become wanted.
        """
        async with transaction(self._session, "publishing", _TO_DISK) as last:
            write = partial(self._write, last) if await self._lock_line() else self._write_by_function
            offer = Offer(bundle.label, bundle.digest, bundle.checksums)
            known = [row.published for row in await self.bundles()]
            decision = decide_publish(offer, known, intent)
            match decision:
                case New():
                    check()
                    await write(bundle, intent, decision)
                case KnownNowWanted():
                    check()
                    await write(bundle, intent, decision)
                case AlreadyWanted() if intent is Intent.EXPLICIT and bundle.seal is not None:
                    await write(bundle, intent, decision)
                case _:
                    pass
        return decision

    def first_sql(self, bundle: Bundle, intent: Intent) -> tuple[str, ...]:
        """SQL that publishes a bundle in the transaction that makes the home half; () where it is too large for that.

        Nobody else can have published there, nor wait for it.
        """
        names, contents, *rest = _columns(bundle)
        if sum(map(len, (*names, *contents))) + _ROUND_A_FILE * len(names) > _MOST_AT_FIRST:
            return ()
        sums = _checksums(bundle)
        first = dict(zip(sums, contents, strict=True))
        seal = None if bundle.seal is None else render_seal(bundle.seal)
        values = (self._line, bundle.label, bundle.digest, names, sums, *rest, intent.value, seal, self._channel)
        return (
            with_values(self._sql["insert_files"], list(first), *as_one_value(list(first.values()))),
            with_values(self._sql["insert_first"], *values),
            with_values(self._sql["log_first_numbers"]),
        )

    async def _lock_line(self) -> bool:
        """Wait for other publishers of the line; tells whether the role may write the tables itself."""
        row = await self._conn.fetchrow(self._sql["line_lock"], self._line)
        return row is not None and row["may_write"]

    async def _write(
        self, last: list[str], bundle: Bundle, intent: Intent, decision: New | KnownNowWanted | AlreadyWanted
    ) -> None:
        match decision:
            case New():
                last.append(self._wanted(await self._insert(bundle, intent), intent))
            case KnownNowWanted(published):
                last.extend((self._wanted(published.id, intent), *self._seal_renewed(published, bundle)))
            case AlreadyWanted(published):
                last.extend(self._seal_renewed(published, bundle))

    async def _write_by_function(
        self, bundle: Bundle, intent: Intent, _decision: New | KnownNowWanted | AlreadyWanted
    ) -> None:
        """Have the control schema's function do it, which decides again by the same rules."""
        names, contents, *rest = _columns(bundle)
        seal = None if bundle.seal is None else render_seal(bundle.seal)
        values = (self._line, bundle.label, names, contents, *rest, intent.value, seal)
        await self._conn.execute(self._sql["publish"], *values)

    async def _insert(self, bundle: Bundle, intent: Intent) -> int:
        sums = _checksums(bundle)
        names, contents, *rest = _columns(bundle)
        await store(self._conn, self._session.control, dict(zip(sums, contents, strict=True)))
        seal = None if bundle.seal is None else render_seal(bundle.seal)
        values = (self._line, bundle.label, bundle.digest, names, sums, *rest, intent.value, seal)
        new: int = await self._conn.fetchval(self._sql["insert_bundle"], *values)
        return new

    def _seal_renewed(self, published: Published, bundle: Bundle) -> tuple[str, ...]:
        if bundle.seal is None or published.label != bundle.seal.claims.label:
            return ()
        return (with_values(self._sql["renew_seal"], published.id, render_seal(bundle.seal), self._channel),)

    def _wanted(self, bundle_id: int, intent: Intent) -> str:
        return with_values(self._sql["make_wanted"], bundle_id, self._channel, self._line, intent.value)

    async def withdraw(self, label: str) -> bool:
        """Take a bundle back; tells whether there was one to take back. The one before it becomes wanted."""
        async with transaction(self._session, "withdrawing a bundle", _TO_DISK):
            if await self._lock_line():
                return bool(await self._conn.fetch(self._sql["withdraw"], self._line, label, self._channel))
            return bool(await self._conn.fetchval(self._sql["withdraw_by_function"], self._line, label))

    async def files(self, row: Row) -> dict[str, bytes]:
        """Read a bundle's files back, by name.

        Raises:
            RefusedError: The stored files are not those that were published.
        """
        async with told(self._session, "reading a bundle"):
            rows = await self._conn.fetch(self._sql["bundle_files"], row.published.id)
        files = {r["name"]: r["content"] for r in rows}
        if digest_of(files) != row.published.digest:
            raise RefusedError(
                f"bundle {row.published.label}: its stored files are not those that were published",
                hint="somebody wrote to bundle_file: withdraw it, and publish it anew under another label",
                reason="checksum",
            )
        return files

    async def seal(self, row: Row) -> bytes | None:
        """Read a bundle's `bundle.sig`, None where it was published without one, or by a program that knew none."""
        async with told(self._session, "reading a bundle's signatures"):
            try:
                found = await self._conn.fetchval(self._sql["seal"], row.published.id, MAX_SEAL_BYTES + 1)
            except asyncpg.UndefinedColumnError:
                return None
        return None if found is None else str(found).encode()

    async def ensure_target(self, name: str) -> None:
        """Make the target's row where it is missing."""
        async with told(self._session, "recording the target"):
            await self._conn.execute(self._sql["ensure_target"], name, self._line)

    async def set_paused(self, name: str, *, paused: bool) -> None:
        """Pause or resume a target."""
        async with told(self._session, "recording the pause"):
            await self._conn.execute(self._sql["pause"], name, paused)

    async def open_job(self, target: str, bundle_id: int) -> Job:
        """The job of a target and a bundle, both made if need be; jobs for other bundles are superseded."""
        async with told(self._session, "opening the job"):
            with credible("job"):
                return job_of(await self._opened("open_job", target, bundle_id, None))

    async def start_job(
        self, target: str, bundle_id: int, epoch: int, stated: Sequence[str]
    ) -> tuple[Job, dict[str, tuple[int, ...]]]:
        """The same, started; and what `required` tells, but for the labels that are `stated`.

        That a job was begun need not outlive a crash of the server: it is begun again then in any case.
        """
        async with told(self._session, "opening the job"):
            with credible("job"):
                row = await self._opened("start_job", target, bundle_id, epoch, list(stated))
                job = job_of(row)
            with credible("bundle"):
                required = json.loads(row["required"])
                return job, {label: _numbers(versions) for label, versions in required.items()}

    async def _opened(self, query: str, target: str, bundle_id: int, *more: int | list[str] | None) -> "Record":
        values = (target, bundle_id, self._session.worker, self._line, *more)
        # A target that somebody else makes at the same moment is seen by the next query only.
        for _ in range(2):
            row = await self._conn.fetchrow(self._sql[query], *values)
            if row is not None:
                return row
        raise AssertionError("the target's row is there")

    async def move_job(
        self,
        job: Job,
        event: JobEvent,
        *,
        epoch: int | None = None,
        applied: int = 0,
        failure: JobFailure | None = None,
    ) -> Job:
        """Record a transition; an event that cannot happen in the job's state changes nothing."""
        moved, sql = self.moved_job(job, event, epoch=epoch, applied=applied, failure=failure)
        if sql:
            async with told(self._session, "recording the job"):
                await self._conn.execute(sql)
        return moved

    def moved_job(
        self,
        job: Job,
        event: JobEvent,
        *,
        epoch: int | None = None,
        applied: int = 0,
        failure: JobFailure | None = None,
    ) -> tuple[Job, str]:
        """The job after a transition, and the SQL that records it; "" for an event that cannot happen."""
        state = advance(job.state, event)
        if state is None:
            return job, ""
        document = None if failure is None else failure.document
        values = (job.id, state.value, self._session.worker, epoch, document, applied, job.state.value)
        moved = replace(job, state=state, worker=self._session.worker, applied=applied)
        return moved, with_values(self._sql["set_job"], *values)

    async def wake(self) -> None:
        """Tell the workers to look again."""
        async with told(self._session, "waking the workers"):
            await self._conn.execute("SELECT pg_notify($1, $2)", self._channel, self._line)


def job_queries(control: str) -> tuple[str, ...]:
    """What a job that has something to do asks of the home half."""
    sql = _queries(control)
    return sql["bundle_files"], sql["start_job"]


@cache
def _queries(control: str) -> dict[str, str]:
    sql = dict(queries("home", control))
    parts = {f":{name}": sql[name].rstrip() for name in ("opening", "job_columns")}
    for name in _WITH_JOBS:
        for part, text in parts.items():
            sql[name] = sql[name].replace(part, text)
    return sql


def _columns(bundle: Bundle) -> tuple[list[str], list[bytes], list[str], int | None, str | None]:
    """Names, contents, the versions that a gate waits for, the oldest served, and the order policy."""
    manifest = bundle.manifest
    return (
        list(bundle.files),
        list(bundle.files.values()),
        list(map(str, required_versions(bundle.migrations))),
        manifest.serves,
        None if manifest.order is None else manifest.order.value,
    )


def _checksums(bundle: Bundle) -> list[str]:
    sides = (side for migration in bundle.migrations for side in (migration.up, migration.down) if side is not None)
    known = {side.file: side.checksum for side in sides}
    return [known.get(name) or sha256(content).hexdigest() for name, content in bundle.files.items()]


def row_of(row: "Record") -> Row:
    """A bundle's row, from the columns that the queries `published` and `sight` give it; anything can be in them."""
    names, checksums = _texts(row["names"]), _texts(row["checksums"])
    sums: dict[int, str | None] = {}
    for name, checksum in zip(names, checksums, strict=False):
        parsed = _parsed(name)
        if parsed is not None:
            up = parsed.direction is Direction.UP
            sums[parsed.version] = checksum if up else sums.get(parsed.version)
    return Row(
        Published(row["id"], row["label"], row["digest"], row["wanted_seq"], row["withdrawn"], sums),
        names,
        checksums,
        _versions(row["required"]),
        row["serves"],
        None if row["order_policy"] is None else OrderPolicy(row["order_policy"]),
        Intent(row["intent"]),
        row["published_at"],
        row["published_by"],
        _finite(row["wanted_at"]),
    )


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    """The elements of an array, which PostgreSQL lets be null or arrays."""
    return tuple(value if isinstance(value, str) else "" for value in values)


def _versions(values: Iterable[object]) -> tuple[int, ...]:
    """The same of versions, which travel as text."""
    return tuple(int(version) for version in values if isinstance(version, str))


def _numbers(values: Iterable[object]) -> tuple[int, ...]:
    """The same of versions that travelled as numbers."""
    return tuple(version for version in values if isinstance(version, int))


def _finite(time: datetime | None) -> datetime | None:
    """A time, unless it is PostgreSQL's infinity, from which nothing can be counted."""
    return None if time is None or time.year in {MINYEAR, MAXYEAR} else time


def _parsed(name: str) -> FileName | None:
    try:
        return parse_file_name(name)
    except BundleError:
        return None
