"""The home half's part of a fleet: which targets there are, who works at which of them, and what came of it.

A lease spreads the work among workers and no more than that: it is committed at once, so that no row is locked while a
migration runs, and what is right is decided by the target's own lock and fence. What is written here can be lost or be
late without harm, for the ledgers and jobs are the truth.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING

from worker.core.fleet.count import Count
from worker.core.fleet.declared import REGISTERED, Declared
from worker.core.target import Target
from worker.core.value import dataclass
from worker.postgres.faults import told
from worker.postgres.queries import queries
from worker.postgres.session import Session

if TYPE_CHECKING:
    from asyncpg import Record

LEASE_SECONDS = 15.0
"""A lease runs out after so long, unless its worker renews it; at once where the worker's connection is gone."""

_UNHURRIED = "SET synchronous_commit = off"

GIVEN_UP_SECONDS = 3600.0
"""A lease of so long keeps a target that a command gave up from being tried again while the command lives."""


class End(Enum):
    """How a worker's attempt at a target ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    LEFT_ALONE = "left_alone"
    UNREACHABLE = "unreachable"
    WAITING = "waiting"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Claim:
    """A target that this worker works at; `bundle` is the id of the one that is wanted, `label` its label."""

    id: int
    name: str
    line: str
    database: str
    target: Target
    path: tuple[str, ...]
    bundle: int
    label: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a target did not end well, and what to do."""

    reason: str
    message: str
    hint: str

    @property
    def document(self) -> str:
        """As JSON."""
        return json.dumps({"reason": self.reason, "message": self.message, "hint": self.hint})


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ended well and is not recorded yet: under which epoch, how many migrations, how many seconds."""

    epoch: int
    applied: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a claim; `settles` says that the bundle need not be looked at again, `pause` is in seconds.

    `job` is recorded together with it.
    """

    claim: Claim
    end: End
    problem: Problem | None = None
    settles: bool = True
    pause: float = 0.0
    job: Finished | None = None


@dataclass(frozen=True, slots=True)
class Troubled:
    """A target that needs a person, or could not be reached."""

    name: str
    line: str
    outcome: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Wish:
    """What a worker may claim: so many, of these lines with their budgets, in these databases."""

    budgets: Mapping[str, int | None]
    sources: Sequence[str]
    databases: Sequence[str]
    limit: int
    names: Sequence[str] | None = None

    @property
    def picked(self) -> list[str] | None:
        """The names of the targets that alone may be claimed, None for all."""
        return None if self.names is None else list(self.names)

    @property
    def allowed(self) -> list[str | None]:
        """The lines' budgets as the queries take them."""
        return [None if allowed is None else str(allowed) for allowed in self.budgets.values()]


class FleetHalf:
    """The fleet's reads and writes, on a connection to the home half; one at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._conn = session.conn
        self._sql = queries("fleet", session.control)
        self._worker = session.worker

    async def prepare(self) -> None:
        """Have commits here not wait for the disk: what a crash takes of them is found out again."""
        async with told(self._session, "preparing the fleet's connection"):
            await self._conn.execute(_UNHURRIED)

    @asynccontextmanager
    async def lasting(self) -> AsyncIterator[None]:
        """Have commits wait for the disk in the block, as the server would have it."""
        async with told(self._session, "preparing the fleet's connection"):
            await self._conn.execute("RESET synchronous_commit")
        yield
        async with told(self._session, "preparing the fleet's connection"):
            await self._conn.execute(_UNHURRIED)

    async def sync(self, declared: Iterable[Declared], whole: Sequence[str]) -> tuple[int, int]:
        """Write what differs; targets of the sources in `whole` that are not declared are gone. Returns how many."""
        rows = tuple(declared)
        columns = zip(*map(_columns, rows), strict=True) if rows else ((),) * 7
        names, lines, databases, schemas, tables, sources, paths = map(list, columns)
        async with told(self._session, "recording the fleet's targets"):
            row = await self._conn.fetchrow(
                self._sql["sync"], names, lines, databases, schemas, tables, sources, list(whole), paths
            )
            await self._conn.execute(self._sql["reopen"])
        return (0, 0) if row is None else (row["written"], row["gone"])

    async def registered(self) -> tuple[str, ...]:
        """The databases of the targets that add_target() registered."""
        async with told(self._session, "reading the registered targets"):
            return tuple(row["database"] for row in await self._conn.fetch(self._sql["registered"]))

    async def sizes(self, sources: Sequence[str]) -> dict[str, int]:
        """How many targets follow each line."""
        async with told(self._session, "counting the fleet's targets"):
            rows = await self._conn.fetch(self._sql["sizes"], list(sources))
        return {row["line"]: row["targets"] for row in rows}

    async def claim(self, wish: Wish) -> tuple[Claim, ...]:
        """Take a lease of due targets."""
        async with told(self._session, "claiming targets"):
            rows = await self._conn.fetch(
                self._sql["claim"],
                self._worker,
                list(wish.budgets),
                wish.allowed,
                list(wish.sources),
                list(wish.databases),
                wish.limit,
                LEASE_SECONDS,
                wish.picked,
            )
        return tuple(map(_claim, rows))

    async def settled(
        self, sources: Sequence[str], names: Sequence[str] | None, after: int, limit: int
    ) -> tuple[Claim, ...]:
        """Targets that are taken to be as wanted, behind an id, in order; nothing is claimed."""
        picked = None if names is None else list(names)
        async with told(self._session, "reading the settled targets"):
            rows = await self._conn.fetch(self._sql["settled"], list(sources), picked, after, limit)
        return tuple(map(_claim, rows))

    async def unsettle(self, claims: Sequence[Claim]) -> None:
        """Have targets that are not as wanted due again."""
        ids, bundles = [str(each.id) for each in claims], [str(each.bundle) for each in claims]
        async with told(self._session, "having targets looked at again"):
            await self._conn.execute(self._sql["unsettle"], ids, bundles)

    async def renew(self) -> None:
        """Renew this worker's leases."""
        async with told(self._session, "renewing leases"):
            await self._conn.execute(self._sql["renew"], self._worker, LEASE_SECONDS)

    async def give_back(self, done: Sequence[Done]) -> None:
        """Say what came of claims, and give their leases back."""
        async with told(self._session, "giving leases back"):
            await self._finish([(each.claim, each.job) for each in done if each.job is not None])
            await self._conn.execute(
                self._sql["give_back"],
                self._worker,
                [str(each.claim.id) for each in done],
                [str(each.claim.bundle) if each.settles else None for each in done],
                [None if each.end is End.INTERRUPTED else each.end.value for each in done],
                [None if each.problem is None else each.problem.document for each in done],
                [f"{each.pause:g}" for each in done],
            )

    async def _finish(self, jobs: Sequence[tuple[Claim, Finished]]) -> None:
        """Record jobs that ended well; what is lost of it is found out again by the next look at the target."""
        if jobs:
            await self._conn.execute(
                self._sql["finish"],
                self._worker,
                [str(claim.id) for claim, _ in jobs],
                [str(claim.bundle) for claim, _ in jobs],
                [str(job.epoch) for _, job in jobs],
                [str(job.applied) for _, job in jobs],
                [f"{job.seconds:.3f}" for _, job in jobs],
            )

    async def retry(self, sources: Sequence[str], names: Sequence[str] | None) -> tuple[str, ...]:
        """Have what ended badly tried again; returns which."""
        values = (list(sources), None if names is None else list(names), self._worker)
        async with told(self._session, "having targets tried again"):
            rows = await self._conn.fetch(self._sql["retry"], *values)
        return tuple(row["name"] for row in rows)

    async def steer(self, sources: Sequence[str], names: Sequence[str] | None, *, paused: bool) -> tuple[str, ...]:
        """Pause or resume; returns which."""
        async with told(self._session, "recording the pause"):
            rows = await self._conn.fetch(
                self._sql["steer"], list(sources), None if names is None else list(names), paused
            )
        return tuple(row["name"] for row in rows)

    async def named(self, sources: Sequence[str], names: Sequence[str]) -> frozenset[str]:
        """Which of these names are targets of the fleet."""
        async with told(self._session, "looking for targets"):
            rows = await self._conn.fetch(self._sql["named"], list(sources), list(names))
        return frozenset(row["name"] for row in rows)

    async def wake(self) -> None:
        """Tell the workers to look again."""
        async with told(self._session, "waking the workers"):
            await self._conn.execute("SELECT pg_notify($1, '')", f"{self._session.control}_wake")

    async def counts(self, sources: Sequence[str] | None = None) -> tuple[Count, ...]:
        """The fleet by line and state."""
        async with told(self._session, "counting the fleet's targets"):
            rows = await self._conn.fetch(self._sql["counts"], None if sources is None else list(sources))
        return tuple(Count(row["line"], row["wanted"], row["state"], row["targets"]) for row in rows)

    async def spent(self, lines: Iterable[str]) -> dict[str, int]:
        """How many targets of each line count against its error budget."""
        async with told(self._session, "counting the fleet's targets"):
            rows = await self._conn.fetch(self._sql["spent"], list(lines))
        return {row["line"]: row["targets"] for row in rows}

    async def troubled(self, sources: Sequence[str] | None, limit: int) -> tuple[Troubled, ...]:
        """Those that need a person, or could not be reached."""
        async with told(self._session, "reading what failed"):
            rows = await self._conn.fetch(self._sql["troubled"], None if sources is None else list(sources), limit)
        return tuple(Troubled(row["name"], row["line"], row["outcome"] or "due", _problem(row)) for row in rows)

    async def others_at_work(self, wish: Wish) -> bool:
        """Whether another worker has a lease of a target that this one could have claimed."""
        async with told(self._session, "looking for other workers"):
            asked = (list(wish.budgets), list(wish.sources), list(wish.databases), self._worker, wish.picked)
            found = await self._conn.fetchval(self._sql["left"], *asked)
        return bool(found)

    async def is_due(self, wish: Wish) -> bool:
        """Whether a target is due that this worker is to come back to: now, or once its pause is over."""
        async with told(self._session, "looking for due targets"):
            asked = (list(wish.budgets), wish.allowed, list(wish.sources), list(wish.databases), wish.picked)
            found = await self._conn.fetchval(self._sql["later"], *asked, 2 * LEASE_SECONDS)
        return bool(found)


async def knows_fleets(session: Session) -> bool:
    """Whether the control schema is there, and new enough."""
    async with told(session, f"looking at the control schema {session.control}"):
        return bool(await session.conn.fetchval(queries("fleet", session.control)["knows_fleets"]))


def _columns(each: Declared) -> tuple[str, ...]:
    target, path = each.target, "\n".join(each.path)
    return each.name, each.line, each.database, target.schema, target.table, each.source, path


def _claim(row: "Record") -> Claim:
    target = Target(row["schema"], row["version_table"])
    looked_in = (target.schema,) if row["source"] == REGISTERED else tuple(row["path"] or ())
    return Claim(row["id"], row["name"], row["line"], row["database"], target, looked_in, row["bundle"], row["label"])


def _problem(row: "Record") -> Problem:
    found = json.loads(row["problem"])
    return Problem(str(found.get("reason")), str(found.get("message")), str(found.get("hint")))
