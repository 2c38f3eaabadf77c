"""The places on the way of a run at which a fault is worth trying; in production nothing happens there."""

from enum import Enum


class Checkpoint(Enum):
    """A place on the way of a run; `LOOKED`, the messages and the transactions are passed more than once."""

    LOOKED = "looked"
    LOCKED = "locked"
    FENCED = "fenced"
    """The raise of the epoch is committed."""

    OPENED = "opened"
    """The job is open, and started where there is something to do."""

    SENDING = "sending"
    SENT = "sent"
    """Around each message of a migration: the whole of it, or a segment, its intent, its result."""

    PORTION = "portion"
    """Between the portions of a long message, in the middle of its transaction."""

    COMMITTING = "committing"
    COMMITTED = "committed"
    """Around the commit of each transaction of our own statements: a publish, an adoption, the readiness row."""

    FINISHED = "finished"
    """The job's row says that it ended well."""

    RELEASING = "releasing"
    RELEASED = "released"


def pass_by(_: Checkpoint) -> None:
    """What is done at a checkpoint in production."""
