"""The grant that a server's message asks for; the messages are those of PostgreSQL 15.

That each one is enough is tested on real servers.
"""

import pytest

from worker.core.checks.privileges import missing_grant


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "permission denied for table orders",
            'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "orders" TO "app_owner";',
        ),
        (
            "permission denied for table Odd table",
            'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "Odd table" TO "app_owner";',
        ),
        ("permission denied for view v", 'GRANT SELECT ON TABLE "v" TO "app_owner";'),
        ("permission denied for materialized view mv", 'ALTER MATERIALIZED VIEW "mv" OWNER TO "app_owner";'),
        ("permission denied for sequence s", 'GRANT USAGE, SELECT ON SEQUENCE "s" TO "app_owner";'),
        ("permission denied for schema public", 'GRANT USAGE, CREATE ON SCHEMA "public" TO "app_owner";'),
        ("permission denied for database shop", 'GRANT CREATE ON DATABASE "shop" TO "app_owner";'),
        ("permission denied for function f", 'GRANT EXECUTE ON FUNCTION "f" TO "app_owner";'),
        ("permission denied for procedure p", 'GRANT EXECUTE ON PROCEDURE "p" TO "app_owner";'),
        ("permission denied for type app.e", 'GRANT USAGE ON TYPE app.e TO "app_owner";'),
        ('permission denied for type app."Odd"', 'GRANT USAGE ON TYPE app."Odd" TO "app_owner";'),
        ("permission denied for language plpgsql", 'GRANT USAGE ON LANGUAGE "plpgsql" TO "app_owner";'),
        ("must be owner of table orders", 'ALTER TABLE "orders" OWNER TO "app_owner";'),
        ("must be owner of view v", 'ALTER VIEW "v" OWNER TO "app_owner";'),
        ("must be owner of materialized view mv", 'ALTER MATERIALIZED VIEW "mv" OWNER TO "app_owner";'),
        ("must be owner of sequence s", 'ALTER SEQUENCE "s" OWNER TO "app_owner";'),
        ("must be owner of schema closed", 'ALTER SCHEMA "closed" OWNER TO "app_owner";'),
        ("must be owner of database shop", 'ALTER DATABASE "shop" OWNER TO "app_owner";'),
        ("must be owner of type app.e", 'ALTER TYPE app.e OWNER TO "app_owner";'),
        ("must be owner of function app.f", 'ALTER FUNCTION "app"."f" OWNER TO "app_owner";'),
        ("must be owner of procedure app.p", 'ALTER PROCEDURE "app"."p" OWNER TO "app_owner";'),
        ("must be owner of publication pub", 'ALTER PUBLICATION "pub" OWNER TO "app_owner";'),
    ],
)
def test_a_denial_names_the_grant_that_is_missing(message: str, expected: str) -> None:
    assert missing_grant(message, "app_owner") == expected


@pytest.mark.parametrize(
    "message",
    [
        'permission denied to set role "other"',
        'permission denied to create extension "hstore"',
        "permission denied to create role",
        'permission denied to set parameter "session_replication_role"',
        "must be owner of index ix",
        "must be owner of extension plpgsql",
        "must be owner of aggregate app.agg",
        "must be owner of foreign server srv",
        'relation "orders" does not exist',
        "keine Berechtigung für Tabelle orders",
        "",
    ],
)
def test_no_grant_is_made_up_where_none_would_do(message: str) -> None:
    assert missing_grant(message, "app_owner") is None


def test_awkward_names_cannot_leave_their_quotes() -> None:
    assert missing_grant('permission denied for table a"; DROP TABLE b; --', 'o"x') == (
        'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "a""; DROP TABLE b; --" TO "o""x";'
    )
