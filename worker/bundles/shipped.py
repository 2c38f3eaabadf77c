"""Where the migrations that come with the program lie: the control schema's own, and the example."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped(*parts: str) -> Path:
    """A folder below `migrations/`: inside the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "_migrations"
    root = installed if installed.is_dir() else _PACKAGE.parent / "migrations"
    return root.joinpath(*parts)
