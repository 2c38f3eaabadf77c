"""A fleet's file, read; every key of it is to be understood."""

from collections.abc import Mapping
from typing import Any

from worker.core.fleet.bounds import Bounds, ErrorBudget
from worker.core.fleet.declared import Asked, Fleet, Group, Listed, Names, Reference
from worker.core.fleet.names import check_names
from worker.errors import SettingError

_MAX_CONNECTIONS = 1000
_PERCENT = 100.0


def read_fleet(text: bytes, origin: str) -> Fleet:
    """Read a fleet's file; `origin` is what messages call it.

    Raises:
        SettingError: It is no TOML, or says something that it cannot say; names the place.
    """
    import tomllib  # noqa: PLC0415  a snapshot counts a fleet's targets, and reads no file

    try:
        document = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{origin} is no TOML: {error}", hint="deploy/fleets.md shows such a file") from error
    top = _Table(document, origin)
    groups = tuple(
        _group(_Table(each, f"{origin}, targets {number}"))
        for number, each in enumerate(top.tables("targets"), start=1)
    )
    limits = _Table(top.table("limits"), f"{origin}, limits")
    bounds, budget = _bounds(limits), _budget(limits)
    top.end()
    limits.end()
    if not groups:
        raise SettingError(f"{origin} declares no targets", hint="it takes one [[targets]] or more")
    return Fleet(groups, bounds, budget)


class _Table:
    """A table of the file, of which every key is to be understood."""

    def __init__(self, table: Mapping[str, Any], origin: str) -> None:
        self._left = dict(table)
        self._known: list[str] = []
        self.origin = origin

    def end(self) -> None:
        """Refuse a key that nobody asked for."""
        if self._left:
            raise self.wrong(f"has no key {next(iter(self._left))!r:.80}", f"it has {', '.join(sorted(self._known))}")

    def any(self, key: str, default: object = None) -> Any:
        self._known.append(key)
        return self._left.pop(key, default)

    def wrong(self, what: str, hint: str) -> SettingError:
        return SettingError(f"{self.origin} {what}", hint=hint)

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        found = self.any(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise self.wrong(f"takes [[{key}]], a list of tables", f"write [[{key}]] above each")
        return found

    def table(self, key: str) -> Mapping[str, Any]:
        found = self.any(key, {})
        if not isinstance(found, dict):
            raise self.wrong(f"takes [{key}], a table", f"write [{key}]")
        return found

    def text(self, key: str) -> str | None:
        found = self.any(key)
        if found is not None and not (isinstance(found, str) and found.strip() and "\0" not in found):
            raise self.wrong(f"has {key} = {found!r:.80}", "it takes a text")
        return found

    def name(self, key: str) -> str | None:
        found = self.text(key)
        return None if found is None else check_names([found], f"{self.origin} {key}", "things")[0]

    def names(self, key: str, what: str) -> tuple[str, ...] | None:
        found = self.any(key)
        if found is None:
            return None
        if not isinstance(found, list):
            raise self.wrong(f"has {key} = {found!r:.80}", "it takes a list of texts")
        return check_names(found, f"{self.origin} {key}", what)

    def flag(self, key: str) -> bool:
        found = self.any(key, default=False)
        if not isinstance(found, bool):
            raise self.wrong(f"has {key} = {found!r:.80}", "it takes true or false")
        return found

    def count(self, key: str, default: int) -> int:
        found = self.any(key, default)
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= _MAX_CONNECTIONS:
            raise self.wrong(f"has {key} = {found!r:.80}", f"it takes a whole number from 1 to {_MAX_CONNECTIONS}")
        return found


def _group(at: _Table) -> Group:
    table = at.name("table") or "schema_migrations"
    group = Group(
        place=at.origin,
        name=at.name("name"),
        line=at.name("line") or table,
        table=table,
        reference=_reference(at),
        databases=_names(at, "databases"),
        schemas=_names(at, "schemas"),
        path=at.names("search_path", "schemas") or (),
        rows=at.flag("rows"),
    )
    at.end()
    return group


def _names(at: _Table, what: str) -> Names | None:
    listed, sql = at.names(what, what), at.text(f"{what}_query")
    if listed is not None and sql is not None:
        raise at.wrong(f"has {what} and {what}_query", "leave one of them out")
    if listed is not None:
        return Listed(listed)
    return None if sql is None else Asked(sql)


def _reference(at: _Table) -> Reference | None:
    found = at.any("database")
    if found is None:
        return None
    if isinstance(found, str):
        return Reference("url", found)
    if isinstance(found, dict) and len(found) == 1:
        kind, value = next(iter(found.items()))
        if kind in {"env", "file"} and isinstance(value, str) and value:
            return Reference(kind, value)
    raise at.wrong(
        "has a database that is no reference",
        'it takes { env = "NAME" }, { file = "/path" }, or a URL without a password',
    )


def _bounds(at: _Table) -> Bounds:
    usual = Bounds()
    return Bounds(
        at.count("workers", usual.workers),
        at.count("per_database", usual.per_database),
        at.count("per_server", usual.per_server),
    )


def _budget(at: _Table) -> ErrorBudget:
    found = at.any("error_budget")
    match found:
        case None:
            return ErrorBudget()
        case bool():
            pass
        case int() if found >= 1:
            return ErrorBudget(failures=found)
        case str() if found.endswith("%"):
            return ErrorBudget(percent=_percent(at, found))
        case _:
            pass
    raise at.wrong(f"has error_budget = {found!r:.80}", 'it takes a number from 1 on, or a share such as "5%"')


def _percent(at: _Table, text: str) -> float:
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        share = 0.0
    if not 0 < share <= _PERCENT:
        raise at.wrong(f"has error_budget = {text!r:.80}", 'a share takes more than 0 and up to 100, such as "5%"')
    return share
