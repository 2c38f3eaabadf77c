"""The survey of a target: what a session finds before it reads anything of ours, and who could interfere there."""

from typing import TYPE_CHECKING

from worker.core.checks.standing import Intruder, Owner, Role, Standing
from worker.core.planning.readiness import Identity
from worker.core.target import Target, quote_identifier
from worker.core.value import dataclass
from worker.errors import RefusedError
from worker.postgres.faults import told
from worker.postgres.queries import queries, with_values
from worker.postgres.session import Session

if TYPE_CHECKING:
    from asyncpg import Record


@dataclass(frozen=True, slots=True)
class Survey:
    """What a session is connected to; read without a lock and without any of Tidegate's tables.

    `timeline` grows with each promotion and point-in-time recovery, from the first checkpoint after it. `has_standbys`
    tells that a commit waits for standbys.
    """

    database: str
    target: Target
    identity: Identity
    timeline: int
    has_table: bool
    has_control: bool
    has_home: bool
    has_standbys: bool
    standing: Standing


async def survey(session: Session, schema: str | None, table: str) -> Survey:
    """Look at the server, the database and the role of this session.

    Raises:
        RefusedError: no schema of the search path exists, so that unqualified names would have no home.
    """
    async with told(session, "looking at the database"):
        row = await session.conn.fetchrow(survey_sql(session, schema, table))
    if row is None:
        raise AssertionError("the survey query returns one row")
    return await survey_of(session, row, table)


def survey_sql(session: Session, schema: str | None, table: str) -> str:
    """A query of one row, for `survey_of`."""
    sql = with_strangers(queries("target", session.control)["survey"], session.control, "cr.oid")
    return with_values(sql, schema, table)


async def survey_of(session: Session, row: "Record", table: str) -> Survey:
    """A survey, from the columns of the query `survey`; asks who could interfere where somebody may.

    Raises:
        RefusedError: as `survey` does.
    """
    if row["schema"] is None:
        raise _homeless(row)
    target = Target(row["schema"], table)
    intruders = await _intruders(session, target) if row["may_have_intruders"] else ()
    return Survey(
        row["database"],
        target,
        Identity(row["system_identifier"], row["database_oid"]),
        row["timeline"],
        row["has_table"],
        row["has_control"],
        row["has_home"],
        row["has_standbys"],
        _standing(row, session, target, intruders),
    )


def _homeless(row: "Record") -> RefusedError:
    """No schema that unqualified names would go to: the role may use none of its search_path, or there is none."""
    role, schema = row["role"], row["first_of_path"]
    if schema is None:
        what = "no schema of its search_path exists"
        hint = f"CREATE SCHEMA …; or ALTER ROLE {quote_identifier(row['login'])} SET search_path = public;"
    else:
        what = f"it lacks USAGE on schema {schema}"
        hint = f"GRANT USAGE, CREATE ON SCHEMA {quote_identifier(schema)} TO {quote_identifier(role)};"
    return RefusedError(
        f"role {role} has no schema for unqualified names in database {row['database']}: {what}",
        hint=hint,
        reason="privilege",
    )


async def _intruders(session: Session, target: Target) -> tuple[Intruder, ...]:
    sql = with_values(queries("target", session.control)["intruders"], target.schema, target.table)
    async with told(session, "looking for triggers and rules of others"):
        return tuple(Intruder(*row) for row in await session.conn.fetch(sql))


def _standing(row: "Record", session: Session, target: Target, intruders: tuple[Intruder, ...]) -> Standing:
    return Standing(
        role=Role(row["login"], row["role"], row["server_version"]),
        database=row["database"],
        control=session.control,
        target=target,
        has_control=row["has_control"],
        has_control_schema=row["has_control_schema"],
        lacks_home=row["has_control"] and not row["has_home"] and session.home is None,
        has_schema=row["has_schema"],
        control_owner=_owner(row, "control_owner"),
        table_owner=_owner(row, "table_owner"),
        namesake_schema=row["namesake_schema"],
        may_use_namesake=row["may_use_namesake"],
        transaction_timeout=row["transaction_timeout"],
        may_create_schemas=row["may_create_schemas"],
        may_create_in_control=row["may_create_in_control"],
        may_create_in_schema=row["may_create_in_schema"],
        may_read_control=row["may_read_control"],
        may_write_control=row["may_write_control"],
        may_read_table=row["may_read_table"],
        may_write_table=row["may_write_table"],
        intruders=intruders,
    )


def _owner(row: "Record", which: str) -> Owner | None:
    if row[which] is None:
        return None
    return Owner(
        name=row[which],
        is_member=row[f"is_member_{which}"],
        may_act_as=row[f"may_act_as_{which}"],
        is_superuser=row[f"is_superuser_{which}"],
    )


def with_strangers(sql: str, control: str, owner: str) -> str:
    """A query that asks whether there may be an intruder, with what it looks for put in; `owner` is SQL for an OID."""
    strangers = queries("target", control)["strangers"].rstrip().rstrip(";")
    return sql.replace(":strangers", strangers.replace(":owner", owner))
