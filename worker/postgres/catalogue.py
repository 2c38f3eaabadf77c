"""The catalogue and its fingerprint: reads one, compares both, and takes the catalogue as right."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

import asyncpg

from worker.core.status.fingerprint import Deviation, Fingerprint, Parts, State, Thing
from worker.postgres.faults import credible, settle, told
from worker.postgres.lock import Held
from worker.postgres.queries import queries, with_values
from worker.postgres.session import Session
from worker.postgres.transaction import transaction

if TYPE_CHECKING:
    from asyncpg import Record

# What the server writes down depends on these; jit costs more here than it saves.
_SPELLING = """
SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL quote_all_identifiers = off; SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex';
SET LOCAL jit = off; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '60s'
"""


class Catalogue:
    """One database's catalogue, on one connection; the control schema has to have a fingerprint's tables."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._conn = session.conn
        self._sql = _queries(session.control)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Read in one transaction that writes nothing."""
        async with told(self._session, "comparing the catalogue"):
            try:
                await self._conn.execute(f"BEGIN READ ONLY; {_SPELLING}")
                yield
            finally:
                await settle(self._conn)

    @asynccontextmanager
    async def taking(self, held: Held) -> AsyncIterator[list[str]]:
        """Write in one fenced transaction, as the only one of all targets; the list is sent with COMMIT.

        Whoever else is at it is waited for no longer than for any lock here: the next job waits behind this one.
        """
        first = f"{held.fence_sql}; {_SPELLING}; {self._sql['hold']}"
        async with transaction(self._session, "taking the catalogue's fingerprint", first) as last:
            yield last

    async def known(self) -> State | None:
        """The state, read outside a transaction: inside one the next query would have another snapshot too."""
        async with told(self._session, "comparing the catalogue"):
            return await self.state()

    async def state(self) -> State | None:
        """What there is to compare; None where the control schema is older than fingerprints."""
        try:
            with credible("fingerprint"):
                row = await self._conn.fetchrow(self._sql["state"])
        except asyncpg.UndefinedTableError:
            return None
        if row is None:
            raise AssertionError("the query of the state returns one row")
        return state_of(row)

    async def differences(self) -> tuple[Deviation, ...]:
        """Compare; what agrees does not leave the server."""
        with credible("fingerprint_object"):
            rows = await self._conn.fetch(self._sql["differences"])
            return tuple(
                Deviation(Thing(r["kind"], r["name"]), _parts(r["was"]), _parts(r["now"]), r["right_until"])
                for r in rows
            )

    async def marks(self) -> Mapping[Thing, Parts | None]:
        """What was marked as otherwise than right, and as what it was found."""
        with credible("fingerprint_object"):
            rows = await self._conn.fetch(self._sql["marks"])
            return {Thing(row["kind"], row["name"]): _parts(row["found"]) for row in rows}

    async def mark(self, found: Iterable[Deviation], bundle: str) -> None:
        """Mark these, and no others, as otherwise than they are right; the new ones last were so after `bundle`."""
        rows = tuple(found)
        values = [None if each.now is None else json.dumps(dict(each.now)) for each in rows]
        await self._conn.execute(self._sql["mark"], *_columns(each.thing for each in rows), values, bundle)

    def take(self, held: Held, bundle: str, kept: Iterable[Thing]) -> str:
        """SQL that takes the catalogue as right, but for what stays as it was marked; for the list of `taking`."""
        signed = (bundle, held.target.name, held.epoch, held.session.worker)
        return with_values(self._sql["take"], *_columns(kept), *signed)


def state_sql(control: str) -> str:
    """A query of one row, for `state_of`."""
    return _queries(control)["state"]


def state_of(row: "Record") -> State:
    """What there is to compare, from the columns of the query `state`."""
    taken = None if row["bundle"] is None else Fingerprint(row["bundle"], row["taken_at"], row["same_server"])
    return State(taken, row["ledger"], row["ledger_now"], row["half_done"], row["marked"], row["unchanged"])


@cache
def _queries(control: str) -> dict[str, str]:
    sql = queries("catalogue", control)
    parts = {f":{name}": sql[name].rstrip() for name in ("catalogue", "ledger", "extent")}
    return {name: _filled(text, parts) for name, text in sql.items()}


def _filled(text: str, parts: Mapping[str, str]) -> str:
    for name, part in parts.items():
        text = text.replace(f"({name})", f"({part})")
    return text


def _columns(things: Iterable[Thing]) -> tuple[list[str], list[str]]:
    rows = tuple(things)
    return [thing.kind for thing in rows], [thing.name for thing in rows]


def _parts(text: str | None) -> Parts | None:
    found: Parts | None = None if text is None else json.loads(text)
    if not (found is None or isinstance(found, dict)):
        raise TypeError("parts are an object")
    return found
