"""The last word of a container: what Kubernetes shows of it once it has ended (`kubectl describe pod`)."""

_PATH = "/dev/termination-log"
LIMIT_BYTES = 4096
"""Kubernetes keeps so much, and drops the beginning of what is longer."""


def last_word(message: str, hint: str) -> str:
    """An error in one or two lines."""
    return f"tidegate: {message}\n" + (f"  hint: {hint}\n" if hint else "")


def leave(text: str) -> None:
    """Make `text` the last word, in place of what was there; its end is kept where it is too long."""
    # Without O_CREAT: the file is there in a container, and nowhere else.
    try:
        with open(_PATH, "r+b") as log:  # noqa: PTH123  Path cannot open without creating
            log.write(_bounded(text))
            log.truncate()
    except OSError:
        return


def _bounded(text: str) -> bytes:
    whole = text.encode(errors="replace")
    if len(whole) <= LIMIT_BYTES:
        return whole
    # Half of a character at the cut is dropped.
    return whole[-LIMIT_BYTES:].decode(errors="ignore").encode()
