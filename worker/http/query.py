"""What the query of `/readyz` asks for."""

import re
from collections.abc import Sequence

from worker.core.bundles.migration import MAX_VERSION
from worker.core.planning.readiness import AtLeast, OfBundle, Requirement
from worker.core.value import dataclass
from worker.errors import UsageError

_TAKES = "/readyz takes at_least=VERSION or bundle=LABEL, and target=SCHEMA.TABLE, each at most once"
_NAMES = frozenset({"at_least", "bundle", "target"})


@dataclass(frozen=True, slots=True)
class Question:
    """A requirement and a target; None means this worker's own requirement, and all targets."""

    requirement: Requirement | None
    target: str | None


def parse(pairs: Sequence[tuple[str, str]]) -> Question:
    """Read the query's pairs.

    Raises:
        UsageError: A parameter is unknown, empty, given twice, with a NUL, or no version; or two ask at once.
    """
    given = dict(pairs)
    for name in given:
        if name not in _NAMES:
            raise UsageError(f"unknown parameter {name!r}", hint=_TAKES)
    if len(given) < len(pairs):
        raise UsageError("a parameter is given more than once", hint=_TAKES)
    for name, value in pairs:
        if not value:
            raise UsageError(f"{name} is empty", hint=_TAKES)
        if "\0" in value:
            raise UsageError(f"{name} holds a NUL, which no name does", hint=_TAKES)
    return Question(_requirement(given), given.get("target"))


def _requirement(given: dict[str, str]) -> Requirement | None:
    if "at_least" in given and "bundle" in given:
        raise UsageError("at_least and bundle are given together", hint=_TAKES)
    if "bundle" in given:
        return OfBundle(given["bundle"])
    return _at_least(given["at_least"]) if "at_least" in given else None


def _at_least(text: str) -> AtLeast:
    # Nineteen digits hold every version, and int() of a longer text costs more the longer it is.
    digits = re.fullmatch(r"0*([0-9]{1,19})", text, re.ASCII)
    if digits is None or int(digits[1]) > MAX_VERSION:
        raise UsageError(f"at_least is {text[:40]!r}", hint=f"a version is a whole number from 0 to {MAX_VERSION}")
    return AtLeast(int(digits[1]))
