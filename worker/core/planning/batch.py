"""Which migrations are sent together: in one transaction where a person asked for that, else as one message."""

import re
from collections.abc import Callable, Iterator, Sequence

from worker.core.bundles.migration import Direction, Directives
from worker.core.pattern import pattern
from worker.core.planning.plan import Effect, Run
from worker.core.sql.script import Mode, Script

_FOR_THE_TRANSACTION = pattern(r"set\s+constraints", re.IGNORECASE)

MOST_CHARACTERS = 4_000_000
"""Of the files of one batch: all of it is one message, which the server keeps in memory while it runs."""


def batches(effects: Sequence[Effect], most: int, joins: Callable[[Run], bool]) -> Iterator[tuple[Effect, ...]]:
    """Cut effects into batches of up to `most` that stand one behind the other; what joins no batch stands alone."""
    place = 0
    while place < len(effects):
        batch = leading(effects, place, most, joins)
        yield batch
        place += len(batch)


def leading(
    effects: Sequence[Effect], place: int, most: int, joins: Callable[[Run], bool], characters: int = MOST_CHARACTERS
) -> tuple[Effect, ...]:
    """The effects from `place` on that go together: up to `most`, of so many characters; the first one always."""
    following = effects[place : place + most]
    return tuple(following[: max(1, joining(following, joins, characters)) if most > 1 else 1])


def joining(effects: Sequence[Effect], joins: Callable[[Run], bool], characters: int) -> int:
    """How many of the first of these effects can go together, with no more than so many characters in all."""
    size = 0
    for place, effect in enumerate(effects):
        size += _length(effect)
        if size > characters or not (isinstance(effect, Run) and joins(effect)):
            return place
    return len(effects)


def is_joining(run: Run, script: Script) -> bool:
    """Whether a migration can go together with others: it goes up, has no say in how it runs, and is one transaction.

    What constraints wait for is the transaction's affair, and would hold for the migrations behind it.
    """
    if run.direction is not Direction.UP or run.resume is not None or script.mode is Mode.JOURNALLED:
        return False
    said = run.migration.up is None or run.migration.up.directives == Directives()
    return said and not any(segment.begin or _FOR_THE_TRANSACTION.search(segment.text) for segment in script.segments)


def _length(effect: Effect) -> int:
    side = effect.migration.up if isinstance(effect, Run) else None
    return 0 if side is None else len(side.sql)
