"""What a statement that was cut off was about, so that what it left behind can be found and judged."""

import re
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from worker.core.statements import Kind, classify
from worker.core.tokens import keywords, tokens


class IndexAction(Enum):
    """What a concurrent statement does to an index."""

    CREATE = "create"
    DROP = "drop"
    REINDEX = "reindex"


@dataclass(frozen=True, slots=True)
class QualifiedName:
    """A name as the catalog holds it: unquoted, folded and cut to 63 bytes; a schema of None means not said."""

    schema: str | None
    name: str


@dataclass(frozen=True, slots=True)
class ConcurrentIndex:
    """A concurrent statement's index or table.

    CREATE always has a table, and no index where the server chooses its name; an index is created in its table's
    schema. DROP and REINDEX INDEX have an index, REINDEX TABLE a table.
    """

    action: IndexAction
    index: QualifiedName | None
    table: QualifiedName | None
    if_not_exists: bool
    if_exists: bool


_NAME_BYTES = 63
_UNQUOTED = re.compile(r"[A-Za-z_\x80-\U0010ffff].*", re.DOTALL)
_REPEATABLE = frozenset({"ANALYSE", "ANALYZE", "CHECKPOINT", "CLUSTER", "DISCARD", "REFRESH", "REINDEX", "VACUUM"})


def concurrent_target(text: str) -> ConcurrentIndex | None:
    """Return what a CREATE INDEX, DROP INDEX, REINDEX INDEX or REINDEX TABLE that runs concurrently is about.

    None for every other statement, and where a name cannot be told from the text (`U&"..."`).
    """
    if classify(text) is not Kind.ALONE:
        return None
    written = list(islice(tokens(text), 64))
    words = list(keywords(text, 64))
    match words:
        case ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", *_]:
            return _created(words[4:], written[4:])
        case ["CREATE", "INDEX", "CONCURRENTLY", *_]:
            return _created(words[3:], written[3:])
        case ["DROP", "INDEX", "CONCURRENTLY", *_]:
            return _dropped(words[3:], written[3:])
        case ["REINDEX", *_]:
            return _reindexed(words, written)
        case _:
            return None


def is_repeatable(text: str) -> bool:
    """Whether running a statement a second time does no harm, for example VACUUM, REINDEX or ALTER SYSTEM."""
    words = keywords(text, 2)
    return words == ("ALTER", "SYSTEM") or (len(words) > 0 and words[0] in _REPEATABLE)


def _created(words: list[str], written: list[str]) -> ConcurrentIndex | None:
    tolerant = words[:3] == ["IF", "NOT", "EXISTS"]
    words, written = (words[3:], written[3:]) if tolerant else (words, written)
    if "ON" not in words:
        return None
    on = words.index("ON")
    only = words[on + 1 : on + 2] == ["ONLY"]
    table = _qualified(written[on + 1 + only :])
    index = _qualified(written[:on])
    if table is None or (index is None and on > 0):
        return None
    return ConcurrentIndex(IndexAction.CREATE, index, table, if_not_exists=tolerant, if_exists=False)


def _dropped(words: list[str], written: list[str]) -> ConcurrentIndex | None:
    tolerant = words[:2] == ["IF", "EXISTS"]
    index = _qualified(written[2:] if tolerant else written)
    if index is None:
        return None
    return ConcurrentIndex(IndexAction.DROP, index, None, if_not_exists=False, if_exists=tolerant)


def _reindexed(words: list[str], written: list[str]) -> ConcurrentIndex | None:
    start = words.index(")") + 1 if words[1:2] == ["("] and ")" in words else 1
    named = start + (2 if words[start + 1 : start + 2] == ["CONCURRENTLY"] else 1)
    name = _qualified(written[named:])
    match words[start : start + 1]:
        case ["INDEX"] if name is not None:
            return ConcurrentIndex(IndexAction.REINDEX, name, None, if_not_exists=False, if_exists=False)
        case ["TABLE"] if name is not None:
            return ConcurrentIndex(IndexAction.REINDEX, None, name, if_not_exists=False, if_exists=False)
        case _:
            return None


def _qualified(written: list[str]) -> QualifiedName | None:
    """Read `name`, `schema.name` or `database.schema.name` at the beginning; None if no plain name is there."""
    parts = written[:1]
    for dot, name in zip(written[1::2], written[2::2], strict=False):
        if dot != ".":
            break
        parts.append(name)
    names = [_identifier(part) for part in parts]
    if not names or None in names or written[1:2] == ["&"]:
        return None
    schema = names[-2] if len(names) > 1 else None
    return QualifiedName(schema, names[-1] or "")


def _identifier(written: str) -> str | None:
    """Fold an identifier as the server does: ASCII to lower case, and at most 63 bytes of UTF-8."""
    if written.startswith('"'):
        name = written[1:-1].replace('""', '"')
    elif _UNQUOTED.fullmatch(written):
        name = "".join(char.lower() if char.isascii() else char for char in written)
    else:
        return None
    return name.encode("utf-8", "surrogatepass")[:_NAME_BYTES].decode("utf-8", "ignore")
