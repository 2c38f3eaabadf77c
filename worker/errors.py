"""Errors that a user can meet: each carries what was wrong, where, what to do, and an exit code.

Whatever the program refuses or fails at on purpose is a `TidegateError`; the command line prints it in
one or two lines and exits with `exit_code`. Anything else that escapes is a fault of the program (70).
"""

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from worker.core.events.failure import Failure


class ExitCode(IntEnum):
    """The stable exit codes of the command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    TIMED_OUT = 4
    NO_DATABASE = 5
    IN_DOUBT = 6
    PENDING = 10
    INTERNAL = 70
    CANNOT_RUN = 126
    NOT_FOUND = 127


class TidegateError(Exception):
    """Base of every error that is reported without a traceback.

    `message` says what was wrong and where in one line, `hint` what to do about it; neither may hold a secret.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL
    reason: str = "internal"

    def __init__(self, message: str, *, hint: str = "", reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if reason is not None:
            self.reason = reason


class UsageError(TidegateError):
    """The command line or its combination of options cannot be carried out."""

    exit_code = ExitCode.USAGE
    reason = "usage"


class SettingError(UsageError):
    """A setting has a value that it does not take; names the setting, what it got and what it takes."""

    reason = "setting"


class BundleError(UsageError):
    """A directory, an archive or a file in it is not a usable bundle; names the file, and the line if known."""

    reason = "bundle"


_CORRECT = "correct the file, and run it again; tidegate status says what is applied"


class MigrationFailedError(TidegateError):
    """A migration failed; the database is as before it, or its journal says how far it came."""

    exit_code = ExitCode.FAILED
    reason = "migration_failed"

    def __init__(self, failure: "Failure") -> None:
        super().__init__(str(failure), hint=failure.hint or _CORRECT)
        self.failure = failure


class JobFailedError(TidegateError):
    """The job that a wait depends on ended badly, and the wait was told not to go on after that."""

    exit_code = ExitCode.FAILED
    reason = "job_failed"


class RefusedError(TidegateError):
    """Nothing was done, because doing it could lose something.

    `reason` is one of: dirty, checksum, order, diverged, unrelated, label, privilege, owner, setting, pooler, standby,
    version_table, script, lock_lost, paused, server_version, control_schema, half_done, no_version, no_down, changed,
    invalid, not_in_doubt, untrusted, foreign_value, lint, and for uninstalling locked, connected, job, not_ours,
    depended_on.
    """

    exit_code = ExitCode.REFUSED
    reason = "refused"


class TimedOutError(TidegateError):
    """A wait ended because its limit was reached."""

    exit_code = ExitCode.TIMED_OUT
    reason = "timed_out"


class NoDatabaseError(TidegateError):
    """The database cannot be reached, does not exist, or refuses the login.

    `reason` is no_database where waiting may help, else login or no_such_database.
    """

    exit_code = ExitCode.NO_DATABASE
    reason = "no_database"


class InDoubtError(TidegateError):
    """A cut statement may or may not have taken effect, and only a person can say."""

    exit_code = ExitCode.IN_DOUBT
    reason = "in_doubt"


def first_of(raised: Exception) -> Exception:
    """The error to tell of what several tasks ended with: a fault of the program before anything else."""
    if not isinstance(raised, ExceptionGroup):
        return raised
    told, faults = raised.split(TidegateError)
    return first_of((faults or told or raised).exceptions[0])
