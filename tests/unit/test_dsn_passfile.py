import pytest

from worker.core.connecting.dsn import Address
from worker.core.connecting.passfile import find_password

FILE = r"""
# a comment:*:*:*:no
db:5432:shop:app:first
db:5432:shop:*:second
db:*:*:*:third\:with\\signs
localhost:5432:shop:app:local
[::1]:5432:x:y:brackets
too:few:fields
*:9999:*:*:port
"""


@pytest.mark.parametrize(
    ("address", "database", "user", "password"),
    [
        (Address("db"), "shop", "app", "first"),
        (Address("db"), "shop", "other", "second"),
        (Address("db", 1), "shop", "app", "third:with\\signs"),
        (Address("/run/pg"), "shop", "app", "local"),
        (Address("any", 9999), "x", "y", "port"),
        (Address("elsewhere"), "shop", "app", None),
    ],
)
def test_the_first_line_that_fits_gives_the_password(
    address: Address, database: str, user: str, password: str | None
) -> None:
    assert find_password(FILE, address, database, user) == password
