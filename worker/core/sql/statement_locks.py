"""The table locks that a statement takes, by its kind and the relations that it names.

What runs code of its own (DO, CALL, a query that calls functions, an extension's script) may take any, and says so.
"""

from collections.abc import Callable, Iterable, Mapping

from worker.core.sql.alter_locks import alter_table, references
from worker.core.sql.script import Script
from worker.core.sql.statements import Kind, classify
from worker.core.sql.table_locks import (
    NOTHING,
    UNKNOWN,
    LockMode,
    MigrationLocks,
    Relation,
    TableLock,
    Taken,
    Whose,
    summed,
)
from worker.core.sql.table_words import Words, relation_of

_HARMLESS = frozenset(
    {"CLOCK_TIMESTAMP", "COALESCE", "CONCAT", "COUNT", "CURRVAL", "GENERATE_SERIES", "GEN_RANDOM_UUID", "LENGTH",
     "LOWER", "MAX", "MD5", "MIN", "NEXTVAL", "NOW", "NULLIF", "PG_SLEEP", "RANDOM", "SETVAL", "SET_CONFIG", "SUM",
     "UPPER"}
)  # fmt: skip
_OF_NO_TABLE = ("AGGREGATE", "CAST", "COLLATION", "DATABASE", "FUNCTION", "GROUP", "LANGUAGE", "OPERATOR",
                "PROCEDURE", "ROLE", "ROUTINE", "SCHEMA", "SERVER", "TABLESPACE", "TEXT", "USER")  # fmt: skip
_ON_TABLE = {
    "POLICY": ("ON", LockMode.ACCESS_EXCLUSIVE),
    "RULE": ("TO", LockMode.ACCESS_EXCLUSIVE),
    "STATISTICS": ("FROM", LockMode.SHARE_UPDATE_EXCLUSIVE),
    "TRIGGER": ("ON", LockMode.SHARE_ROW_EXCLUSIVE),
}
_WITH_RELATION = {"VIEW", "TABLE", "SEQUENCE"}
_SESSION = {
    Kind.EMPTY, Kind.BEGIN, Kind.COMMIT, Kind.COMMIT_AND_CHAIN, Kind.ROLLBACK, Kind.SAVEPOINT, Kind.TRANSACTION_MODE,
    Kind.TRANSACTION_STATE, Kind.SESSION_STATE, Kind.DISCARD_ALL,
}  # fmt: skip


def locks_of(script: Script) -> MigrationLocks:
    """What a script takes in all."""
    return summed(
        (statement.line, statement_locks(statement.text))
        for segment in script.segments
        for statement in segment.statements
    )


def statement_locks(text: str) -> Taken:
    """What one statement takes."""
    if classify(text) in _SESSION:
        return NOTHING
    words = Words(text)
    verb, words.at = words.next, 1
    reader = _READERS.get(verb)
    return UNKNOWN if reader is None else reader(words)


def _taken(
    relations: Iterable[Relation | None], mode: LockMode, *, whose: Whose = Whose.OWN, may_be_more: bool = False
) -> Taken:
    found = list(relations)
    locks = tuple(TableLock(relation, mode, whose) for relation in found if relation is not None)
    return Taken(locks, may_be_more=may_be_more or None in found or not found)


def _create(words: Words) -> Taken:
    replaces = words.accept("OR", "REPLACE")
    while words.accept_any("GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "RECURSIVE", "CONSTRAINT", "UNIQUE"):
        pass
    match words.next:
        case "TABLE":
            return _create_table(words)
        case "INDEX":
            return _create_index(words)
        case "VIEW" | "MATERIALIZED" | "SEQUENCE" | "FOREIGN":
            return _create_relation(words, replaces=replaces)
        case "TYPE" | "DOMAIN":
            return NOTHING
        case kind if kind in _OF_NO_TABLE:
            return NOTHING
        case kind:
            before, mode = _ON_TABLE.get(kind, ("", LockMode.ACCESS_EXCLUSIVE))
            return _taken([words.relation()], mode) if before and words.find(before) else UNKNOWN


def _create_table(words: Words) -> Taken:
    words.accept("TABLE")
    may_exist = words.accept("IF", "NOT", "EXISTS")
    table = words.relation()
    if table is None:
        return UNKNOWN
    locks = []
    if words.accept("PARTITION", "OF"):
        locks.append((words.relation(), LockMode.ACCESS_EXCLUSIVE))
    body = words.at
    locks += [(referenced, LockMode.SHARE_ROW_EXCLUSIVE) for referenced in references(words)]
    words.at = body
    if words.find("INHERITS", "("):
        locks += [(parent, LockMode.SHARE_UPDATE_EXCLUSIVE) for parent in words.relations()]
    others = tuple(TableLock(each, mode) for each, mode in locks if each is not None and each != table)
    words.at = body
    return Taken(others, () if may_exist else (table,), may_be_more=words.is_cut or _fills_by_calls(words))


def _fills_by_calls(words: Words) -> bool:
    """Whether CREATE … AS runs a query that calls functions."""
    queried = any(words.holds("AS", verb) for verb in ("EXECUTE", "SELECT", "TABLE", "VALUES", "WITH"))
    return queried and _calls(words)


def _create_index(words: Words) -> Taken:
    words.accept("INDEX")
    concurrently = words.accept("CONCURRENTLY")
    if not words.find("ON"):
        return UNKNOWN
    words.accept("ONLY")
    return _taken([words.relation()], LockMode.SHARE_UPDATE_EXCLUSIVE if concurrently else LockMode.SHARE)


def _create_relation(words: Words, *, replaces: bool) -> Taken:
    is_filled = words.accept_any("MATERIALIZED", "FOREIGN") == "MATERIALIZED"
    if not words.accept_any(*_WITH_RELATION):
        return NOTHING
    may_exist = words.accept("IF", "NOT", "EXISTS") or replaces
    relation = words.relation()
    if relation is None:
        return UNKNOWN
    locks = (TableLock(relation, LockMode.ACCESS_EXCLUSIVE),) if replaces else ()
    return Taken(locks, () if may_exist else (relation,), may_be_more=is_filled and _fills_by_calls(words))


def _drop(words: Words) -> Taken:
    kind = words.accept_any(
        "TABLE", "VIEW", "MATERIALIZED", "SEQUENCE", "FOREIGN", "INDEX", "TRIGGER", "POLICY", "RULE", "TYPE", "DOMAIN",
        *_OF_NO_TABLE,
    )  # fmt: skip
    cascades = words.holds("CASCADE")
    match kind:
        case "TABLE" | "VIEW" | "MATERIALIZED" | "SEQUENCE" | "FOREIGN":
            words.accept_any("VIEW", "TABLE")
            words.accept("IF", "EXISTS")
            return _taken(words.relations(), LockMode.ACCESS_EXCLUSIVE, may_be_more=cascades)
        case "INDEX":
            mode = LockMode.SHARE_UPDATE_EXCLUSIVE if words.accept("CONCURRENTLY") else LockMode.ACCESS_EXCLUSIVE
            words.accept("IF", "EXISTS")
            return _taken(words.relations(), mode, whose=Whose.TABLE_OF_INDEX, may_be_more=cascades)
        case "TRIGGER" | "POLICY" | "RULE":
            return _on_table(words, LockMode.ACCESS_EXCLUSIVE)
        case "":
            return UNKNOWN
        case _:
            return UNKNOWN if cascades else NOTHING


def _alter(words: Words) -> Taken:
    kind = words.accept_any(
        "TABLE", "INDEX", "VIEW", "MATERIALIZED", "SEQUENCE", "TRIGGER", "POLICY", "TYPE", "DEFAULT", *_OF_NO_TABLE
    )
    match kind:
        case "TABLE":
            return alter_table(words)
        case "INDEX" | "VIEW" | "MATERIALIZED" | "SEQUENCE":
            return _alter_other(words, kind)
        case "TRIGGER" | "POLICY":
            return _on_table(words, LockMode.ACCESS_EXCLUSIVE)
        case "TYPE":
            return NOTHING if words.holds("VALUE") else UNKNOWN
        case "":
            return UNKNOWN
        case _:
            return NOTHING


def _alter_other(words: Words, kind: str) -> Taken:
    words.accept("VIEW")
    words.accept("IF", "EXISTS")
    relation = words.relation()
    if kind == "INDEX" and words.next in {"RENAME", "SET", "RESET"} and not words.holds("TABLESPACE"):
        return _taken([relation], LockMode.SHARE_UPDATE_EXCLUSIVE)
    heavy = kind != "SEQUENCE" or words.next in {"RENAME", "OWNER", "SET"}
    return _taken([relation], LockMode.ACCESS_EXCLUSIVE if heavy else LockMode.SHARE_ROW_EXCLUSIVE)


def _on_table(words: Words, mode: LockMode) -> Taken:
    return _taken([words.relation()], mode) if words.find("ON") else UNKNOWN


def _truncate(words: Words) -> Taken:
    words.accept("TABLE")
    relations = words.relations()
    return _taken(relations, LockMode.ACCESS_EXCLUSIVE, may_be_more=words.holds("CASCADE"))


def _lock(words: Words) -> Taken:
    words.accept("TABLE")
    relations = words.relations()
    named = " ".join(words.upper[words.at :]).removeprefix("IN ").partition(" MODE")[0] if words.next == "IN" else ""
    mode = next((mode for mode in LockMode if mode.value == named), LockMode.ACCESS_EXCLUSIVE)
    return _taken(relations, mode)


def _written(words: Words) -> Taken:
    """INSERT INTO, UPDATE, DELETE FROM, MERGE INTO."""
    words.accept_any("INTO", "FROM")
    words.accept("ONLY")
    relation = words.relation()
    words.accept_options()
    return _taken([relation], LockMode.ROW_EXCLUSIVE, may_be_more=_calls(words))


def _copy(words: Words) -> Taken:
    if words.next == "(":
        return NOTHING
    relation = words.relation()
    words.accept_options()
    return _taken([relation], LockMode.ROW_EXCLUSIVE) if words.next == "FROM" else NOTHING


def _query(words: Words) -> Taken:
    return UNKNOWN if _calls(words) or words.holds("INTO") or words.holds("FOR", "UPDATE") else NOTHING


def _calls(words: Words) -> bool:
    """Whether anything that may be a function is called, but for a few that are known."""
    for name, mark in zip(words.upper[words.at :], words.upper[words.at + 1 :], strict=False):
        if mark == "(" and (name[0].isalpha() or name[0] in '_"') and name not in _HARMLESS | _BEFORE_PARENTHESIS:
            return True
    return False


_BEFORE_PARENTHESIS = frozenset(
    {"ALL", "AND", "ANY", "AS", "BY", "CAST", "CONFLICT", "DISTINCT", "EXISTS", "FILTER", "FROM", "IN", "JOIN",
     "LATERAL", "NOT", "ON", "OR", "OVER", "SELECT", "THEN", "UNION", "USING", "VALUES", "WHEN", "WHERE"}
)  # fmt: skip


def _vacuum(words: Words) -> Taken:
    full = words.next == "(" and "FULL" in words.upper[: words.upper.index(")") if ")" in words.upper else 0]
    words.accept_options()
    while option := words.accept_any("FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"):
        full = full or option == "FULL"
    return _taken(words.relations(), LockMode.ACCESS_EXCLUSIVE if full else LockMode.SHARE_UPDATE_EXCLUSIVE)


def _analyze(words: Words) -> Taken:
    words.accept_options()
    words.accept("VERBOSE")
    return _taken(words.relations(), LockMode.SHARE_UPDATE_EXCLUSIVE)


def _cluster(words: Words) -> Taken:
    words.accept_options()
    words.accept("VERBOSE")
    return _taken([words.relation()], LockMode.ACCESS_EXCLUSIVE)


def _reindex(words: Words) -> Taken:
    concurrently = "CONCURRENTLY" in words.upper
    words.accept_options()
    kind = words.accept_any("TABLE", "INDEX")
    words.accept("CONCURRENTLY")
    if not kind:
        return UNKNOWN
    whose = Whose.OWN if kind == "TABLE" else Whose.TABLE_OF_INDEX
    return _taken([words.relation()], LockMode.SHARE_UPDATE_EXCLUSIVE if concurrently else LockMode.SHARE, whose=whose)


def _refresh(words: Words) -> Taken:
    words.accept("MATERIALIZED", "VIEW")
    mode = LockMode.EXCLUSIVE if words.accept("CONCURRENTLY") else LockMode.ACCESS_EXCLUSIVE
    return _taken([words.relation()], mode, may_be_more=True)


def _comment(words: Words) -> Taken:
    words.accept("ON")
    match words.accept_any("TABLE", "VIEW", "INDEX", "SEQUENCE", "MATERIALIZED", "COLUMN", "CONSTRAINT", "TRIGGER"):
        case "":
            return NOTHING
        case "COLUMN":
            return _taken([relation_of(words.parts()[:-1])], LockMode.SHARE_UPDATE_EXCLUSIVE)
        case "CONSTRAINT" | "TRIGGER":
            return NOTHING
        case _:
            words.accept("VIEW")
            return _taken([words.relation()], LockMode.SHARE_UPDATE_EXCLUSIVE)


def _nothing(_words: Words) -> Taken:
    return NOTHING


_READERS: Mapping[str, Callable[[Words], Taken]] = {
    "ALTER": _alter,
    "ANALYZE": _analyze,
    "ANALYSE": _analyze,
    "CLUSTER": _cluster,
    "COMMENT": _comment,
    "COPY": _copy,
    "CREATE": _create,
    "DELETE": _written,
    "DROP": _drop,
    "GRANT": _nothing,
    "INSERT": _written,
    "LOCK": _lock,
    "MERGE": _written,
    "NOTIFY": _nothing,
    "REFRESH": _refresh,
    "REINDEX": _reindex,
    "REVOKE": _nothing,
    "SELECT": _query,
    "TABLE": _query,
    "TRUNCATE": _truncate,
    "UPDATE": _written,
    "VACUUM": _vacuum,
    "VALUES": _query,
}
