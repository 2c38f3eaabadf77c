"""A check-up: what a live database's facts mean for a first run, from what would fail to what may surprise."""

from collections.abc import Iterator, Mapping

from worker.core.checks.findings import Finding, error, fine, warning
from worker.core.checks.privileges import grant_of_forgetting
from worker.core.checks.standing import Standing, obstacles, obstacles_to_looking
from worker.core.target import quote_identifier
from worker.core.value import dataclass

_NEWEST_TESTED = 18
_SHOWN = 3

# Only what a session of ours does not overrule at its start.
_WHY = {
    "session_replication_role": ("origin", "triggers do not fire and foreign keys are not checked in migrations"),
    "standard_conforming_strings": ("on", "a backslash in a literal means another thing than the files say"),
    "row_security": ("on", "a statement that a policy would filter fails"),
}

SETTINGS = tuple(_WHY)
"""The settings whose value can spoil a run."""


@dataclass(frozen=True, slots=True)
class SettingSeen:
    """A setting that was chosen outside this session; `source` is as in `pg_settings`."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class ForeignObject:
    """An object of another role: its kind and name are SQL."""

    kind: str
    name: str
    owner: str


@dataclass(frozen=True, slots=True)
class LockSession:
    """A session that holds one of the target's advisory keys, or waits for one."""

    pid: int
    holds: bool
    role: str
    application: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class InvalidIndex:
    """An invalid index; a leftover is what a cut REINDEX CONCURRENTLY made beside the real one."""

    name: str
    is_leftover: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of a live database; the readers are roles of TIDEGATE_READERS that do not exist or lack a right."""

    standing: Standing
    version: str
    encoding: str
    search_path: str
    is_superuser: bool
    has_own_schema: bool
    is_open_to_public: bool
    settings: tuple[SettingSeen, ...] = ()
    objects: tuple[ForeignObject, ...] = ()
    sessions: tuple[LockSession, ...] = ()
    indexes: tuple[InvalidIndex, ...] = ()
    missing_readers: tuple[str, ...] = ()
    denied_readers: tuple[str, ...] = ()
    may_forget_events: bool = True


def examine(facts: Facts) -> tuple[Finding, ...]:
    """Every finding, in the order of the checks."""
    at = facts.standing
    return (
        *_server(facts),
        *(
            _unique((*obstacles_to_looking(at), *obstacles(at)))
            or (fine("role", f"acts as {at.role} and may migrate"),)
        ),
        *_role(facts),
        *_schema(facts),
        *_objects(facts),
        *map(_readers, facts.missing_readers),
        *_denied_readers(facts),
        *_events(facts),
        *(_setting(at, each) for each in facts.settings if each.value != _WHY[each.name][0]),
        *map(_session, facts.sessions),
        *map(_index, facts.indexes),
    )


def _unique(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))


def _server(facts: Facts) -> Iterator[Finding]:
    major = facts.standing.role.server_version // 10_000
    where = f"PostgreSQL {facts.version}, database {facts.standing.database}"
    if major > _NEWEST_TESTED:
        yield warning("server", f"{where}: newer than {_NEWEST_TESTED}, the newest that Tidegate is tested with")
    else:
        yield fine("server", where)
    if facts.encoding == "UTF8":
        yield fine("encoding", "UTF8")
    else:
        yield warning(
            "encoding",
            f"database {facts.standing.database} is encoded in {facts.encoding}: a file with a character that this "
            "encoding lacks fails",
            advice="create the database anew WITH ENCODING 'UTF8' TEMPLATE template0, and restore into it",
        )


def _role(facts: Facts) -> Iterator[Finding]:
    if facts.is_superuser:
        yield warning(
            "superuser",
            f"role {facts.standing.role.name} is a superuser: a migration may do anything to the whole server",
            advice="use an owner and a migrator role; tidegate admin grants prints their set-up",
        )


def _schema(facts: Facts) -> Iterator[Finding]:
    at = facts.standing
    schema, role = quote_identifier(at.target.schema), quote_identifier(at.role.name)
    if facts.is_open_to_public:
        yield warning(
            "public_create",
            f"every role may create objects in schema {at.target.schema}, and so shadow what migrations mean",
            f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;",
        )
    if facts.has_own_schema and '"$user"' in facts.search_path:
        yield warning(
            "user_schema",
            f'schema {at.role.name} has the role\'s name, and "$user" leads the search_path ({facts.search_path}): '
            f"unqualified names of migrations go there",
            f"ALTER ROLE {quote_identifier(at.role.login)} IN DATABASE {quote_identifier(at.database)} "
            "SET search_path = public;",
            f"rename the schema, if nothing is to go there: ALTER SCHEMA {role} RENAME TO …",
        )
    elif at.has_schema and at.namesake_schema is None:
        yield fine("search_path", f"unqualified names go to schema {at.target.schema}")


def _objects(facts: Facts) -> Iterator[Finding]:
    """One finding for each other owner, with a statement for each object."""
    role, owners = facts.standing.role, dict.fromkeys(each.owner for each in facts.objects)
    for owner in owners:
        theirs = [each for each in facts.objects if each.owner == owner]
        named = ", ".join(each.name for each in theirs[:_SHOWN]) + (" …" if len(theirs) > _SHOWN else "")
        yield warning(
            "foreign_objects",
            f"of role {owner}, and not {role.name}'s to alter: {len(theirs)} in all, {named}",
            "\n".join(f"ALTER {each.kind} {each.name} OWNER TO {quote_identifier(role.name)};" for each in theirs),
            "give over what belongs to this application, and leave another one's as it is",
        )


def _readers(name: str) -> Finding:
    return error(
        "readers",
        f"TIDEGATE_READERS names the role {name}, which does not exist",
        f"CREATE ROLE {quote_identifier(name)};",
    )


def _denied_readers(facts: Facts) -> Iterator[Finding]:
    control = quote_identifier(facts.standing.control)
    for name in facts.denied_readers:
        role = quote_identifier(name)
        yield warning(
            "readers",
            f"role {name} of TIDEGATE_READERS may not read readiness, so its gate stays closed",
            f"GRANT USAGE ON SCHEMA {control} TO {role}; GRANT SELECT ON {control}.readiness TO {role};",
        )


def _events(facts: Facts) -> Iterator[Finding]:
    """A role that may not write runs no job, and has nothing to remove."""
    at = facts.standing
    if at.may_write_control and not facts.may_forget_events:
        yield warning(
            "events",
            f"role {at.role.name} may not remove events of jobs that are older than ninety days, so that they stay",
            grant_of_forgetting(at.control, at.role.name),
        )


def _setting(at: Standing, seen: SettingSeen) -> Finding:
    login, database = quote_identifier(at.role.login), quote_identifier(at.database)
    resets: Mapping[str, str] = {
        "user": f"ALTER ROLE {login} RESET {seen.name};",
        "database user": f"ALTER ROLE {login} IN DATABASE {database} RESET {seen.name};",
        "database": f"ALTER DATABASE {database} RESET {seen.name};",
        "global": f"ALTER ROLE ALL RESET {seen.name};",
    }
    safe, why = _WHY[seen.name]
    overrule = f"ALTER ROLE {login} SET {seen.name} = '{safe}';"
    return warning(
        "setting",
        f"{seen.name} is {seen.value} for this session (from: {seen.source}): {why}",
        resets.get(seen.source, overrule),
    )


def _session(seen: LockSession) -> Finding:
    who = f"role {seen.role}, application {seen.application or 'unnamed'}, backend {seen.pid}"
    if seen.is_ours:
        return warning("lock", f"Tidegate is at work here: {who}", advice="let it finish")
    what = "holds an advisory lock of this target" if seen.holds else "waits for an advisory lock of this target"
    return warning(
        "lock" if seen.holds else "lock_waiter",
        f"another program, such as golang-migrate, {what}: {who}",
        f"SELECT pg_terminate_backend({seen.pid});",
        "let it finish",
    )


def _index(seen: InvalidIndex) -> Finding:
    mend = "DROP INDEX CONCURRENTLY" if seen.is_leftover else "REINDEX INDEX CONCURRENTLY"
    return warning("invalid_index", f"index {seen.name} is invalid: no query uses it", f"{mend} {seen.name};")
