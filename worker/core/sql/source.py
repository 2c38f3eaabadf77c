"""A file's text as a server can take it: what only psql understands is blanked or refused, places stay the same."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from worker.core.pattern import pattern
from worker.core.sql.lexer import BOM, Scan, scan
from worker.core.sql.places import Statements, line_ends
from worker.core.sql.statements import Kind, classify
from worker.core.value import dataclass
from worker.errors import BundleError

_RESTRICT = pattern(r"\\(?:un)?restrict(?![^ \t\r\n])")
_COMMAND = pattern(r"\\[A-Za-z]*")
_VISIBLE = pattern(r"[^\r\n]")


@dataclass(frozen=True, slots=True)
class Source:
    """The text, as long as the file and with its line ends, and its stretches of statements that are of one kind."""

    text: str
    stretches: tuple[tuple[Kind, Statements], ...]


def read_source(sql: str) -> Source:
    r"""Blank the BOM and the `\restrict` lines of pg_dump, and take the rest apart.

    Raises:
        BundleError: names the line of the first token without its end, other psql command, COPY FROM stdin or NUL.
    """
    text = _without_dump_lines(sql)
    scanned = scan(text)
    stretches = tuple(_stretches(scanned))
    fault = min((*_statement_faults(stretches), *_lexical_faults(text, scanned)), default=None)
    if fault is not None:
        offset, what, hint = fault
        raise BundleError(f"line {1 + line_ends(text, 0, offset)}: {what}", hint=hint)
    return Source(text, stretches)


def _stretches(scanned: Scan) -> Iterator[tuple[Kind, Statements]]:
    done = 0
    for plain in (*scanned.plain, range(len(scanned.statements), len(scanned.statements))):
        between = scanned.statements[done : plain.start]
        for kind, same in groupby(map(classify, between.texts())):
            past = done + sum(1 for _ in same)
            yield kind, scanned.statements[done:past]
            done = past
        if plain:
            yield Kind.PLAIN, scanned.statements[plain.start : plain.stop]
        done = plain.stop


def blanked(text: str, places: Iterable[tuple[int, int]]) -> str:
    """Replace all that is seen in the places [start, end), which are in order, by as many spaces."""
    pieces, done = [], 0
    for start, end in places:
        pieces += [text[done:start], _VISIBLE.sub(" ", text[start:end])]
        done = end
    return "".join([*pieces, text[done:]])


def _without_dump_lines(sql: str) -> str:
    places = [(0, 1)] if sql.startswith(BOM) else []
    if "\\restrict" in sql or "\\unrestrict" in sql:
        places += [place for place in scan(sql).commands if _RESTRICT.match(sql, place[0])]
    return blanked(sql, places)


Fault = tuple[int, str, str]


def _statement_faults(stretches: Iterable[tuple[Kind, Statements]]) -> Iterable[Fault]:
    for kind, statements in stretches:
        if kind is Kind.COPY_FROM_STDIN:
            yield (
                statements.places[0],
                "COPY FROM stdin has no client to read from",
                "use INSERT, or COPY FROM a server file",
            )


def _lexical_faults(text: str, scanned: Scan) -> Iterable[Fault]:
    for start, end in scanned.commands[:1]:
        command = next(_COMMAND.finditer(text, start, end))[0]
        yield start, f"{command} is a command of psql", "Tidegate runs SQL and not psql: take the line out"
    if scanned.unterminated is not None:
        token = scanned.unterminated.token.value
        yield scanned.unterminated.offset, f"unterminated {token}", "add the mark that ends it"
    if (nul := text.find("\0")) >= 0:
        yield nul, "a NUL character, which PostgreSQL does not take", "save the file as UTF-8 text"
