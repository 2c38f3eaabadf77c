"""Which migrations share one transaction, where a person asked for that."""

import re
from collections.abc import Callable, Iterable, Iterator

from worker.core.bundles.migration import Direction, Directives
from worker.core.pattern import pattern
from worker.core.planning.plan import Effect, Run
from worker.core.sql.script import Mode, Script

_FOR_THE_TRANSACTION = pattern(r"set\s+constraints", re.IGNORECASE)

MOST_CHARACTERS = 4_000_000
"""Of the files of one batch: all of it is one message, which the server keeps in memory while it runs."""


def batches(effects: Iterable[Effect], most: int, joins: Callable[[Run], bool]) -> Iterator[tuple[Effect, ...]]:
    """Cut effects into batches of up to `most` that stand one behind the other; what joins no batch stands alone."""
    batch: list[Effect] = []
    size = 0
    for effect in effects:
        is_joining, length = isinstance(effect, Run) and most > 1 and joins(effect), _length(effect)
        if batch and not (is_joining and len(batch) < most and size + length <= MOST_CHARACTERS):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(effect)
        size += length
        if not is_joining:
            yield tuple(batch)
            batch, size = [], 0
    if batch:
        yield tuple(batch)


def is_joining(run: Run, script: Script) -> bool:
    """Whether a migration can share a transaction: it needs none of its own, has no say in how it runs, and goes up.

    What constraints wait for is the transaction's affair, and would hold for the migrations behind it.
    """
    if run.direction is not Direction.UP or run.resume is not None or script.mode is Mode.JOURNALLED:
        return False
    said = run.migration.up is None or run.migration.up.directives == Directives()
    return said and not any(segment.begin or _FOR_THE_TRANSACTION.search(segment.text) for segment in script.segments)


def _length(effect: Effect) -> int:
    side = effect.migration.up if isinstance(effect, Run) else None
    return 0 if side is None else len(side.sql)
