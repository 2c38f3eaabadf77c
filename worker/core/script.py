"""What a migration's text is: how it must be run, and the segments that it is run by."""

from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    """How a script is run."""

    EMPTY = "empty"
    TRANSACTIONAL = "transactional"
    JOURNALLED = "journalled"


class SegmentKind(Enum):
    """A block is one fenced transaction; a lone statement is sent by itself, outside any transaction."""

    BLOCK = "block"
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement's place in the file: [start, end) in characters, and its first line, counted from 1."""

    start: int
    end: int
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """The unit that the journal records.

    `text` is what is sent. `offset` is where it starts in the file. `session` holds the statements before it
    that set session state and must be replayed when it is run in a fresh session. `begin` is the transaction
    mode that the file asked for ("" or, for example, "ISOLATION LEVEL SERIALIZABLE").
    """

    index: int
    kind: SegmentKind
    text: str
    offset: int
    begin: str
    session: tuple[str, ...]
    statements: tuple[Statement, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Script:
    """A migration's text, classified.

    For `Mode.TRANSACTIONAL` there is exactly one segment, of kind block, for `Mode.EMPTY` none.
    """

    mode: Mode
    segments: tuple[Segment, ...]
