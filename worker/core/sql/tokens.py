"""SQL's tokens as PostgreSQL and psql read them: where one ends, and a statement's tokens without its comments.

The rules are those of the manual's chapter "Lexical Structure", with `standard_conforming_strings` on.
No pattern here repeats a group without a bound: the engine keeps a record for every turn of such a group, and
possessive groups, which keep none, match wrongly before Python 3.11.5.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from worker.core.pattern import pattern

SPACE = " \t\r\n\f\v"

_TURNS = 512
_DEEPER_TURNS = (128, 16)


def _outside(inside: str) -> str:
    """The characters of ASCII that are not in a class, for another class.

    A class that reaches to the last character of Unicode takes the engine a millisecond to compile; a few of them, and
    a command that applies something starts half as fast.
    """
    return "".join(re.escape(chr(code)) for code in range(128) if not re.match(f"[{inside}]", chr(code)))


# PostgreSQL takes every character beyond ASCII as a letter.
_LETTERS = "A-Za-z_"
_START = f"[^{_outside(_LETTERS)}]"
_PART = f"[^{_outside(rf'{_LETTERS}0-9$')}]"
_TAG_PART = f"[^{_outside(rf'{_LETTERS}0-9')}]"
_START_BUT_E = f"[^{_outside('A-DF-Za-df-z_')}]"
# E before a quote is the start of an escape string.
_WORD = rf"(?:{_START_BUT_E}|[eE](?!')){_PART}*+"
_LINE_COMMENT = r"--[^\r\n]*+"
_FLAT_COMMENT = rf"/\*(?:[^*/]++|\*(?!/)|/(?!\*)){{0,{_TURNS}}}\*/"
# With few doubled marks; `token_end` reads those with many.
_STRING = r"'[^']*+(?:''[^']*+){0,8}'(?!')"
_IDENTIFIER = r'"[^"]*+(?:""[^"]*+){0,8}"(?!")'
_OPERATORS = r"-(?!-)|/(?!\*)"
_BODY_WORD = rf"(?ai:begin|case|end)(?!{_PART})"
# `AS end` and `t.end` are names, not the end of a body.
_LABEL = rf"(?:(?ai:as)[{SPACE}]++|\.[{SPACE}]*+){_WORD}"


def _run(words: str, besides: str = "") -> re.Pattern[str]:
    stops = rf""";()'"$\\/\-{besides}{_LETTERS}"""
    plain = f"[{_outside(stops)}]++"
    whole = rf"{plain}|{words}|{_STRING}|{_IDENTIFIER}|{_LINE_COMMENT}|{_OPERATORS}"
    return pattern(rf"(?:{whole}|\((?:{whole}|;){{0,{_TURNS}}}\)){{0,{_TURNS}}}")


RUN = _run(_WORD)
"""Many whole tokens at once, up to one that needs a decision: a semicolon, a parenthesis, a dollar, a backslash.

Parentheses without others in them count as whole; what is within them is otherwise read twice, never more often.
"""

INNER_RUN = _run(rf"{_WORD}|;")
"""The same between parentheses, where a semicolon ends nothing."""

ROUTINE_RUN = _run(rf"{_LABEL}|(?!{_BODY_WORD}){_WORD}|\.", besides=".")
"""The same where the words BEGIN, CASE and END need a decision too."""

_GAP = rf"(?:[{SPACE}]++|{_LINE_COMMENT}|{_FLAT_COMMENT})"

GAP = pattern(rf"{_GAP}{{0,{_TURNS}}}")
"""White space and comments, up to a nested comment or a token."""

# Of what begins with these words, nothing matters but where it ends.
_PLAIN_WORDS = "insert|update|delete|merge|truncate|comment|grant|revoke"
_PLAIN_TOKENS = rf"""[^;()'"$\\/\-]++|(?<![eE]){_STRING}|{_IDENTIFIER}|{_LINE_COMMENT}|{_OPERATORS}"""


def _nested(turns: Sequence[int]) -> str:
    """The tokens, and parentheses around them, as deep as there are numbers of turns: each turn costs memory."""
    inner = rf"|\((?:{_nested(turns[1:])}){{0,{turns[0]}}}\)" if turns else ""
    return _PLAIN_TOKENS + inner


PLAIN = pattern(
    rf"((?ai:{_PLAIN_WORDS})(?!{_PART})(?:{_nested(_DEEPER_TURNS)}){{0,{_TURNS}}};)"
    rf"(?:[{SPACE}]++|{_LINE_COMMENT}){{0,{_TURNS}}}|.",
    re.DOTALL,
)
"""A whole statement of a plain kind with easy tokens, as group 1, and the white space behind it; else a character."""

_OR_REPLACE = rf"(?:(?ai:or){_GAP}{{1,{_TURNS}}}(?ai:replace){_GAP}{{1,{_TURNS}}})?"
ROUTINE = pattern(rf"(?ai:create){_GAP}{{1,{_TURNS}}}{_OR_REPLACE}(?ai:function|procedure)(?!{_PART})")
"""The beginning of a statement whose body may hold semicolons."""

_FIRST_WORD = pattern(_WORD)
_TOKEN = pattern(rf"[{SPACE}]++|{_WORD}|[0-9]++|{_LINE_COMMENT}|{_STRING}|{_IDENTIFIER}")
_COMMENT_EDGE = pattern(r"/\*|\*/")
_DOLLAR_TAG = pattern(rf"\$(?:{_START}{_TAG_PART}*+)?\$")
_BLANKS = r"[ \t\f\v]"
# A string goes on after white space with a line end in it, and goes on by the rules that it began with.
_CONTINUED = (
    rf"'(?:{_BLANKS}++|{_LINE_COMMENT}){{0,{_TURNS}}}[\r\n](?:[{SPACE}]++|{_LINE_COMMENT}[\r\n]){{0,{_TURNS}}}'"
)
_IN_ESCAPE_STRING = pattern(rf"(?:[^'\\]++|\\.|''|{_CONTINUED}){{0,{_TURNS}}}", re.DOTALL)
_IN_STRING = pattern(rf"(?:[^']++|''){{0,{_TURNS}}}")
_IN_IDENTIFIER = pattern(rf'(?:[^"]++|""){{0,{_TURNS}}}')


def run_end(run: re.Pattern[str], sql: str, at: int) -> int:
    """Return the offset up to which one of the runs above reaches from `at`; `at` itself if nothing there fits."""
    matched = run.match(sql, at)
    return matched.end() if matched else at


def token_end(sql: str, at: int) -> int:
    """Return the offset after the token or comment that begins at `at`, or 0 if it has no end."""
    if simple := _TOKEN.match(sql, at):
        return simple.end()
    match sql[at]:
        case "'":
            return _quoted_end(_IN_STRING, sql, at + 1)
        case '"':
            return _quoted_end(_IN_IDENTIFIER, sql, at + 1)
        case "e" | "E":
            return _quoted_end(_IN_ESCAPE_STRING, sql, at + 2)
        case "$":
            return _dollar_end(sql, at)
        case _:
            return _comment_end(sql, at) if sql.startswith("/*", at) else at + 1


def _quoted_end(inside: re.Pattern[str], sql: str, at: int) -> int:
    while (end := run_end(inside, sql, at)) != at:
        at = end
    return at + 1 if sql[at : at + 1] in {"'", '"'} else 0


def _dollar_end(sql: str, at: int) -> int:
    tag = _DOLLAR_TAG.match(sql, at)
    if tag is None:
        return at + 1
    close = sql.find(tag[0], tag.end())
    return close + len(tag[0]) if close >= 0 else 0


def _comment_end(sql: str, at: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return 0


def spans(sql: str, at: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the tokens' starts and ends from `at` on, without white space and comments.

    A token that has no end reaches to the end.
    """
    while at < len(sql):
        end = token_end(sql, at) or len(sql)
        if sql[at] not in SPACE and not sql.startswith(("--", "/*"), at):
            yield at, end
        at = end


def tokens(sql: str, at: int = 0) -> Iterator[str]:
    """Yield the tokens from `at` on, as `spans` finds them."""
    return (sql[start:end] for start, end in spans(sql, at))


def first_keyword(sql: str) -> str:
    """Return the first token as `keywords` does, "" if there is none; a word at the very beginning is found at once."""
    if word := _FIRST_WORD.match(sql):
        return _folded(word[0])
    return next(iter(keywords(sql, 1)), "")


def keywords(sql: str, limit: int | None = None, at: int = 0) -> tuple[str, ...]:
    """Return the first `limit` tokens from `at` on in upper case as PostgreSQL folds it, which is within ASCII only."""
    return tuple(map(_folded, islice(tokens(sql, at), limit)))


def _folded(word: str) -> str:
    return word.upper() if word.isascii() else word
