"""Reads a statement's words one after the other: keywords in any case, and the names of relations."""

from itertools import islice

from worker.core.sql.table_locks import Relation
from worker.core.sql.tokens import tokens

_MOST = 20_000
_MARKS = frozenset("(),;=.<>")


class Words:
    """A statement's tokens and a place among them; past the end, every token is ""."""

    def __init__(self, sql: str) -> None:
        self.raw = list(islice(tokens(sql), _MOST))
        self.upper = [word.upper() if word.isascii() else word for word in self.raw]
        self.at = 0
        self.is_cut = len(self.raw) == _MOST

    @property
    def next(self) -> str:
        """The next token, in upper case."""
        return self.upper[self.at] if self.at < len(self.upper) else ""

    def accept(self, *words: str) -> bool:
        """Step over these keywords, if all of them come next."""
        if tuple(self.upper[self.at : self.at + len(words)]) != words:
            return False
        self.at += len(words)
        return True

    def accept_any(self, *words: str) -> str:
        """Step over any of these keywords, and return it; "" where none comes next."""
        if self.next not in words:
            return ""
        self.at += 1
        return self.upper[self.at - 1]

    def accept_options(self) -> None:
        """Step over a parenthesis that comes next."""
        if self.next == "(":
            self.at += 1
            depth = 1
            while depth and self.next:
                depth += {"(": 1, ")": -1}.get(self.next, 0)
                self.at += 1

    def find(self, *words: str) -> bool:
        """Go behind the next place where these keywords stand; stays where it is if there is none."""
        for at in range(self.at, len(self.upper) - len(words) + 1):
            if tuple(self.upper[at : at + len(words)]) == words:
                self.at = at + len(words)
                return True
        return False

    def holds(self, *words: str) -> bool:
        """Whether these keywords stand anywhere behind this place."""
        at = self.at
        found = self.find(*words)
        self.at = at
        return found

    def parts(self) -> list[str]:
        """A dotted name, each part as the server folds it; empty where no name comes next."""
        found: list[str] = []
        while self.next and self.next not in _MARKS:
            found.append(_folded(self.raw[self.at]))
            self.at += 1
            if not self.accept("."):
                break
        return found

    def relation(self) -> Relation | None:
        """A relation's name; None where none comes next, or one that names a database too."""
        return relation_of(self.parts())

    def relations(self) -> list[Relation]:
        """Names between commas, each perhaps behind ONLY and before an asterisk or a list of columns."""
        found: list[Relation] = []
        while True:
            self.accept("ONLY")
            relation = self.relation()
            if relation is None:
                return found
            found.append(relation)
            self.accept("*")
            self.accept_options()
            if not self.accept(","):
                return found


def relation_of(parts: list[str]) -> Relation | None:
    """The relation that one or two parts name."""
    match parts:
        case [name]:
            return Relation("", name)
        case [schema, name]:
            return Relation(schema, name)
        case _:
            return None


def _folded(token: str) -> str:
    if token.startswith('"'):
        return token[1:-1].replace('""', '"')
    return "".join(letter.lower() if letter.isascii() else letter for letter in token)
