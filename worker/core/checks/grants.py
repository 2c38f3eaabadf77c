"""The role set-up as SQL: who owns, who migrates, who publishes, who looks on, and who only uses the tables.

It can be run again at any time, also after the tables that it gives rights on have come to be.
"""

from collections.abc import Iterator
from shlex import quote

from worker.core.checks.standing import role_option
from worker.core.target import Target, quote_identifier, quote_literal
from worker.core.value import dataclass

MARK = "$tidegate$"
"""The dollar quote of the DO blocks; no name may hold it."""

PUBLISHING = ("publish(text, text, text[], bytea[], bigint[], bigint, text, text, text)", "withdraw(text, text)")
"""The control schema's functions that a publisher may execute."""

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
        self._observers = tuple(map(quote_identifier, filter(None, (roles.publisher, roles.reader))))
        self._database = quote_identifier(database)
        self._control = quote_identifier(control)
        self._schemas = schemas
        self._version_table = version_table

    def sections(self) -> Iterator[str]:
        yield self._head()
        yield self._creation()
        yield self._membership()
        yield self._database_rights()
        for schema in dict.fromkeys((*self._schemas, self._version_table.schema)):
            yield self._schema_rights(schema)
        yield self._version_table_rights()
        for schema in self._schemas:
            yield self._api_rights(quote_identifier(schema))
        yield self._control_rights()
        yield self._later_rights()
        yield "COMMIT;"

    def _head(self) -> str:
        owner, api, everybody = self._roles.owner, self._roles.api, ", ".join(self._roles.logins)
        return (
            f"-- Roles of {owner} in the database {self._database}. Run it there as a superuser, or as the database's\n"
            "-- owner with CREATEROLE:  tidegate admin grants … | psql -X -v ON_ERROR_STOP=1 -d …\n"
            "-- Run it once more after the first tidegate up: a few rights are on tables that come to be then.\n"
            f"-- It sets no password: give {everybody} theirs.\n"
            f"-- Migrate with DB_MIGRATIONS_OPTIONS={quote(role_option(owner))} TIDEGATE_READERS={quote(api)}\n"
            "BEGIN;\nSET LOCAL client_min_messages = warning;"
        )

    def _creation(self) -> str:
        created = [line for name in self._roles.logins for line in _create(name, "LOGIN")]
        names = ", ".join(map(quote_literal, self._roles.names))
        return _do(
            "The roles; one that exists stays as it is, and is told of where it can do more than it should.",
            *_create(self._roles.owner, "NOLOGIN"),
            *created,
            f"FOR found IN SELECT rolname AS name FROM pg_catalog.pg_roles WHERE rolname IN ({names}) AND",
            "    (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls",
            f"    OR rolcanlogin = (rolname = {quote_literal(self._roles.owner)}))",
            "LOOP",
            "    RAISE WARNING 'role % was there before, with attributes that it should not have', found.name;",
            "END LOOP;",
        )

    def _membership(self) -> str:
        """From PostgreSQL 16 on, acting as a role takes the SET option, and whoever made a role is no full member."""
        owner, migrator = quote_literal(self._roles.owner), quote_identifier(self._roles.migrator)
        plain = quote_literal(f"GRANT {self._owner} TO {migrator}")
        option = quote_literal(f"GRANT {self._owner} TO {migrator} WITH SET TRUE")
        me = quote_literal(f"GRANT {self._owner} TO CURRENT_USER")
        others = ", ".join(quote_literal(name) for name in self._roles.logins if name != self._roles.migrator)
        return _do(
            "The migrator logs in, and acts as the owner with -c role=…; whoever runs this gives rights for the owner.",
            "IF current_setting('server_version_num')::int >= 160000",
            f"    THEN EXECUTE {option};",
            f"    ELSE EXECUTE {plain};",
            "END IF;",
            f"IF NOT pg_has_role(current_user, {owner}, 'USAGE') THEN EXECUTE {me}; END IF;",
            "FOR found IN SELECT rolname AS name FROM pg_catalog.pg_roles",
            f"    WHERE rolname IN ({others}) AND pg_has_role(oid, {owner}, 'MEMBER')",
            "LOOP RAISE WARNING 'role % is a member of the owner, and should not be', found.name; END LOOP;",
        )

    def _database_rights(self) -> str:
        logins = ", ".join(map(quote_identifier, self._roles.logins))
        lines = [
            "-- The owner may create schemas and trusted extensions.",
            f"GRANT CONNECT ON DATABASE {self._database} TO {logins};",
            f"GRANT CREATE ON DATABASE {self._database} TO {self._owner};",
        ]
        if self._schemas[0] != "public":
            # A login's settings count also where it acts as another role.
            lines += [
                f"ALTER ROLE {quote_identifier(name)} IN DATABASE {self._database} "
                f"SET search_path = {quote_identifier(self._schemas[0])};"
                for name in (self._roles.migrator, self._roles.api)
            ]
        return "\n".join(lines)

    def _schema_rights(self, schema: str) -> str:
        name = quote_identifier(schema)
        create = "" if schema == "public" else f"CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {self._owner};\n"
        return (
            f"-- The schema {schema}: the owner creates in it, nobody else does.\n"
            f"{create}"
            f"GRANT USAGE, CREATE ON SCHEMA {name} TO {self._owner};\n"
            f"REVOKE CREATE ON SCHEMA {name} FROM PUBLIC;"
        )

    def _version_table_rights(self) -> str:
        """The version table is there before the API is given what the owner makes, so that it is not given this."""
        relation, schema = self._version_table.relation, quote_identifier(self._version_table.schema)
        looks = [
            f"GRANT USAGE ON SCHEMA {schema} TO {name};\nGRANT SELECT ON {relation} TO {name};"
            for name in self._observers
        ]
        made = _do(
            "The version table, in golang-migrate's form: nobody but the owner writes it.",
            f"IF to_regclass({quote_literal(relation)}) IS NULL THEN",
            f"    CREATE TABLE {relation} (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);",
            f"    ALTER TABLE {relation} OWNER TO {self._owner};",
            "END IF;",
        )
        return "\n".join((made, *looks))

    def _api_rights(self, schema: str) -> str:
        relation = quote_literal(self._version_table.relation)
        tables, sequences = "SELECT, INSERT, UPDATE, DELETE", "USAGE, SELECT"
        today = _do(
            "The API uses what is there today, but for the version table, and what later migrations create there.",
            "FOR found IN SELECT c.oid::regclass AS name, pg_get_userbyid(c.relowner) AS owner,",
            "        c.relkind = 'S' AS numbers, pg_has_role(c.relowner, 'USAGE') AS mine",
            f"    FROM pg_catalog.pg_class AS c WHERE c.relnamespace = to_regnamespace({quote_literal(schema)})",
            f"        AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid <> to_regclass({relation})",
            "LOOP",
            "    IF NOT found.mine THEN",
            "        RAISE WARNING '% belongs to %, who has to grant the API rights on it', found.name, found.owner;",
            "    ELSIF found.numbers THEN",
            f"        EXECUTE format({quote_literal(f'GRANT {sequences} ON SEQUENCE %s TO %I')}, found.name, "
            f"{quote_literal(self._roles.api)});",
            "    ELSE",
            f"        EXECUTE format({quote_literal(f'GRANT {tables} ON TABLE %s TO %I')}, found.name, "
            f"{quote_literal(self._roles.api)});",
            "    END IF;",
            "END LOOP;",
        )
        later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {self._owner} IN SCHEMA {schema}"
        return "\n".join(
            (
                today,
                f"GRANT USAGE ON SCHEMA {schema} TO {self._api};",
                f"{later}\n    GRANT {tables} ON TABLES TO {self._api};",
                f"{later}\n    GRANT {sequences} ON SEQUENCES TO {self._api};",
            )
        )

    def _control_rights(self) -> str:
        """The owner's before a run makes its tables, so that a run as anybody else is told apart."""
        lines = [
            "-- The control schema is the owner's too; a publisher and a reader may look at all of it.",
            f"CREATE SCHEMA IF NOT EXISTS {self._control} AUTHORIZATION {self._owner};",
            f"GRANT USAGE ON SCHEMA {self._control} TO {', '.join((self._api, *self._observers))};",
        ]
        if self._observers:
            names = ", ".join(self._observers)
            later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {self._owner} IN SCHEMA {self._control}"
            lines += [
                f"GRANT SELECT ON ALL TABLES IN SCHEMA {self._control} TO {names};",
                f"{later}\n    GRANT SELECT ON TABLES TO {names};",
            ]
        return "\n".join(lines)

    def _later_rights(self) -> str:
        """Rights on tables that the first run creates."""
        return _do(
            "Once the first run has made its tables: the API's gate reads readiness, and a publisher publishes.",
            f"IF to_regclass({quote_literal(f'{self._control}.readiness')}) IS NOT NULL THEN",
            *(f"    {line}" for line in self._on_control()),
            "END IF;",
        )

    def _on_control(self) -> Iterator[str]:
        control = self._control
        yield f"GRANT SELECT ON {control}.readiness TO {self._api};"
        if self._roles.publisher is not None:
            yield from _publishing(control, quote_identifier(self._roles.publisher))


def _publishing(control: str, publisher: str) -> Iterator[str]:
    """The functions alone: the rights on tables that an older set-up gave go once the functions are there."""
    publish, withdraw = (f"{control}.{function}" for function in PUBLISHING)
    yield f"IF to_regprocedure({quote_literal(publish)}) IS NOT NULL THEN"
    yield f"    GRANT EXECUTE ON FUNCTION {publish}, {withdraw} TO {publisher};"
    yield f"    REVOKE INSERT, UPDATE ON {control}.bundle, {control}.bundle_file FROM {publisher};"
    yield f"    REVOKE ALL ON SEQUENCE {control}.wanted_seq FROM {publisher};"
    yield "END IF;"


def _create(name: str, login: str) -> tuple[str, ...]:
    return (
        f"IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {quote_literal(name)}) THEN",
        f"    CREATE ROLE {quote_identifier(name)} {login} {_ATTRIBUTES};",
        "END IF;",
    )


def _do(comment: str, *lines: str) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"-- {comment}\nDO {MARK}\nDECLARE\n    found record;\nBEGIN\n{body}\nEND\n{MARK};"
