"""What is known of a failed statement, as plain values that can be logged, stored and shown."""

from worker.core.value import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """A migration's failure; `line` and `column` count from 1 and are None where they are not known.

    `detail` of the server's error is never kept: it can hold the application's data.
    """

    file: str
    sqlstate: str | None
    message: str
    hint: str | None = None
    line: int | None = None
    column: int | None = None
    statement: str | None = None

    @property
    def where(self) -> str:
        """`file:line:column`, or the file and the word unknown."""
        if self.line is None:
            return f"{self.file} (line unknown)"
        return f"{self.file}:{self.line}" + ("" if self.column is None else f":{self.column}")

    def __str__(self) -> str:
        state = f" [{self.sqlstate}]" if self.sqlstate else ""
        return f"{self.where}: {self.message}{state}"
