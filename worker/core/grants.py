"""The role set-up as SQL: who owns, who migrates, who publishes, who looks on, and who only uses the tables.

It can be run again at any time, also after the tables that it gives rights on have come to be.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from worker.core.target import Target, quote_identifier, quote_literal

MARK = "$tidegate$"
"""The dollar quote of the DO blocks; no name may hold it."""

_ATTRIBUTES = (
    "NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION NOBYPASSRLS CONNECTION LIMIT -1 VALID UNTIL 'infinity'"
)


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles' names; without a publisher the migrator publishes, without a reader nobody but them looks on."""

    owner: str
    migrator: str
    api: str
    publisher: str | None = None
    reader: str | None = None

    @property
    def logins(self) -> tuple[str, ...]:
        """The roles that log in: all but the owner."""
        return tuple(filter(None, (self.migrator, self.api, self.publisher, self.reader)))

    @property
    def names(self) -> tuple[str, ...]:
        """Every role."""
        return (self.owner, *self.logins)


def role_setup(roles: Roles, database: str, schemas: tuple[str, ...], control: str, version_table: Target) -> str:
    """SQL for psql, to be run in `database` by a superuser, or by its owner with CREATEROLE.

    `schemas` are the application's: the owner creates in them, and the API uses what is there.
    """
    return "\n\n".join(_Setup(roles, database, schemas, control, version_table).sections()) + "\n"


class _Setup:
    """The sections, each a comment and its statements."""

    def __init__(
        self, roles: Roles, database: str, schemas: tuple[str, ...], control: str, version_table: Target
    ) -> None:
        self._roles = roles
        self._owner = quote_identifier(roles.owner)
        self._api = quote_identifier(roles.api)
        self._database = quote_identifier(database)
        self._control = quote_identifier(control)
        self._schemas = schemas
        self._version_table = version_table

    def sections(self) -> Iterator[str]:
        yield self._head()
        yield self._creation()
        yield self._membership()
        yield self._database_rights()
        for schema in self._schemas:
            yield self._schema_rights(schema)
            yield self._api_rights(quote_identifier(schema))
        yield self._later_rights()
        yield "COMMIT;"

    def _head(self) -> str:
        owner, api, everybody = self._roles.owner, self._roles.api, ", ".join(self._roles.logins)
        return (
            f"-- Roles of {owner} in the database {self._database}. Run it there as a superuser, or as the database's\n"
            "-- owner with CREATEROLE:  tidegate admin grants … | psql -X -v ON_ERROR_STOP=1 -d …\n"
            "-- Run it once more after the first tidegate up: some rights are on tables that come to be then.\n"
            f"-- It sets no password: give {everybody} theirs.\n"
            f"-- Migrate with DB_MIGRATIONS_OPTIONS='-c role={owner}' and TIDEGATE_READERS={api}.\n"
            "BEGIN;\nSET LOCAL client_min_messages = warning;"
        )

    def _creation(self) -> str:
        owner = _create(self._roles.owner, "NOLOGIN")
        logins = (_create(name, "LOGIN") for name in self._roles.logins)
        return _do("The roles; one that exists stays as it is.", *owner, *(line for each in logins for line in each))

    def _membership(self) -> str:
        """From PostgreSQL 16 on, acting as a role takes the SET option, and whoever made a role is no full member."""
        migrator = quote_identifier(self._roles.migrator)
        plain = quote_literal(f"GRANT {self._owner} TO {migrator}")
        option = quote_literal(f"GRANT {self._owner} TO {migrator} WITH SET TRUE")
        me = quote_literal(f"GRANT {self._owner} TO CURRENT_USER")
        return _do(
            "The migrator logs in, and acts as the owner with -c role=…; whoever runs this gives rights for the owner.",
            "IF current_setting('server_version_num')::int >= 160000",
            f"    THEN EXECUTE {option};",
            f"    ELSE EXECUTE {plain};",
            "END IF;",
            f"IF NOT pg_has_role(current_user, {quote_literal(self._roles.owner)}, 'USAGE') THEN EXECUTE {me}; END IF;",
        )

    def _database_rights(self) -> str:
        logins = ", ".join(map(quote_identifier, self._roles.logins))
        return (
            "-- The owner may create schemas, the control schema among them, and trusted extensions.\n"
            f"GRANT CONNECT ON DATABASE {self._database} TO {logins};\n"
            f"GRANT CREATE ON DATABASE {self._database} TO {self._owner};"
        )

    def _schema_rights(self, schema: str) -> str:
        name = quote_identifier(schema)
        create = "" if schema == "public" else f"CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {self._owner};\n"
        return (
            f"-- The schema {schema}: the owner creates in it, nobody else does.\n"
            f"{create}"
            f"GRANT USAGE, CREATE ON SCHEMA {name} TO {self._owner};\n"
            f"REVOKE CREATE ON SCHEMA {name} FROM PUBLIC;"
        )

    def _api_rights(self, schema: str) -> str:
        lines = ["-- The API uses what is there today, and what later migrations create there."]
        lines.append(f"GRANT USAGE ON SCHEMA {schema} TO {self._api};")
        for what, rights in (("TABLES", "SELECT, INSERT, UPDATE, DELETE"), ("SEQUENCES", "USAGE, SELECT")):
            lines.append(f"GRANT {rights} ON ALL {what} IN SCHEMA {schema} TO {self._api};")
            lines.append(f"ALTER DEFAULT PRIVILEGES FOR ROLE {self._owner} IN SCHEMA {schema}")
            lines.append(f"    GRANT {rights} ON {what} TO {self._api};")
        return "\n".join(lines)

    def _later_rights(self) -> str:
        """Rights on tables that the first run creates."""
        readiness, table = quote_literal(f"{self._control}.readiness"), quote_literal(self._version_table.relation)
        return _do(
            "Once the first run has made the tables: nobody but the owner writes the version table; the API's gate\n"
            "-- reads readiness and nothing else; a publisher may publish, a reader may look on.",
            f"IF to_regclass({table}) IS NOT NULL THEN",
            *(f"    {line}" for line in self._on_version_table()),
            "END IF;",
            f"IF to_regclass({readiness}) IS NOT NULL THEN",
            *(f"    {line}" for line in self._on_control()),
            "END IF;",
        )

    def _on_version_table(self) -> Iterator[str]:
        relation, schema = self._version_table.relation, quote_identifier(self._version_table.schema)
        yield f"REVOKE INSERT, UPDATE, DELETE ON {relation} FROM {self._api};"
        for name in filter(None, (self._roles.publisher, self._roles.reader)):
            yield f"GRANT USAGE ON SCHEMA {schema} TO {quote_identifier(name)};"
            yield f"GRANT SELECT ON {relation} TO {quote_identifier(name)};"

    def _on_control(self) -> Iterator[str]:
        control = self._control
        yield f"GRANT USAGE ON SCHEMA {control} TO {self._api};"
        yield f"GRANT SELECT ON {control}.readiness TO {self._api};"
        for name in filter(None, (self._roles.publisher, self._roles.reader)):
            yield f"GRANT USAGE ON SCHEMA {control} TO {quote_identifier(name)};"
            yield f"GRANT SELECT ON ALL TABLES IN SCHEMA {control} TO {quote_identifier(name)};"
        if self._roles.publisher is not None:
            publisher = quote_identifier(self._roles.publisher)
            yield f"GRANT INSERT ON {control}.bundle, {control}.bundle_file TO {publisher};"
            yield f"GRANT UPDATE ON {control}.bundle TO {publisher};"
            yield f"GRANT USAGE ON SEQUENCE {control}.wanted_seq TO {publisher};"


def _create(name: str, login: str) -> tuple[str, ...]:
    return (
        f"IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {quote_literal(name)}) THEN",
        f"    CREATE ROLE {quote_identifier(name)} {login} {_ATTRIBUTES};",
        "END IF;",
    )


def _do(comment: str, *lines: str) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"-- {comment}\nDO {MARK}\nBEGIN\n{body}\nEND\n{MARK};"
