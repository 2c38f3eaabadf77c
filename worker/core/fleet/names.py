"""The names of a fleet's targets: none missing, none that is no name, none twice."""

from collections.abc import Iterable

from worker.core.fleet.declared import Declared
from worker.errors import SettingError

MAX_NAME_BYTES = 63
"""A longer identifier is cut by the server, and would be another one's."""

MAX_TARGETS = 200_000
"""Of one group; a query that yields more is a mistake."""


def check_names(found: Iterable[object], origin: str, what: str) -> tuple[str, ...]:
    """The names that a query or a list yields.

    Raises:
        SettingError: There are none, one twice, or one that is no name; says which.
    """
    names: dict[str, None] = {}
    for each in found:
        if not isinstance(each, str):
            shown = "NULL" if each is None else f"a value of type {type(each).__name__}"
            raise SettingError(f"{origin} yields {shown}", hint=f"it takes names of {what} alone, as text")
        if not each or not each.isprintable() or len(each.encode(errors="replace")) > MAX_NAME_BYTES:
            raise SettingError(f"{origin} yields {each[:80]!r}", hint=f"a name takes 1 to {MAX_NAME_BYTES} bytes")
        if each in names:
            raise SettingError(f"{origin} yields {each!r} twice", hint="have it name each once: DISTINCT")
        names[each] = None
        if len(names) > MAX_TARGETS:
            raise SettingError(f"{origin} yields more than {MAX_TARGETS} names", hint="split the group")
    if not names:
        raise SettingError(f"{origin} yields no {what}", hint="correct it, or take the group out of the file")
    return tuple(names)


def check_distinct(declared: Iterable[Declared], origin: str) -> tuple[Declared, ...]:
    """What several groups declare.

    Raises:
        SettingError: Two of them declare one target; names it.
    """
    seen: dict[str, Declared] = {}
    for each in declared:
        if seen.setdefault(each.name, each) is not each:
            raise SettingError(
                f"{origin} declares the target {each.name} twice",
                hint="take it out of one group; where the databases are two, give one group a name",
            )
    return tuple(seen.values())
