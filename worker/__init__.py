"""Tidegate: brings a Postgres schema up to the level that an application needs, then opens the gate.

The names in `__all__` are what a Python program uses of it; `worker.library` describes them. They are loaded when one
is first asked for, so that importing the package costs nothing.
"""

__version__ = "0.1.0"

# Not from typing, which takes longer to load than all of this; type checkers go by the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from worker.library import (
        Change,
        Difference,
        Drift,
        JobState,
        Part,
        Published,
        Report,
        Result,
        TargetStatus,
        TidegateError,
        Unknown,
        apply,
        drift,
        publish,
        status,
        wait_ready,
    )

__all__ = [
    "Change", "Difference", "Drift", "JobState", "Part", "Published", "Report", "Result", "TargetStatus",
    "TidegateError", "Unknown", "__version__", "apply", "drift", "publish", "status", "wait_ready",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  see above

    value: object = getattr(import_module("worker.library"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
