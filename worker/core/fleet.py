"""A fleet: what its file declares, what its targets are called, and how much of it is done at once."""

from collections.abc import Iterable, Mapping
from typing import Any

from worker.core.target import Target
from worker.core.value import dataclass
from worker.errors import SettingError

MAX_NAME_BYTES = 63
"""A longer identifier is cut by the server, and would be another one's."""

REGISTERED = "add_target"
"""The source of targets that came by the function of that name."""

MAX_TARGETS = 200_000
"""Of one group; a query that yields more is a mistake."""

_MAX_CONNECTIONS = 1000
_PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a group's connection string is found: an environment variable, a file, or a URL without a password."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


@dataclass(frozen=True, slots=True)
class Listed:
    """Names that the file lists."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """Names that a query yields."""

    sql: str


Names = Listed | Asked


@dataclass(frozen=True, slots=True)
class Group:
    """Targets that are declared together; `place` is where in the file, `schemas` None the session's current one.

    `databases` None is the one of the connection string. `path` are schemas that are looked in behind the target's
    own. `rows` also takes those that add_target() registered.
    """

    place: str
    name: str | None
    line: str
    table: str
    reference: Reference | None
    databases: Names | None
    schemas: Names | None
    path: tuple[str, ...]
    rows: bool

    @property
    def source(self) -> str:
        """What the home half calls the groups whose targets are compared with what is declared."""
        return f"{self.name or self.reference or 'own'} {self.table}"

    def called(self, database: str) -> str:
        """What the home half calls one of the group's databases."""
        return database if self.name is None else f"{self.name}/{database}"


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """How many targets of a line may end badly before the rest is left alone: a number, or a share in percent."""

    failures: int | None = None
    percent: float | None = None

    def allowed(self, targets: int) -> int | None:
        """The number of bad ends that halts a line of so many targets, None for never; at least one."""
        if self.percent is not None:
            return max(1, int(targets * self.percent / _PERCENT))
        return self.failures


@dataclass(frozen=True, slots=True)
class Bounds:
    """Connections of one process that migrate: in all, to one database, to one server."""

    workers: int = 8
    per_database: int = 4
    per_server: int = 16


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet's file."""

    groups: tuple[Group, ...]
    bounds: Bounds
    budget: ErrorBudget

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that its groups follow, each once."""
        return tuple(dict.fromkeys(group.line for group in self.groups))

    @property
    def sources(self) -> tuple[str, ...]:
        """What the home half calls where its targets come from."""
        rows = (REGISTERED,) if any(group.rows for group in self.groups) else ()
        return (*dict.fromkeys(group.source for group in self.groups), *rows)


@dataclass(frozen=True, slots=True)
class Declared:
    """One target of a fleet; `database` is what the home half calls its database, empty for its own."""

    database: str
    target: Target
    line: str
    source: str
    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the home half calls it."""
        return f"{self.database}/{self.target.name}" if self.database else self.target.name


@dataclass(frozen=True, slots=True)
class Count:
    """So many targets of a line are in a state; `wanted` is the label that the line wants."""

    line: str
    wanted: str | None
    state: str
    targets: int


def read_fleet(text: bytes, origin: str) -> Fleet:
    """Read a fleet's file; `origin` is what messages call it.

    Raises:
        SettingError: It is no TOML, or says something that it cannot say; names the place.
    """
    import tomllib  # noqa: PLC0415  a snapshot counts a fleet's targets, and reads no file

    try:
        document = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{origin} is no TOML: {error}", hint="deploy/fleets.md shows such a file") from error
    top = _Table(document, origin)
    groups = tuple(
        _group(_Table(each, f"{origin}, targets {number}"))
        for number, each in enumerate(top.tables("targets"), start=1)
    )
    limits = _Table(top.table("limits"), f"{origin}, limits")
    bounds, budget = _bounds(limits), _budget(limits)
    top.end()
    limits.end()
    if not groups:
        raise SettingError(f"{origin} declares no targets", hint="it takes one [[targets]] or more")
    return Fleet(groups, bounds, budget)


def declare(group: Group, database: str, schemas: Iterable[str]) -> tuple[Declared, ...]:
    """The targets of a group in one of its databases."""
    path, source = group.path, group.source
    behind = () if group.schemas is None and not path else path
    return tuple(
        Declared(
            database, Target(schema, group.table), group.line, source,
            () if group.schemas is None and not behind else (schema, *behind),
        )
        for schema in schemas
    )  # fmt: skip


def check_names(found: Iterable[object], origin: str, what: str) -> tuple[str, ...]:
    """The names that a query or a list yields.

    Raises:
        SettingError: There are none, one twice, or one that is no name; says which.
    """
    names: dict[str, None] = {}
    for each in found:
        if not isinstance(each, str):
            shown = "NULL" if each is None else f"a value of type {type(each).__name__}"
            raise SettingError(f"{origin} yields {shown}", hint=f"it takes names of {what} alone, as text")
        if not each or not each.isprintable() or len(each.encode(errors="replace")) > MAX_NAME_BYTES:
            raise SettingError(f"{origin} yields {each[:80]!r}", hint=f"a name takes 1 to {MAX_NAME_BYTES} bytes")
        if each in names:
            raise SettingError(f"{origin} yields {each!r} twice", hint="have it name each once: DISTINCT")
        names[each] = None
        if len(names) > MAX_TARGETS:
            raise SettingError(f"{origin} yields more than {MAX_TARGETS} names", hint="split the group")
    if not names:
        raise SettingError(f"{origin} yields no {what}", hint="correct it, or take the group out of the file")
    return tuple(names)


def check_distinct(declared: Iterable[Declared], origin: str) -> tuple[Declared, ...]:
    """What several groups declare.

    Raises:
        SettingError: Two of them declare one target; names it.
    """
    seen: dict[str, Declared] = {}
    for each in declared:
        if seen.setdefault(each.name, each) is not each:
            raise SettingError(
                f"{origin} declares the target {each.name} twice",
                hint="take it out of one group; where the databases are two, give one group a name",
            )
    return tuple(seen.values())


def free_seats(bounds: Bounds, seated: Mapping[str, int], server: Mapping[str, str], database: str) -> int:
    """How many more connections may go to a database.

    `seated` says how many go to each database now, `server` on which server each lies.
    """
    there = sum(count for each, count in seated.items() if server.get(each) == server.get(database))
    return max(
        0,
        min(
            bounds.workers - sum(seated.values()),
            bounds.per_server - there,
            bounds.per_database - seated.get(database, 0),
        ),
    )


class _Table:
    """A table of the file, of which every key is to be understood."""

    def __init__(self, table: Mapping[str, Any], origin: str) -> None:
        self._left = dict(table)
        self.origin = origin

    def end(self) -> None:
        if self._left:
            raise self.wrong(f"has no key {next(iter(self._left))!r}", "deploy/fleets.md shows such a file")

    def wrong(self, what: str, hint: str) -> SettingError:
        return SettingError(f"{self.origin} {what}", hint=hint)

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        found = self._left.pop(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise self.wrong(f"takes [[{key}]], a list of tables", f"write [[{key}]] above each")
        return found

    def table(self, key: str) -> Mapping[str, Any]:
        found = self._left.pop(key, {})
        if not isinstance(found, dict):
            raise self.wrong(f"takes [{key}], a table", f"write [{key}]")
        return found

    def text(self, key: str) -> str | None:
        found = self._left.pop(key, None)
        if found is not None and not (isinstance(found, str) and found.strip() and "\0" not in found):
            raise self.wrong(f"has {key} = {found!r:.80}", "it takes a text")
        return found

    def name(self, key: str) -> str | None:
        found = self.text(key)
        return None if found is None else check_names([found], f"{self.origin} {key}", "things")[0]

    def names(self, key: str, what: str) -> tuple[str, ...] | None:
        found = self._left.pop(key, None)
        if found is None:
            return None
        if not isinstance(found, list):
            raise self.wrong(f"has {key} = {found!r:.80}", "it takes a list of texts")
        return check_names(found, f"{self.origin} {key}", what)

    def flag(self, key: str) -> bool:
        found = self._left.pop(key, False)
        if not isinstance(found, bool):
            raise self.wrong(f"has {key} = {found!r:.80}", "it takes true or false")
        return found

    def count(self, key: str, default: int) -> int:
        found = self._left.pop(key, default)
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= _MAX_CONNECTIONS:
            raise self.wrong(f"has {key} = {found!r:.80}", f"it takes a whole number from 1 to {_MAX_CONNECTIONS}")
        return found

    def any(self, key: str) -> object:
        return self._left.pop(key, None)


def _group(at: _Table) -> Group:
    table = at.name("table") or "schema_migrations"
    group = Group(
        place=at.origin,
        name=at.name("name"),
        line=at.name("line") or table,
        table=table,
        reference=_reference(at),
        databases=_names(at, "databases"),
        schemas=_names(at, "schemas"),
        path=at.names("search_path", "schemas") or (),
        rows=at.flag("rows"),
    )
    at.end()
    return group


def _names(at: _Table, what: str) -> Names | None:
    listed, sql = at.names(what, what), at.text(f"{what}_query")
    if listed is not None and sql is not None:
        raise at.wrong(f"has {what} and {what}_query", "leave one of them out")
    if listed is not None:
        return Listed(listed)
    return None if sql is None else Asked(sql)


def _reference(at: _Table) -> Reference | None:
    found = at.any("database")
    if found is None:
        return None
    if isinstance(found, str):
        return Reference("url", found)
    if isinstance(found, dict) and len(found) == 1:
        kind, value = next(iter(found.items()))
        if kind in {"env", "file"} and isinstance(value, str) and value:
            return Reference(kind, value)
    raise at.wrong(
        "has a database that is no reference",
        'it takes { env = "NAME" }, { file = "/path" }, or a URL without a password',
    )


def _bounds(at: _Table) -> Bounds:
    usual = Bounds()
    return Bounds(
        at.count("workers", usual.workers),
        at.count("per_database", usual.per_database),
        at.count("per_server", usual.per_server),
    )


def _budget(at: _Table) -> ErrorBudget:
    found = at.any("error_budget")
    match found:
        case None:
            return ErrorBudget()
        case bool():
            pass
        case int() if found >= 1:
            return ErrorBudget(failures=found)
        case str() if found.endswith("%"):
            return ErrorBudget(percent=_percent(at, found))
        case _:
            pass
    raise at.wrong(f"has error_budget = {found!r:.80}", 'it takes a number from 1 on, or a share such as "5%"')


def _percent(at: _Table, text: str) -> float:
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        share = 0.0
    if not 0 < share <= _PERCENT:
        raise at.wrong(f"has error_budget = {text!r:.80}", 'a share takes more than 0 and up to 100, such as "5%"')
    return share
