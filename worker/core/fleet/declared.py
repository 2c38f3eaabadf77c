"""What a fleet declares: its groups, and the targets that are in them."""

from collections.abc import Iterable

from worker.core.fleet.bounds import Bounds, ErrorBudget
from worker.core.target import Target
from worker.core.value import dataclass

REGISTERED = "add_target"
"""The source of targets that came by the function of that name."""


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
