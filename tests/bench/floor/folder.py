"""A folder's migrations, and the messages that apply them."""

import hashlib
import os
from collections.abc import Iterator, Sequence

_MOST = 64


def bodies(folder: str) -> list[str]:
    """What its files hold, in their order, each digested."""
    with os.scandir(folder) as entries:
        paths = sorted(entry.path for entry in entries if entry.name.endswith(".sql"))
    return [_read(path) for path in paths]


def _read(path: str) -> str:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  the quickest way
        content = file.read()
    hashlib.sha256(content).hexdigest()
    return content.decode()


def messages(texts: Sequence[str]) -> Iterator[str]:
    """Many of them in one message, each a transaction of its own, whose last commit alone waits for the disk."""
    for first in range(0, len(texts), _MOST):
        *others, last = texts[first : first + _MOST]
        unhurried = [f"BEGIN; {body}; SET LOCAL synchronous_commit = off; COMMIT" for body in others]
        yield "; ".join((*unhurried, f"BEGIN; {last}; COMMIT"))
