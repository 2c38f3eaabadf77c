"""What a statement does to transactions and to the session, told by its first words.

PostgreSQL checks most of this only when it runs a statement, so a script has to be read to know how to run it. What
lies inside a DO body, a function or a procedure cannot be seen here. Unless said otherwise, the facts were observed
on PostgreSQL 15.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from itertools import pairwise

from worker.core.pattern import pattern
from worker.core.sql.tokens import first_keyword, keywords


class Kind(Enum):
    """The classes of statements that are run, or refused, in different ways."""

    EMPTY = "empty"
    PLAIN = "plain"
    ALONE = "alone"
    """Refused by the server inside a transaction block, and beside others in one message."""
    PREFERS_ALONE = "prefers alone"
    """Refused inside a transaction block in some states of the database, which the text does not show."""
    DISCARD_ALL = "discard all"
    """Refused inside a transaction block, and forgets all that the session holds."""
    BEGIN = "begin"
    COMMIT = "commit"
    COMMIT_AND_CHAIN = "commit and chain"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    TWO_PHASE = "two-phase"
    """PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED."""
    TRANSACTION_MODE = "transaction mode"
    """SET TRANSACTION with modes that BEGIN takes as well."""
    TRANSACTION_STATE = "transaction state"
    """SET LOCAL, SET CONSTRAINTS, SET TRANSACTION SNAPSHOT, local set_config: gone with the transaction."""
    SESSION_STATE = "session state"
    """SET, RESET, set_config, LISTEN: outlives its transaction, and can be had again by running it again."""
    SESSION_OBJECT = "session object"
    """A temporary object, a prepared statement, a held cursor: outlives its transaction, and is lost for good."""
    COPY_FROM_STDIN = "copy from stdin"


Words = tuple[str, ...]

_HEAD = 8
_NAMES = 24
_FALSE = frozenset({"FALSE", "OFF", "0", "'FALSE'", "'OFF'", "'0'"})
_TRUE = frozenset({"TRUE", "'TRUE'", "'T'", "'ON'", "'YES'", "'1'"})
_TEMP = pattern("temp", re.IGNORECASE | re.ASCII)
_TRANSACTION_WORDS = ("WORK", "TRANSACTION")


def classify(text: str) -> Kind:
    """Return the kind of one statement, by the words with which it begins; comments count as white space."""
    first = first_keyword(text) or ";"
    if kind := _BY_FIRST_WORD.get(first):
        return kind
    reader = _READERS.get(first)
    return Kind.PLAIN if reader is None else reader(keywords(text, _HEAD), text)


def may_commit(text: str) -> bool:
    """Whether a statement is DO or CALL, whose code may commit by itself where no transaction block holds it."""
    return keywords(text, 1) in {("DO",), ("CALL",)}


def transaction_modes(text: str) -> str:
    """Return the modes in BEGIN, START or SET TRANSACTION in upper case, for example "ISOLATION LEVEL SERIALIZABLE"."""
    words = [word for word in keywords(text) if word not in {",", ";"}]
    skipped = 2 if words[1:2] and words[1] in _TRANSACTION_WORDS else 1
    return " ".join(words[skipped:])


def _start(head: Words, _text: str) -> Kind:
    return Kind.BEGIN if head[1:2] == ("TRANSACTION",) else Kind.PLAIN


def _without_noise(head: Words) -> Words:
    return head[2:] if head[1:2] and head[1] in _TRANSACTION_WORDS else head[1:]


def _commit(head: Words, _text: str) -> Kind:
    rest = _without_noise(head)
    if rest[:1] == ("PREPARED",):
        return Kind.TWO_PHASE
    return Kind.COMMIT_AND_CHAIN if rest[:2] == ("AND", "CHAIN") else Kind.COMMIT


def _rollback(head: Words, _text: str) -> Kind:
    rest = _without_noise(head)
    if rest[:1] == ("PREPARED",):
        return Kind.TWO_PHASE
    return Kind.SAVEPOINT if rest[:1] == ("TO",) else Kind.ROLLBACK


def _prepare(head: Words, _text: str) -> Kind:
    return Kind.TWO_PHASE if head[1:2] == ("TRANSACTION",) else Kind.SESSION_OBJECT


def _set(head: Words, _text: str) -> Kind:
    match head[1:]:
        case ("LOCAL" | "CONSTRAINTS", *_) | ("TRANSACTION", "SNAPSHOT", *_):
            return Kind.TRANSACTION_STATE
        case ("TRANSACTION", *_):
            return Kind.TRANSACTION_MODE
        case _:
            return Kind.SESSION_STATE


def _select(head: Words, text: str) -> Kind:
    called = head[3:5] if head[1:3] == ("PG_CATALOG", ".") else head[1:3]
    if called != ("SET_CONFIG", "("):
        return _query(head, text)
    words = keywords(text)
    if "FROM" in words:
        return Kind.PLAIN
    last = len(words) - 1 - words[::-1].index(")") if ")" in words else 0
    return Kind.TRANSACTION_STATE if words[last - 1] in _TRUE else Kind.SESSION_STATE


def _query(_head: Words, text: str) -> Kind:
    if _TEMP.search(text) is None:
        return Kind.PLAIN
    words = [word for word in keywords(text) if word not in {"LOCAL", "GLOBAL"}]
    into = {("INTO", "TEMP"), ("INTO", "TEMPORARY")}
    return Kind.PLAIN if into.isdisjoint(pairwise(words)) else Kind.SESSION_OBJECT


def _declare(_head: Words, text: str) -> Kind:
    words = keywords(text)
    options = words[: words.index("FOR")] if "FOR" in words else words
    return Kind.SESSION_OBJECT if "HOLD" in options and "WITHOUT" not in options else Kind.PLAIN


def _create(head: Words, text: str) -> Kind:
    match head[1:]:
        case ("DATABASE" | "TABLESPACE", *_) | ("INDEX", "CONCURRENTLY", *_) | ("UNIQUE", "INDEX", "CONCURRENTLY", *_):
            return Kind.ALONE
        case ("SUBSCRIPTION", *_):
            words = keywords(text)
            return Kind.PLAIN if _is_off("CONNECT", words) or _is_off("CREATE_SLOT", words) else Kind.ALONE
        case _:
            return _create_temporary(head, text)


def _create_temporary(head: Words, text: str) -> Kind:
    if ("PG_TEMP", ".") in pairwise(head):
        return Kind.SESSION_OBJECT
    kind = head[3:] if head[1:3] == ("OR", "REPLACE") else head[1:]
    kind = kind[1:] if kind[:1] in {("LOCAL",), ("GLOBAL",)} else kind
    if kind[:1] not in {("TEMP",), ("TEMPORARY",)}:
        return Kind.PLAIN
    dropped = ("COMMIT", "DROP") in pairwise(keywords(text))
    return Kind.PLAIN if dropped else Kind.SESSION_OBJECT


def _drop(head: Words, _text: str) -> Kind:
    match head[1:]:
        case ("DATABASE" | "TABLESPACE", *_) | ("INDEX", "CONCURRENTLY", *_):
            return Kind.ALONE
        case ("SUBSCRIPTION", *_):
            # Refused only while the subscription still has a slot.
            return Kind.PREFERS_ALONE
        case _:
            return Kind.PLAIN


def _alter(head: Words, text: str) -> Kind:
    match head[1:]:
        case ("SYSTEM", *_) | ("DATABASE", _, "TABLESPACE", *_) | ("DATABASE", _, "SET" | "WITH", "TABLESPACE", *_):
            return Kind.ALONE
        case ("TABLE", *_):
            return Kind.ALONE if _detaches_concurrently(keywords(text, _NAMES)) else Kind.PLAIN
        case ("SUBSCRIPTION", _, *action):
            return _alter_subscription(tuple(action), text)
        case _:
            return Kind.PLAIN


def _detaches_concurrently(words: Words) -> bool:
    if "DETACH" not in words:
        return False
    action = words[words.index("DETACH") :]
    return action[1:2] == ("PARTITION",) and "CONCURRENTLY" in action


def _alter_subscription(action: Words, text: str) -> Kind:
    match action:
        case ("REFRESH", *_):
            return Kind.ALONE
        case ("SET" | "ADD" | "DROP", "PUBLICATION", *_):
            return Kind.PLAIN if _is_off("REFRESH", keywords(text)) else Kind.ALONE
        case ("SET", *_) if {"FAILOVER", "TWO_PHASE"} & set(keywords(text)):
            # The manual of PostgreSQL 17 and 18: refused while the subscription has a slot.
            return Kind.PREFERS_ALONE
        case _:
            return Kind.PLAIN


def _is_off(option: str, words: Words) -> bool:
    """Whether a list of options says `option = false` in one of its spellings."""
    return any(
        name == option and equals == "=" and value in _FALSE
        for name, equals, value in zip(words, words[1:], words[2:], strict=False)
    )


def _reindex(head: Words, text: str) -> Kind:
    options, rest = _options(keywords(text) if head[1:2] == ("(",) else head)
    asked = any(
        word == "CONCURRENTLY" and value not in _FALSE
        for word, value in zip(options, (*options[1:], ","), strict=False)
    )
    always = rest[:1] in {("DATABASE",), ("SYSTEM",), ("SCHEMA",)}
    return Kind.ALONE if asked or always or rest[1:2] == ("CONCURRENTLY",) else Kind.PLAIN


def _options(words: Words) -> tuple[Words, Words]:
    """Take `VERB (options) rest` apart into the options and the rest."""
    if words[1:2] != ("(",) or ")" not in words:
        return (), words[1:]
    close = words.index(")")
    return words[2:close], words[close + 1 :]


def _cluster(head: Words, text: str) -> Kind:
    _, rest = _options(keywords(text) if head[1:2] == ("(",) else head)
    return Kind.PLAIN if set(rest) - {"VERBOSE", ";"} else Kind.ALONE


def _discard(head: Words, _text: str) -> Kind:
    return Kind.DISCARD_ALL if head[1:2] == ("ALL",) else Kind.PLAIN


def _copy(_head: Words, text: str) -> Kind:
    return Kind.COPY_FROM_STDIN if ("FROM", "STDIN") in pairwise(keywords(text)) else Kind.PLAIN


_BY_FIRST_WORD: Mapping[str, Kind] = {
    ";": Kind.EMPTY,
    "BEGIN": Kind.BEGIN,
    "LISTEN": Kind.SESSION_STATE,
    "RELEASE": Kind.SAVEPOINT,
    "RESET": Kind.SESSION_STATE,
    "SAVEPOINT": Kind.SAVEPOINT,
    "UNLISTEN": Kind.SESSION_STATE,
    "VACUUM": Kind.ALONE,
}

_READERS: Mapping[str, Callable[[Words, str], Kind]] = {
    "ABORT": _rollback,
    "ALTER": _alter,
    "CLUSTER": _cluster,
    "COMMIT": _commit,
    "COPY": _copy,
    "CREATE": _create,
    "DECLARE": _declare,
    "DISCARD": _discard,
    "DROP": _drop,
    "END": _commit,
    "PREPARE": _prepare,
    "REINDEX": _reindex,
    "ROLLBACK": _rollback,
    "SELECT": _select,
    "SET": _set,
    "START": _start,
    "WITH": _query,
}
