"""The control schema's own migrations: found, planned and applied like any other, under a lock of their own.

Its two halves are two targets of the control schema itself, with version tables `target_version` and
`home_version` in it; both tables are the target half's. Where a session's home half lies in another database, only the
target half is demanded of its own. Nothing is created before it has been looked for, so that with the schema in place
a role needs no CREATE right on the database.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, assert_never

import asyncpg

from worker.applier.limits import Limits
from worker.bundles.directory import read_directory
from worker.bundles.shipped import shipped
from worker.core.bundles.bundle import Bundle, OrderPolicy
from worker.core.bundles.migration import Migration, Side, parse_file_name
from worker.core.checks.findings import either
from worker.core.checks.privileges import missing_grant
from worker.core.checks.standing import Standing
from worker.core.events.event import Emitter
from worker.core.events.events import ControlUpgraded, ReadersDenied
from worker.core.pattern import pattern
from worker.core.planning.plan import Latest, Observed, Pending, Refused, Run, UpToDate, after
from worker.core.target import Target, quote_identifier, quote_literal
from worker.core.value import replace
from worker.errors import MigrationFailedError, RefusedError
from worker.postgres.advisory import Keys
from worker.postgres.faults import told
from worker.postgres.lock import Held, hold, raise_fence
from worker.postgres.queries import queries, with_schema
from worker.postgres.session import PINNED_PATH, Session
from worker.postgres.sight import ControlVersions
from worker.postgres.survey import survey
from worker.postgres.target_half import TargetHalf, first_fence_sql, history_ids_sql

if TYPE_CHECKING:
    from worker.applier.messages import Work

_HALVES = ("target", "home")
_FIRST_EPOCH = 1
_AT_A_FLEET = "if this is a fleet's target say --fleet FILE, which makes no such thing here"
_CREATED = pattern(r'(?m)^CREATE (?:TABLE|VIEW|SEQUENCE|INDEX) (?:""\.)?(\w+)')
_UNPRIVILEGED = "42501"
_TAKEN = frozenset({"42P07", "42710", "42723"})
_NO_OWNER = "must be owner"


class Found(Enum):
    """What a look without a lock found of the control schema."""

    NOTHING = "nothing"
    SOMETHING = "something"


def _halves(session: Session) -> tuple[str, ...]:
    """What the session's own database needs of the control schema."""
    return _HALVES if session.home is None else _HALVES[:1]


def covers(session: Session, versions: ControlVersions) -> bool:
    """Tell whether what the session's database needs is there and not older than this program's; newer is as good."""
    there = zip(_halves(session), (versions.target, versions.home), strict=False)
    return all(have is not None and have >= _latest(half) for half, have in there)


@cache
def _latest(half: str) -> int:
    """The highest version of one half, by the names of its files alone."""
    names = [parse_file_name(path.name) for path in shipped("control", half).iterdir()]
    return max(name.version for name in names if name is not None)


def matches(versions: ControlVersions) -> bool:
    """Tell whether what is there is exactly this program's; the home half may lie elsewhere."""
    return versions.target == _latest("target") and versions.home in (None, _latest("home"))


async def ensure(
    session: Session,
    limits: Limits,
    readers: tuple[str, ...],
    found: Found = Found.SOMETHING,
    also: Callable[[], tuple[str, ...]] = tuple,
) -> bool:
    """Create what the session's database needs, or bring it up to this program's version; it was seen not to be.

    Returns whether all of it was made here; otherwise who made it, and what stands on it, is to be looked at. `also` is
    asked for before anything is made where there is no home half, for SQL that commits together with what is made where
    there is nothing; what it raises keeps all from being made. Of several workers that begin at once, one asks.

    Raises:
        RefusedError: The role may not create it, and what it lacks; or a role in `readers` does not exist.
        TimedOutError: Another worker was at it for longer than the limit.
    """
    keys = Keys.of_control(session.control)
    # The logs and the metrics count an application's migrations; these are told as one event of their own.
    silent = replace(session, emit=Emitter(()))
    async with hold(session, keys, limits.advisory_timeout) as waited:
        await _check_readers(session, readers)
        # Where somebody was quicker all the same, nothing of it is committed.
        is_first = found is Found.NOTHING and not waited
        made = await _create(silent, limits, keys, also()) if is_first else 0
        there = ControlVersions(None, None) if made else await _versions(session)
        if covers(session, there):
            return False
        if not made:
            await _check_room(session, there)
        try:
            if there.target is None and not is_first:
                made = await _create(silent, limits, keys, also())
            elif there.home is None and not is_first:
                also()
            applied = made or sum([await _upgrade(silent, half, limits, keys, waited) for half in _halves(session)])
        except MigrationFailedError as error:
            raise _refused(session, error) from error
        if applied:
            await grant_readers(session, readers)
    if applied:
        session.emit(ControlUpgraded(session.control, applied))
    return made > 0


async def grant_readers(session: Session, readers: tuple[str, ...]) -> None:
    """Give the roles what their gates need, and no more: USAGE on the schema and SELECT on readiness.

    Who does not own the schema cannot, and the server at most warns of that: then it is told.
    """
    async with told(session, "granting to the roles in TIDEGATE_READERS"):
        for role in await _missing_readers(session, readers):
            with suppress(asyncpg.InsufficientPrivilegeError):
                await session.conn.execute(_grant(session.control, role))
        for role in await _missing_readers(session, readers):
            session.emit(ReadersDenied(role, _grant(session.control, role)))


async def _missing_readers(session: Session, readers: tuple[str, ...]) -> tuple[str, ...]:
    if not readers:
        return ()
    rows = await session.conn.fetch(queries("target", session.control)["missing_readers"], list(readers))
    return tuple(row["role"] for row in rows)


def _grant(control: str, role: str) -> str:
    schema, reader = quote_identifier(control), quote_identifier(role)
    return f"GRANT USAGE ON SCHEMA {schema} TO {reader}; GRANT SELECT ON {schema}.readiness TO {reader}"


@cache
def control_bundle(half: str, control: str) -> Bundle:
    """The migrations of one half, with the names put in; checksums are of the files as shipped."""
    bundle = read_directory(shipped("control", half))
    return replace(bundle, migrations=tuple(_named(m, control) for m in bundle.migrations))


def _named(migration: Migration, control: str) -> Migration:
    return replace(migration, up=_side(migration.up, control), down=_side(migration.down, control))


def _side(side: Side | None, control: str) -> Side | None:
    if side is None:
        return None
    own = quote_literal(_target("target", control).name)
    pinned = f"SET LOCAL search_path = {PINNED_PATH}; "
    return replace(side, sql=pinned + with_schema(side.sql, control).replace(":'target'", own))


def _target(half: str, control: str) -> Target:
    return Target(control, f"{half}_version")


async def _versions(session: Session) -> ControlVersions:
    """What is there by now; of what cannot be read, nothing is known."""
    async with told(session, "looking for the control schema"):
        with suppress(asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
            row = await session.conn.fetchrow(queries("target", session.control)["control_versions"])
            return ControlVersions(None, None) if row is None else ControlVersions(*row)
    return ControlVersions(None, None)


async def _check_room(session: Session, there: ControlVersions) -> None:
    """Refuse to make a half where something has the name of one of its tables or indexes, before anything is made."""
    halves = zip(_halves(session), (there.target, there.home), strict=False)
    names = [name for half, have in halves if have is None for name in _relations(half)]
    async with told(session, "looking for room in the control schema"):
        found = await session.conn.fetchrow(queries("target", session.control)["namesakes"], names)
    if found is not None:
        kind, name, owner = found
        alter = f"ALTER {kind.removeprefix('composite ').upper()} {name} RENAME TO …"
        raise RefusedError(
            f"the control schema {session.control} needs the name of {kind} {name}, which belongs to role {owner} and "
            "is not Tidegate's",
            hint=either(f"rename it: {alter}", "" if there.target is None else _AT_A_FLEET),
            reason="control_schema",
        )


@cache
def _relations(half: str) -> tuple[str, ...]:
    """The names of the tables, views, sequences and indexes that the migrations of one half make."""
    sides = (migration.up for migration in control_bundle(half, "").migrations)
    return tuple(name for side in sides if side is not None for name in _CREATED.findall(side.sql))


async def _create(session: Session, limits: Limits, keys: Keys, also: tuple[str, ...]) -> int:
    """Make what is needed in one transaction where there is none; returns the number of migrations, 0 if it was not."""
    from worker.applier.run import load_ahead  # noqa: PLC0415  slow to load, and needed once
    from worker.applier.together import run_together  # noqa: PLC0415  the same

    works = _works(session, keys, (history_ids_sql(session), *also))
    # Once the message is sent: the server is at work for tens of milliseconds.
    loading = asyncio.create_task(load_ahead())
    is_made = await run_together(works, limits)
    await loading
    return len(works) if is_made else 0


def _works(session: Session, keys: Keys, last: tuple[str, ...]) -> "tuple[Work, ...]":
    """Every migration of what is needed; `last` is SQL that commits with them, after them."""
    from worker.applier.together import works_of  # noqa: PLC0415  the same

    first, *others = (Held(session, _target(half, session.control), keys, _FIRST_EPOCH) for half in _halves(session))
    bundle = control_bundle("target", session.control)
    if not others:
        return works_of(first, bundle, also=last)
    # The first migration makes the fence, and the first half's row in it.
    made = works_of(first, bundle, also=(first_fence_sql(others[0]),))
    return (*made, *works_of(others[0], control_bundle("home", session.control), also=last))


async def _upgrade(session: Session, half: str, limits: Limits, keys: Keys, waited: float) -> int:
    target = _target(half, session.control)
    bundle = control_bundle(half, session.control)
    seen = await survey(session, target.schema, target.table)
    if not seen.has_table:
        # The very first migration makes the fence and its own row in it; two at once cannot both create the tables.
        return await _apply(Held(session, target, keys, _FIRST_EPOCH), bundle, Observed(), limits)
    tables = TargetHalf(session, target)
    highest = (await tables.observe(has_table=True)).observed.highest
    if bundle.latest <= (highest or 0):
        return 0
    if highest is None:
        _check_owner(session, seen.standing)
    held = await raise_fence(session, keys, target, waited)
    return await _apply(held, bundle, (await tables.observe(has_table=True)).observed, limits)


def _check_owner(session: Session, at: Standing) -> None:
    """Refuse to make a half as another role than the owner of what is there, which the server would let pass."""
    if at.control_owner is not None and at.control_owner.name != at.role.name:
        raise _not_owner(session, f"it belongs to role {at.control_owner.name}")


async def _apply(held: Held, bundle: Bundle, observed: Observed, limits: Limits) -> int:
    from worker.core.planning.planner import plan  # noqa: PLC0415  slow to load, and needed once a version

    decided = plan(bundle, observed, OrderPolicy.ERROR, Latest())
    match decided:
        case UpToDate():
            return 0
        case Refused(_, message, hint):
            raise RefusedError(
                f"the control schema {held.target.schema}: {message}", hint=hint, reason="control_schema"
            )
        case Pending(effects):
            from worker.applier.run import applying  # noqa: PLC0415  the same

            async with applying(held, bundle.label, limits) as applier:
                for effect in effects:
                    observed = after(observed, effect)
                    if isinstance(effect, Run):
                        await applier.run(effect, observed.highest)
            return len(effects)
        case _:
            assert_never(decided)


async def _check_readers(session: Session, readers: tuple[str, ...]) -> None:
    if not readers:
        return
    sql = "SELECT rolname::text AS role FROM pg_catalog.pg_roles WHERE rolname::text = ANY ($1)"
    async with told(session, "looking for the roles in TIDEGATE_READERS"):
        known = await session.conn.fetch(sql, readers)
    missing = [role for role in readers if role not in {row["role"] for row in known}]
    if missing:
        raise RefusedError(
            f"TIDEGATE_READERS names the role {missing[0]}, which does not exist",
            hint=f"create it first: CREATE ROLE {quote_identifier(missing[0])}; roles never come from Tidegate",
            reason="privilege",
        )


def _refused(session: Session, error: MigrationFailedError) -> RefusedError | MigrationFailedError:
    if error.failure.sqlstate in _TAKEN:
        return RefusedError(
            f"the control schema {session.control} cannot be made: {error.failure.message}",
            hint="rename what has that name, or move it to another schema: it is not Tidegate's",
            reason="control_schema",
        )
    if error.failure.sqlstate != _UNPRIVILEGED:
        return error
    if error.failure.message.startswith(_NO_OWNER):
        return _not_owner(session, error.failure.message)
    grant = missing_grant(error.failure.message, session.role)
    return RefusedError(
        f"role {session.role} may not create the control schema {session.control}: {error.failure.message}",
        hint=f"run as an owner: {grant}" if grant else "give it CREATE on the database",
        reason="privilege",
    )


def _not_owner(session: Session, why: str) -> RefusedError:
    return RefusedError(
        f"role {session.role} may not upgrade the control schema {session.control}: {why}",
        hint="run tidegate admin upgrade once, as the role that owns it",
        reason="privilege",
    )
