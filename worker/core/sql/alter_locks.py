"""The table locks of ALTER TABLE: of all its actions, the strongest decides."""

from collections.abc import Iterator

from worker.core.sql.table_locks import UNKNOWN, LockMode, Relation, TableLock, Taken
from worker.core.sql.table_words import Words

_LIGHT_PARAMETERS = ("FILLFACTOR", "AUTOVACUUM_", "TOAST", "PARALLEL_WORKERS", "VACUUM_", "LOG_AUTOVACUUM")


def alter_table(words: Words) -> Taken:
    """What ALTER TABLE takes; the words stand behind TABLE."""
    words.accept("IF", "EXISTS")
    words.accept("ONLY")
    table = None if words.next == "ALL" else words.relation()
    if table is None:
        return UNKNOWN
    words.accept("*")
    locks = [lock for action in _actions(words) for lock in _of_action(action, table)]
    return Taken(tuple(locks), may_be_more=words.is_cut or _cascades(words))


def _cascades(words: Words) -> bool:
    """Whether something is dropped with all that depends on it; a foreign key's ON DELETE CASCADE is another thing."""
    pairs = zip(words.upper, words.upper[1:], strict=False)
    return any(word == "CASCADE" and before not in {"DELETE", "UPDATE"} for before, word in pairs)


def _actions(words: Words) -> Iterator[Words]:
    """Each action between the commas that stand outside parentheses."""
    start, depth = words.at, 0
    for at in range(words.at, len(words.upper)):
        depth += {"(": 1, ")": -1}.get(words.upper[at], 0)
        if words.upper[at] in {",", ";"} and not depth:
            yield _between(words, start, at)
            start = at + 1
    if start < len(words.upper):
        yield _between(words, start, len(words.upper))


def _between(words: Words, start: int, end: int) -> Words:
    part = Words("")
    part.raw, part.upper = words.raw[start:end], words.upper[start:end]
    return part


def _of_action(action: Words, table: Relation) -> Iterator[TableLock]:
    own = _mode(action)
    yield TableLock(table, own)
    for referenced in references(action):
        yield TableLock(referenced, LockMode.SHARE_ROW_EXCLUSIVE)
    action.at = 0
    if action.accept_any("ATTACH", "DETACH") and action.accept("PARTITION"):
        partition = action.relation()
        if partition is not None:
            yield TableLock(partition, LockMode.ACCESS_EXCLUSIVE)
    elif action.accept("INHERIT") or action.accept("NO", "INHERIT"):
        parent = action.relation()
        if parent is not None:
            yield TableLock(parent, LockMode.SHARE_UPDATE_EXCLUSIVE)


def references(words: Words) -> Iterator[Relation]:
    """The tables that foreign keys refer to."""
    while words.find("REFERENCES"):
        referenced = words.relation()
        if referenced is not None:
            yield referenced


def _mode(action: Words) -> LockMode:
    if _leaves_writes_alone(tuple(action.upper)):
        return LockMode.SHARE_UPDATE_EXCLUSIVE
    match tuple(action.upper):
        case ("ENABLE" | "DISABLE", "TRIGGER", *_) | ("ENABLE", "REPLICA" | "ALWAYS", "TRIGGER", *_):
            return LockMode.SHARE_ROW_EXCLUSIVE
        case ("ADD", "FOREIGN", *_) | ("ADD", "CONSTRAINT", _, "FOREIGN", *_):
            return LockMode.SHARE_ROW_EXCLUSIVE
        case _:
            return LockMode.ACCESS_EXCLUSIVE


def _leaves_writes_alone(action: tuple[str, ...]) -> bool:
    match action:
        case ("VALIDATE" | "CLUSTER" | "ATTACH", *_) | ("SET", "WITHOUT", "CLUSTER", *_):
            return True
        case ("DETACH", *rest):
            return "CONCURRENTLY" in rest or "FINALIZE" in rest
        case ("SET" | "RESET", "(", *rest):
            return _is_light(rest)
        case ("ALTER", *rest):
            return _is_light_of_column(rest)
        case _:
            return False


def _is_light(parameters: list[str]) -> bool:
    names = [name for name, before in zip(parameters, ["(", *parameters], strict=False) if before in {"(", ","}]
    return all(name.startswith(_LIGHT_PARAMETERS) for name in names)


def _is_light_of_column(rest: list[str]) -> bool:
    """ALTER [COLUMN] c: its statistics and its planner options are light, all else is not."""
    action = rest[2:] if rest[:1] == ["COLUMN"] else rest[1:]
    return action[:2] in (["SET", "STATISTICS"], ["SET", "("], ["RESET", "("])
