"""What to do about a statement that no transaction holds, by what an earlier run left of it in the catalogue.

Total functions over plain facts. None of them trusts a name alone: an index is only ever dropped where it is INVALID,
on the statement's own table, and of the definition that the statement asks for.
"""

from collections.abc import Iterable
from enum import Enum

from worker.core.running.recovery import Build, Detach, Drop, Opaque, Presence, QualifiedName, Repeatable, Wanted
from worker.core.target import quote_identifier
from worker.core.value import dataclass


class Before(Enum):
    """What became of a lone statement in an earlier run."""

    NOT_BEGUN = "not begun"
    FAILED = "failed"
    CUT = "cut"


class Likeness(Enum):
    """Whether an index is defined as the statement asks for it."""

    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Namesake:
    """A relation that has an index's name, or an index that the server may have named.

    `likeness` is `OTHER` for what is no index of the statement's table.
    """

    name: QualifiedName
    is_valid: bool
    likeness: Likeness


@dataclass(frozen=True, slots=True)
class Found:
    """An index that a DROP names; `is_sure` unless it was found further on in the search path than its first schema."""

    name: QualifiedName
    is_valid: bool
    is_sure: bool


class Attachment(Enum):
    """How a partition and its table are tied."""

    ATTACHED = "attached"
    PENDING = "pending"
    NONE = "none"


class Existence(Enum):
    """Whether a database, a tablespace or a subscription is there; invalid is a database whose DROP was cut."""

    THERE = "there"
    INVALID = "invalid"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Run:
    """Run the statement, and say why if there is something to say."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """It took effect already."""

    why: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Drop these invalid indexes, and then run the statement."""

    indexes: tuple[QualifiedName, ...]


@dataclass(frozen=True, slots=True)
class Finalize:
    """End a detachment that was cut; then it is done."""

    table: QualifiedName
    partition: QualifiedName


@dataclass(frozen=True, slots=True)
class Ask:
    """A person has to answer this question."""

    question: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The statement cannot do what it says while this is so."""

    message: str
    hint: str


Step = Run | Done | Clear | Finalize | Ask | Refuse


def shown(name: QualifiedName) -> str:
    """A name as SQL, always quoted."""
    return ".".join(quote_identifier(part) for part in (name.schema, name.name) if part is not None)


def judge_build(build: Build, before: Before, found: tuple[Namesake, ...]) -> Step:
    """Decide about CREATE INDEX CONCURRENTLY.

    An INVALID index of its own is dropped also before the first run, for IF NOT EXISTS would take it for a success.
    """
    if build.index is None:
        return _judge_unnamed(before, found)
    if not found:
        return _nothing_left(before, "no index of that name is there")
    return _judge_valid(before, found[0]) if found[0].is_valid else _judge_invalid(build, found[0])


def _judge_valid(before: Before, there: Namesake) -> Step:
    """Another's index has the name: the server says so, or skips the statement where it says IF NOT EXISTS."""
    if before is not Before.CUT or there.likeness is Likeness.OTHER:
        return Run()
    if there.likeness is Likeness.UNKNOWN:
        return Ask(f"is the index {shown(there.name)} the one that it asks for?")
    return Done(f"the index {shown(there.name)} is there and valid")


def _judge_invalid(build: Build, there: Namesake) -> Step:
    match there.likeness:
        case Likeness.SAME:
            return Clear((there.name,))
        case Likeness.OTHER if not build.is_tolerant:
            return Run()
        case Likeness.OTHER | Likeness.UNKNOWN:
            return _stranger(there)


def _stranger(there: Namesake) -> Refuse:
    index = shown(there.name)
    what = (
        "is of another table or of another definition"
        if there.likeness is Likeness.OTHER
        else "cannot be compared with it"
    )
    return Refuse(
        f"the index {index} is INVALID and {what}, so it is left alone, and the statement cannot succeed beside it",
        f"if nobody needs it: DROP INDEX CONCURRENTLY {index}; then tidegate retry",
    )


def _judge_unnamed(before: Before, found: tuple[Namesake, ...]) -> Step:
    """The server would choose another name for another build, so what is left of this one goes first."""
    ours = [index for index in found if index.likeness is Likeness.SAME]
    left = tuple(index.name for index in ours if not index.is_valid)
    if before is Before.NOT_BEGUN:
        return Run()
    if left:
        return Clear(left)
    if before is Before.FAILED:
        return Run()
    if ours:
        return Done(f"the index {shown(ours[0].name)} is there and valid, and of the same definition")
    unknown = [index.name for index in found if index.likeness is Likeness.UNKNOWN]
    if unknown:
        return Ask(f"is one of {_listed(unknown)} the index that it builds, and is that one valid?")
    return _nothing_left(before, "no index of that definition is there")


def judge_drop(drop: Drop, before: Before, found: Found | None) -> Step:
    """Decide about DROP INDEX CONCURRENTLY, whose repetition finishes what was cut."""
    if before is not Before.CUT:
        return Run()
    if found is None:
        return Done(f"the index {shown(drop.index)} is gone")
    if not found.is_valid:
        return Run(f"finishing it: the index {shown(found.name)} is INVALID")
    if not found.is_sure:
        # Perhaps the index meant is gone, and a namesake in a later schema of the search path has come to light.
        return Ask(f"is {shown(found.name)} the index that it has to drop?")
    return Run(f"repeating it: the index {shown(found.name)} is there")


def judge_rebuild(before: Before, left: tuple[QualifiedName, ...]) -> Step:
    """Decide about REINDEX CONCURRENTLY.

    What is left may be older than this run, so that even a `_ccold` does not prove that the rebuilding was done.
    """
    if before is Before.NOT_BEGUN:
        return Run()
    return Clear(left) if left else _nothing_left(before, "it left no index behind")


def judge_detach(detach: Detach, before: Before, attachment: Attachment) -> Step:
    """Decide about DETACH PARTITION CONCURRENTLY."""
    if before is Before.NOT_BEGUN:
        return Run()
    match attachment:
        case Attachment.PENDING:
            return Finalize(detach.table, detach.partition)
        case Attachment.NONE if before is Before.CUT:
            return Done(f"{shown(detach.partition)} is no partition of {shown(detach.table)} any more")
        case Attachment.NONE:
            return Run()
        case Attachment.ATTACHED:
            return _nothing_left(before, f"{shown(detach.partition)} is still a partition")


def judge_presence(presence: Presence, before: Before, existence: Existence) -> Step:
    """Decide about CREATE and DROP of what the server creates or drops in one transaction of its own."""
    if before is not Before.CUT:
        return Run()
    what = f"the {presence.thing.value} {quote_identifier(presence.name)}"
    match presence.wanted, existence:
        case Wanted.THERE, Existence.THERE:
            return Done(f"{what} is there")
        case Wanted.THERE, Existence.INVALID:
            return Refuse(
                f"{what} is there and invalid: a DROP of it was cut",
                f"DROP DATABASE {quote_identifier(presence.name)}; then tidegate retry",
            )
        case Wanted.GONE, Existence.GONE:
            return Done(f"{what} is gone")
        case _:
            return Run(f"repeating it: {what} is {existence.value}")


def judge_unseen(what: Repeatable | Opaque, before: Before) -> Step:
    """Decide about what leaves no trace in the catalogue that could be told from another's."""
    if before is not Before.CUT:
        return Run()
    if isinstance(what, Repeatable):
        return Run("repeating it: that does no harm")
    return Ask("the catalogue does not show it: did it take effect?")


def _nothing_left(before: Before, why: str) -> Run:
    return Run(f"repeating it: {why}") if before is Before.CUT else Run()


def _listed(names: Iterable[QualifiedName]) -> str:
    return ", ".join(shown(name) for name in names)
