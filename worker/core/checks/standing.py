"""How the role that a run acts as stands to a target, and what of that would make the run fail or do harm.

Everything that Tidegate and the migrations make belongs to the role that they act as. A run as somebody else would
make things that the next run may not touch, so it is refused before it changes anything.
"""

from collections.abc import Iterator

from worker.core.checks.findings import Finding, either, error
from worker.core.target import Target, quote_identifier
from worker.core.value import dataclass

_SET_OPTION_VERSION = 160_000


@dataclass(frozen=True, slots=True)
class Role:
    """Who a session is: it logged in as `login` and acts as `name`; `server_version` is the server's number."""

    login: str
    name: str
    server_version: int

    @property
    def is_switched(self) -> bool:
        """Whether `-c role=…` made it act as somebody else than it logged in as."""
        return self.login != self.name

    def __str__(self) -> str:
        return f"{self.name} (login {self.login})" if self.is_switched else self.name


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose something is. A login that is a member of that role has its rights, or may act as it, or both."""

    name: str
    is_member: bool
    may_act_as: bool
    is_superuser: bool


@dataclass(frozen=True, slots=True)
class Intruder:
    """What somebody put where it would run as the worker: a trigger, a rule, row security, an object of another owner.

    `sql` removes it.
    """

    what: str
    sql: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the catalogue says of the acting role's rights; an owner is None where the thing is not there.

    The control schema's owner is that of its tables, and before they are there that of the schema. `namesake_schema` is
    another one of the search_path that has a table of the version table's name, where the chosen one has none; it may
    be one that the role cannot use. `lacks_home` says that a half of the control schema is still to be made there.
    """

    role: Role
    database: str
    control: str
    target: Target
    has_control: bool
    has_control_schema: bool
    lacks_home: bool
    has_schema: bool
    control_owner: Owner | None
    table_owner: Owner | None
    namesake_schema: str | None
    may_use_namesake: bool
    transaction_timeout: str | None
    may_create_schemas: bool
    may_create_in_control: bool
    may_create_in_schema: bool
    may_read_control: bool
    may_write_control: bool
    may_read_table: bool
    may_write_table: bool
    intruders: tuple[Intruder, ...] = ()

    @property
    def may_write(self) -> bool:
        """Whether the role may write both the control tables and the version table."""
        return self.may_write_control and self.may_write_table


def obstacles_to_looking(at: Standing) -> tuple[Finding, ...]:
    """What keeps the role even from seeing what is applied, or from believing it."""
    found = [_intrusion(at, one) for one in at.intruders]
    if at.has_control and at.control_owner is not None and not at.may_read_control:
        found.append(_unseen(at, at.control_owner, f"the control schema {at.control}", _read_control(at)))
    if at.table_owner is not None and not at.may_read_table:
        found.append(_unseen(at, at.table_owner, _table(at), _read_table(at)))
    return tuple(found)


def obstacles(at: Standing) -> tuple[Finding, ...]:
    """What would make a run fail or leave things to the wrong owner, the most telling first."""
    return tuple(
        filter(None, (_mixed(at), _ownership(at), _capture(at), *_control(at), *_version_table(at), _timeout(at)))
    )


def obstacles_to_a_home(at: Standing) -> tuple[Finding, ...]:
    """What would make it fail, or leave it to the wrong owner, to make or renew the control schema alone."""
    return tuple(filter(None, (_ownership(at), *_control(at))))


def _intrusion(at: Standing, one: Intruder) -> Finding:
    where = f"control schema {at.control}" if at.has_control else "version table"
    return error(
        "intruder",
        f"{one.what} is not Tidegate's, and could act as role {at.role.name} or change what it sees of the {where}",
        one.sql,
        "find out who put it there, and with which right",
    )


def _mixed(at: Standing) -> Finding | None:
    """Whoever may use the application's tables would have a say in what is run as the owner."""
    if at.control != at.target.schema:
        return None
    message = f"the control schema and the application's schema are both {at.control}"
    return error("control_schema", message, advice="give the control schema a name of its own: TIDEGATE_SCHEMA")


def _ownership(at: Standing) -> Finding | None:
    """Everything has one owner: the control schema's, or before there is one, the version table's.

    A role that is no member of the owner, and yet has every right that it needs, was set up so on purpose; but what is
    still to be made is the owner's to make.
    """
    if at.control_owner is not None:
        what = f"the control schema {at.control}"
        has_rights = not at.has_control or (at.may_write_control and not at.lacks_home)
        return _foreign(at, at.control_owner, what, _taking_over(at), has_rights=has_rights)
    if at.table_owner is not None:
        return _foreign(at, at.table_owner, _table(at), (_give_table(at),), has_rights=at.may_write_table)
    return None


def _foreign(at: Standing, owner: Owner, what: str, give: tuple[str, ...], *, has_rights: bool) -> Finding | None:
    if owner.name == at.role.name or (has_rights and not owner.is_member):
        return None
    message = f"{what} belongs to role {owner.name}, but this run acts as {at.role}, so two roles would own the schema"
    return error("owner", message, advice=either(*_acting(at, owner), *give))


def _unseen(at: Standing, owner: Owner, what: str, grant: str) -> Finding:
    """Who was told to act as a role is meant to own everything; another one may only want to look on."""
    message = f"role {at.role} may not read {what}, which belongs to role {owner.name}"
    ways = (*_acting(at, owner), *_taking_over(at)) if at.role.is_switched or owner.may_act_as else ()
    return error("privilege", message, grant, either(*ways))


def _acting(at: Standing, owner: Owner) -> tuple[str, ...]:
    """How to act as the owner; nobody is told to let a login act as a superuser."""
    from shlex import quote  # noqa: PLC0415  slow to load, and only for a message

    option = f"act as the owner with DB_MIGRATIONS_OPTIONS={quote(role_option(owner.name))}"
    if owner.may_act_as:
        return (option,)
    return () if owner.is_superuser else (f"{option}, once it may: {membership(owner.name, at.role)}",)


def _taking_over(at: Standing) -> tuple[str, ...]:
    ways = (f"give all of it to {at.role.name} with the SQL that tidegate doctor prints",)
    if at.table_owner is None or at.table_owner.name == at.role.name:
        return (*ways, "give this application a control schema of its own with TIDEGATE_SCHEMA")
    return ways


def _capture(at: Standing) -> Finding | None:
    """A schema that leads the search_path, such as one of the role's name, takes all unqualified names to itself."""
    if at.namesake_schema is None:
        return None
    there, here = Target(at.namesake_schema, at.target.table), at.target
    if not at.may_use_namesake:
        grant = f"GRANT USAGE, CREATE ON SCHEMA {quote_identifier(there.schema)} TO {_quoted(at)};"
        return error(
            "capture", f"role {at.role} lacks USAGE on schema {there.schema}, which has the version table", grant
        )
    return error(
        "capture",
        f"schema {here.schema} leads the search_path of role {at.role} and has no version table, but {there.name} is "
        f"there: everything would be applied anew in schema {here.schema}",
        f"ALTER ROLE {quote_identifier(at.role.login)} IN DATABASE {quote_identifier(at.database)} "
        f"SET search_path = {quote_identifier(there.schema)};",
        f"say which is meant: DB_MIGRATIONS_TABLE_QUOTED=true and DB_MIGRATIONS_TABLE='{there.relation}'",
    )


def _control(at: Standing) -> Iterator[Finding]:
    if at.has_control:
        return
    if not at.has_control_schema and not at.may_create_schemas:
        yield error(
            "create_on_database",
            f"role {at.role.name} may not create the control schema {at.control} in database {at.database}",
            f"GRANT CREATE ON DATABASE {quote_identifier(at.database)} TO {_quoted(at)};",
        )
    if at.has_control_schema and not at.may_create_in_control:
        yield error(
            "create_on_control_schema",
            f"role {at.role.name} may not create tables in the control schema {at.control}",
            f"GRANT USAGE, CREATE ON SCHEMA {quote_identifier(at.control)} TO {_quoted(at)};",
        )


def _version_table(at: Standing) -> Iterator[Finding]:
    schema = quote_identifier(at.target.schema)
    if not at.has_schema:
        yield error(
            "schema",
            f"schema {at.target.schema} of the version table does not exist in database {at.database}",
            f"CREATE SCHEMA {schema} AUTHORIZATION {_quoted(at)};",
        )
    elif at.table_owner is None and not at.may_create_in_schema:
        yield error(
            "create_on_schema",
            f"role {at.role.name} may not create the version table in schema {at.target.schema}",
            f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {_quoted(at)};",
        )
    elif at.table_owner is not None and not at.may_write_table:
        yield error(
            "version_table",
            f"role {at.role.name} may not write {_table(at)}, which belongs to {at.table_owner.name}",
            _give_table(at),
        )


def _timeout(at: Standing) -> Finding | None:
    """A server that ends a longer transaction would end the same migration in every attempt."""
    if at.transaction_timeout is None:
        return None
    return error(
        "setting",
        f"transaction_timeout is {at.transaction_timeout} for role {at.role.login}: the server would end a migration "
        "that takes longer, in every attempt",
        f"ALTER ROLE {quote_identifier(at.role.login)} IN DATABASE {quote_identifier(at.database)} "
        "SET transaction_timeout = 0;",
    )


def role_option(name: str) -> str:
    """The connection option that makes a login act as a role; a blank in it would end the value."""
    escaped = name.replace("\\", "\\\\").replace(" ", "\\ ")
    return f"-c role={escaped}"


def membership(owner: str, role: Role) -> str:
    """SQL that lets a login act as an owner; from PostgreSQL 16 on that is an option of a membership."""
    option = " WITH SET TRUE" if role.server_version >= _SET_OPTION_VERSION else ""
    return f"GRANT {quote_identifier(owner)} TO {quote_identifier(role.login)}{option};"


def _read_control(at: Standing) -> str:
    schema, role = quote_identifier(at.control), _quoted(at)
    return f"GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};"


def _read_table(at: Standing) -> str:
    schema = quote_identifier(at.target.schema)
    return f"GRANT USAGE ON SCHEMA {schema} TO {_quoted(at)}; GRANT SELECT ON {at.target.relation} TO {_quoted(at)};"


def _give_table(at: Standing) -> str:
    return f"ALTER TABLE {at.target.relation} OWNER TO {_quoted(at)};"


def _table(at: Standing) -> str:
    return f"the version table {at.target.name}"


def _quoted(at: Standing) -> str:
    return quote_identifier(at.role.name)
