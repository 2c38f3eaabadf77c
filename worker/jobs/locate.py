"""Which target of a fleet a word means, and where it lies."""

from collections.abc import Callable, Iterable

from worker.core.fleet.declared import REGISTERED, Declared, Fleet, Group, Listed
from worker.core.target import Target, quote_identifier
from worker.core.value import dataclass
from worker.errors import TidegateError, UsageError
from worker.jobs.roster import Place, Server

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Located:
    """A target of a fleet: the group that declares it, and where it lies."""

    declared: Declared
    group: Group
    place: Place


def pick(word: str, known: Iterable[Declared]) -> Declared:
    """The target that a word means: by its whole name, or by a shorter one that no other target has.

    Raises:
        UsageError: None is called so, or several are; names them.
    """
    candidates = tuple(known)
    found = [each for each in candidates if each.name == word] or [
        each for each in candidates if word in _short_names(each)
    ]
    if not found:
        raise UsageError(
            f"--target {word}: the fleet has no such target",
            hint="a name is schema.table, or database/schema.table; tidegate up --fleet records those that are new",
        )
    if len(found) > 1:
        names = ", ".join(sorted(each.name for each in found)[:_SHOWN])
        more = ", …" if len(found) > _SHOWN else ""
        raise UsageError(f"--target {word} could be several: {names}{more}", hint="say the whole name of one")
    return found[0]


def _short_names(each: Declared) -> tuple[str, ...]:
    schema = each.target.schema
    return (each.target.name, schema, f"{each.database}/{schema}")


def locate(fleet: Fleet, server_of: Callable[[Group], Server], declared: Declared) -> Located:
    """Where a target lies, by the group that declared it.

    Raises:
        UsageError: No group of the file declares it any more.
        SettingError: The group's connection string cannot be had.
    """
    for group in fleet.groups:
        is_its = group.source == declared.source or (group.rows and declared.source == REGISTERED)
        prefix = _prefix(group)
        if is_its and (not declared.database or declared.database.startswith(prefix)):
            server = server_of(group)
            database = declared.database.removeprefix(prefix) or server.database
            if server.called(database) == declared.database:
                return Located(declared, group, Place(server, database))
    raise UsageError(
        f"--target {declared.name}: no group of the fleet's file declares it any more", hint="correct the file"
    )


def locate_unread(fleet: Fleet, server_of: Callable[[Group], Server], name: str) -> Located:
    """Where the target with that whole name lies, by the file alone: no database is asked.

    A name that a query yields, or that add_target() registered, is taken at its word.

    Raises:
        UsageError: No group can declare such a target.
    """
    wrong: TidegateError | None = None
    for group in fleet.groups:
        try:
            found = _unread(group, server_of(group), name)
        except TidegateError as error:
            wrong = error
            continue
        if found is not None:
            return found
    if wrong is not None:
        raise wrong
    raise UsageError(
        f"--target {name}: no group of the fleet can have such a target",
        hint="say its whole name: schema.table, or database/schema.table",
    )


def _unread(group: Group, server: Server, name: str) -> Located | None:
    called, _, own = name.rpartition("/")
    database = called.removeprefix(_prefix(group)) or server.database
    if server.called(database) != called or not _may_have(group, server, database):
        return None
    schema = _schema_of(own, group.table)
    if schema is None or (isinstance(group.schemas, Listed) and schema not in group.schemas.names):
        return None
    declared = Declared(called, Target(schema, group.table), group.line, group.source, (schema, *group.path))
    return Located(declared, group, Place(server, database))


def _prefix(group: Group) -> str:
    return "" if group.name is None else f"{group.name}/"


def _may_have(group: Group, server: Server, database: str) -> bool:
    match group.databases:
        case None:
            return database == server.database or group.rows
        case Listed(names):
            return database in names
        case _:
            return True


def _schema_of(own: str, table: str) -> str | None:
    """The schema in a target's name without its database; None where the version table is another one."""
    for ending in (f".{table}", f".{quote_identifier(table)}"):
        schema = own.removesuffix(ending)
        bare = schema[1:-1].replace('""', '"') if schema[:1] == '"' == schema[-1:] and len(schema) > 1 else schema
        if schema != own and Target(bare, table).name == own:
            return bare
    return None
