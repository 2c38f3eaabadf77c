"""What is drawn on a person's terminal besides the lines, loaded only where one looks on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.cli.terminal import is_drawable

if TYPE_CHECKING:
    from worker.cli.app import App


@contextmanager
def drawing(app: "App", source: str | None) -> Iterator[None]:
    """Draw the block's progress, and the line of a file of `source` that an error names; opened before the log is."""
    if not is_drawable(sys.stderr):
        yield
        return
    from worker.cli.excerpt import pointing  # noqa: PLC0415  only where it draws
    from worker.cli.progress import progressing  # noqa: PLC0415  the same

    with progressing(app), pointing(source):
        yield
