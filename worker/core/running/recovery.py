"""What a statement that was cut off was about, so that what it left behind can be found and judged."""

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum
from itertools import islice

from worker.core.pattern import pattern
from worker.core.sql.statements import Kind, classify
from worker.core.sql.tokens import keywords, spans
from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class QualifiedName:
    """A name as the catalog holds it: unquoted, folded and cut to 63 bytes; a schema of None means not said."""

    schema: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Build:
    """CREATE INDEX CONCURRENTLY; without an `index` the server chooses its name, and it is in its table's schema.

    `rest` is the statement's text behind the table's name. `is_tolerant` means IF NOT EXISTS.
    """

    index: QualifiedName | None
    table: QualifiedName
    is_unique: bool
    is_tolerant: bool
    rest: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Drop:
    """DROP INDEX CONCURRENTLY, which takes one index."""

    index: QualifiedName


class Scope(Enum):
    """What REINDEX goes over."""

    INDEX = "INDEX"
    TABLE = "TABLE"
    SCHEMA = "SCHEMA"
    DATABASE = "DATABASE"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """REINDEX that runs concurrently; only that of the database goes without a name."""

    scope: Scope
    name: QualifiedName | None


@dataclass(frozen=True, slots=True)
class Detach:
    """ALTER TABLE … DETACH PARTITION … CONCURRENTLY."""

    table: QualifiedName
    partition: QualifiedName


class Thing(Enum):
    """What is there or not, and changes in one transaction of the server's own."""

    DATABASE = "database"
    SUBSCRIPTION = "subscription"
    TABLESPACE = "tablespace"


class Wanted(Enum):
    """What CREATE and DROP leave."""

    THERE = "there"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Presence:
    """CREATE or DROP of a database, a tablespace or a subscription."""

    thing: Thing
    name: str
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Repeatable:
    """Running it a second time does no harm, for example VACUUM or ALTER SYSTEM."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """The catalogue cannot tell whether it took effect, for example DO or CALL."""


NotBuild = Drop | Rebuild | Detach | Presence | Repeatable | Opaque
About = Build | NotBuild


class Temper(Enum):
    """How a lone statement waits for locks, and what there is to do before it is tried again."""

    QUICK = "quick"
    """It waits in short attempts: the server undoes what it refuses."""

    PATIENT = "patient"
    """It waits on: cut, it leaves something behind, also where it only waited for older snapshots to be gone."""

    ONCE = "once"
    """It waits on, and is neither cut nor tried again: nobody could tell how far it came."""


_NAME_BYTES = 63
_READ = 64
_UNQUOTED = pattern(r"[A-Za-z_\x80-\U0010ffff].*", re.DOTALL)
_REPEATABLE = frozenset({"ANALYSE", "ANALYZE", "CHECKPOINT", "CLUSTER", "DISCARD", "REFRESH", "REINDEX", "VACUUM"})
_THINGS = {thing.name: thing for thing in Thing}


@dataclass(frozen=True, slots=True)
class _Reading:
    """A statement's first tokens from `at` on: where each ends in the text, as written, and in upper case."""

    text: str
    ends: tuple[int, ...]
    written: tuple[str, ...]
    words: tuple[str, ...]
    at: int = 0

    def past(self, *words: str) -> "_Reading | None":
        """Behind these words, or None where others stand."""
        there = self.words[self.at : self.at + len(words)]
        return self.skipping(len(words)) if there == words else None

    def skipping(self, count: int) -> "_Reading":
        return _Reading(self.text, self.ends, self.written, self.words, self.at + count)

    def past_any(self, *words: str) -> "_Reading":
        """Behind these words, or at the same place where others stand."""
        return self.past(*words) or self

    def name(self) -> "tuple[QualifiedName, _Reading] | None":
        """A name of one to three parts, and what stands behind it; None where no plain name is."""
        parts, here = list(self.written[self.at : self.at + 1]), self.skipping(1)
        while here.words[here.at : here.at + 1] == (".",) and here.at + 1 < len(here.written):
            parts.append(here.written[here.at + 1])
            here = here.skipping(2)
        names = [_identifier(part) for part in parts]
        if not names or None in names or here.words[here.at : here.at + 1] == ("&",):
            return None
        return QualifiedName(names[-2] if len(names) > 1 else None, names[-1] or ""), here

    @property
    def rest(self) -> str:
        return self.text[self.ends[self.at - 1] :]


def about(text: str) -> About:
    """Return what a statement is about; `Opaque` also where a name cannot be told from the text (`U&"..."`)."""
    found = list(islice(spans(text), _READ))
    written = tuple(text[start:end] for start, end in found)
    reading = _Reading(text, tuple(end for _, end in found), written, keywords(text, _READ))
    reader = _READERS.get(reading.words[0]) if reading.words else None
    told = None if reader is None else reader(reading.skipping(1))
    if told is None:
        return Repeatable() if _is_repeatable(reading.words) else Opaque()
    return told


def temper_of(text: str) -> Temper:
    """Return how a lone statement is to be waited for."""
    match about(text):
        case Build() | Drop() | Rebuild() | Detach():
            return Temper.PATIENT
        case Presence() | Repeatable():
            return Temper.QUICK
        case Opaque():
            return Temper.ONCE


def _is_repeatable(words: tuple[str, ...]) -> bool:
    match words:
        # Moving a database to the tablespace that it is in does nothing.
        case ("ALTER", "SYSTEM", *_) | ("ALTER", "DATABASE", _, "SET", "TABLESPACE", *_):
            return True
        case ("ALTER", "SUBSCRIPTION", _, "REFRESH", *_):
            return True
        case _:
            return len(words) > 0 and words[0] in _REPEATABLE


def _create(here: _Reading) -> About | None:
    unique = here.past("UNIQUE")
    build = (unique or here).past("INDEX", "CONCURRENTLY")
    if build is None:
        return _presence(here, Wanted.THERE)
    tolerant = build.past("IF", "NOT", "EXISTS")
    start = tolerant or build
    named = None if start.past("ON") else start.name()
    on = (start if named is None else named[1]).past("ON")
    table = None if on is None else on.past_any("ONLY").name()
    if table is None:
        return None
    index = None if named is None else named[0]
    return Build(index, table[0], unique is not None, tolerant is not None, table[1].rest)


def _drop(here: _Reading) -> About | None:
    drop = here.past("INDEX", "CONCURRENTLY")
    if drop is None:
        return _presence(here, Wanted.GONE)
    index = drop.past_any("IF", "EXISTS").name()
    return None if index is None else Drop(index[0])


def _presence(here: _Reading, wanted: Wanted) -> Presence | None:
    thing = _THINGS.get(here.words[here.at]) if here.at < len(here.words) else None
    if thing is None:
        return None
    named = here.skipping(1).past_any("IF", "EXISTS").name()
    return None if named is None else Presence(thing, named[0].name, wanted)


def _alter(here: _Reading) -> Detach | None:
    table = here.past("TABLE")
    if table is None or classify(here.text) is not Kind.ALONE:
        return None
    parent = table.past_any("IF", "EXISTS").past_any("ONLY").name()
    detach = None if parent is None else parent[1].past_any("*").past("DETACH", "PARTITION")
    partition = None if detach is None else detach.name()
    if parent is None or partition is None or partition[1].past("CONCURRENTLY") is None:
        return None
    return Detach(parent[0], partition[0])


def _reindex(here: _Reading) -> Rebuild | None:
    words = here.words
    if classify(here.text) is not Kind.ALONE or "CONCURRENTLY" not in words:
        return None
    options = words.index(")") + 1 - here.at if here.past("(") and ")" in words else 0
    scoped = here.skipping(options)
    scope = Scope.__members__.get(scoped.words[scoped.at]) if scoped.at < len(scoped.words) else None
    if scope is None:
        return None
    named = scoped.skipping(1).past_any("CONCURRENTLY").name()
    if scope is Scope.DATABASE:
        return Rebuild(scope, None)
    return None if named is None else Rebuild(scope, named[0])


_READERS: Mapping[str, Callable[[_Reading], About | None]] = {
    "ALTER": _alter,
    "CREATE": _create,
    "DROP": _drop,
    "REINDEX": _reindex,
}


def _identifier(written: str) -> str | None:
    """Fold an identifier as the server does: ASCII to lower case, and at most 63 bytes of UTF-8."""
    if written.startswith('"'):
        name = written[1:-1].replace('""', '"')
    elif _UNQUOTED.fullmatch(written):
        name = "".join(char.lower() if char.isascii() else char for char in written)
    else:
        return None
    return name.encode("utf-8", "surrogatepass")[:_NAME_BYTES].decode("utf-8", "ignore")
