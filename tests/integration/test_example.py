"""The example bundle on a real server: every file applies, and every down undoes exactly its up."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.servers import Database

EXAMPLE = Path(__file__).parents[2] / "migrations" / "example"
UPS = sorted(EXAMPLE.rglob("*.up.sql"), key=lambda path: path.name)


def down_of(up: Path) -> Path:
    return up.with_name(up.name.replace(".up.", ".down."))


def schema(database: Database) -> str:
    return database.server.dump(database.name, "--schema-only", "--no-comments")


@pytest.fixture
def shop(database: Database) -> Database:
    for up in UPS:
        database.psql(up.read_text())
    return database


def by_statement(database: Database, sql: str) -> None:
    database.psql(sql)


def in_one_message(database: Database, sql: str) -> None:
    subprocess.run([str(database.server.clients / "psql"), "-Xqc", sql, database.dsn], check=True)


@pytest.mark.parametrize("run", [by_statement, in_one_message])
def test_every_down_undoes_exactly_its_up(database: Database, run: Callable[[Database, str], None]) -> None:
    steps: list[tuple[Path, str]] = []
    for up in UPS:
        steps.append((up, schema(database)))
        run(database, up.read_text())
    database.psql("""
        INSERT INTO customers (email, name) VALUES ('reader@example.org', 'A reader');
        INSERT INTO orders (customer_id, status) SELECT id, 'cancelled' FROM customers;
    """)
    for up, before in reversed(steps):
        run(database, down_of(up).read_text())
        assert schema(database) == before, down_of(up).name


async def test_an_update_moves_updated_at(shop: Database) -> None:
    await shop.execute("UPDATE books SET updated_at = 'epoch', in_stock = in_stock - 1")
    assert await shop.fetchval("SELECT bool_and(updated_at > now() - interval '1 hour') FROM books")


async def test_the_view_adds_up_the_lines_of_an_order(shop: Database) -> None:
    await shop.execute("INSERT INTO customers (email, name) VALUES ('reader@example.org', 'A reader')")
    await shop.execute("INSERT INTO orders (customer_id, status) SELECT id, 'cancelled' FROM customers")
    await shop.execute(
        "INSERT INTO order_lines SELECT orders.id, isbn, 2, books.price_cents FROM orders, books WHERE language = 'fr'"
    )
    row = await shop.fetchrow("SELECT status, total_cents FROM order_totals")
    assert row is not None
    assert tuple(row) == ("cancelled", 2500)


async def test_nothing_is_left_half_built(shop: Database) -> None:
    assert await shop.fetchval("SELECT bool_and(indisvalid) FROM pg_index")
    assert await shop.fetchval("SELECT bool_and(convalidated) FROM pg_constraint")
