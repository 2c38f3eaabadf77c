"""The table of settings: name, variable, flags, default, what it takes, and a line of help.

`--help`, `admin config` and every error about a setting are made from it.
"""

from worker.core.value import dataclass
from worker.settings import parsers
from worker.settings.parsers import Parser


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; without a default it is simply absent."""

    name: str
    variable: str
    flags: tuple[str, ...]
    default: str | None
    parse: Parser
    help: str


@dataclass(frozen=True, slots=True)
class ConnectionVariable:
    """A variable of a connection family, for help; what it means is in `families`."""

    name: str
    help: str


DATABASE_FLAGS = ("--database", "-d", "-database")

SETTINGS = (
    Setting("source", "DB_SCHEMA_DIR", ("--source", "-s", "-path"), None, parsers.directory, "directory of migrations"),
    Setting(
        "auto_migrate", "DB_AUTO_MIGRATE", (), "false", parsers.go_bool, "whether `exec` migrates before it starts"
    ),
    Setting(
        "migrations_table",
        "DB_MIGRATIONS_TABLE",
        ("--migrations-table",),
        "schema_migrations",
        str,
        "name of the version table",
    ),
    Setting(
        "migrations_table_quoted",
        "DB_MIGRATIONS_TABLE_QUOTED",
        ("--migrations-table-quoted",),
        "false",
        parsers.go_bool,
        'whether that name is written as "table" or "schema"."table"',
    ),
    Setting(
        "migrations_options",
        "DB_MIGRATIONS_OPTIONS",
        ("--migrations-options",),
        None,
        parsers.options,
        "server options of migrating connections, for example '-c role=owner'",
    ),
    Setting("options", "DB_OPTIONS", ("--options",), None, parsers.options, "server options of waiting connections"),
    Setting(
        "new_table",
        "TIDEGATE_NEW_TABLE",
        ("--new-table",),
        "false",
        parsers.go_bool,
        "true: begin an empty version table beside other golang-migrate tables",
    ),
    Setting("schema", "TIDEGATE_SCHEMA", ("--schema",), "tidegate", parsers.schema, "name of the control schema"),
    Setting("readers", "TIDEGATE_READERS", ("--readers",), None, parsers.roles, "roles that may read readiness"),
    Setting("fleet", "TIDEGATE_FLEET", ("--fleet",), None, parsers.text, "file that declares many targets"),
    Setting("line", "TIDEGATE_LINE", ("--line",), None, parsers.text, "the line that bundles belong to"),
    Setting("label", "TIDEGATE_LABEL", ("--label",), None, parsers.text, "label of the bundle that is offered"),
    Setting("order", "TIDEGATE_ORDER", ("--order",), None, parsers.order, "what to do with a late lower version"),
    Setting(
        "batch",
        "TIDEGATE_BATCH",
        ("--batch",),
        "1",
        parsers.batch,
        "how many migrations at most share one transaction; if it fails, each of them gets its own",
    ),
    Setting(
        "trusted_keys",
        "TIDEGATE_TRUSTED_KEYS",
        ("--trusted-keys",),
        None,
        parsers.paths,
        "public keys whose signatures count: .pub files, or directories of them",
    ),
    Setting(
        "trust",
        "TIDEGATE_TRUST",
        ("--trust",),
        None,
        parsers.trust,
        "require, warn or off: what becomes of an unsigned bundle; require if keys are set, else off",
    ),
    Setting("audience", "TIDEGATE_AUDIENCE", ("--audience",), None, parsers.text, "application that bundles are for"),
    Setting(
        "min_sequence",
        "TIDEGATE_MIN_SEQUENCE",
        ("--min-sequence",),
        "0",
        parsers.sequence,
        "lowest sequence number of a signed bundle whose SQL is run",
    ),
    Setting("require", "TIDEGATE_REQUIRE", ("--require",), None, parsers.requirement, "what an application needs"),
    Setting("timeout", "TIDEGATE_TIMEOUT", ("--timeout",), "10m", parsers.wait_limit, "how long to wait for readiness"),
    Setting(
        "connect_timeout",
        "TIDEGATE_CONNECT_TIMEOUT",
        ("--connect-timeout",),
        "10s",
        parsers.duration,
        "how long one attempt to connect to one address may take",
    ),
    Setting(
        "advisory_timeout",
        "TIDEGATE_ADVISORY_TIMEOUT",
        ("--advisory-timeout",),
        "10m",
        parsers.limit,
        "how long to wait for the advisory lock",
    ),
    Setting(
        "lock_timeout",
        "TIDEGATE_LOCK_TIMEOUT",
        ("--lock-timeout",),
        "100ms",
        parsers.limit,
        "how long one attempt at a migration waits for a table lock",
    ),
    Setting(
        "lock_budget",
        "TIDEGATE_LOCK_BUDGET",
        ("--lock-budget",),
        "10m",
        parsers.limit,
        "how long a migration waits for locks in all its attempts",
    ),
    Setting(
        "block_budget",
        "TIDEGATE_BLOCK_BUDGET",
        ("--block-budget",),
        "10s",
        parsers.limit,
        "how long one attempt may keep the application waiting before it is cancelled and tried again later",
    ),
    Setting(
        "statement_timeout",
        "TIDEGATE_STATEMENT_TIMEOUT",
        ("--statement-timeout",),
        "none",
        parsers.limit,
        "how long one statement of a migration may run",
    ),
    Setting(
        "drain_timeout",
        "TIDEGATE_DRAIN_TIMEOUT",
        ("--drain-timeout",),
        "20s",
        parsers.duration,
        "how long a stop lets a running migration go on",
    ),
    Setting("poll_interval", "TIDEGATE_POLL_INTERVAL", ("--poll-interval",), "15s", parsers.duration, "poll interval"),
    Setting(
        "drift_interval",
        "TIDEGATE_DRIFT",
        ("--drift-interval",),
        "5m",
        parsers.interval,
        "how often the worker looks for drift, or off",
    ),
    Setting("http_host", "TIDEGATE_HTTP_HOST", ("--http-host",), "127.0.0.1", parsers.http_host, "where to listen"),
    Setting("http_port", "TIDEGATE_HTTP_PORT", ("--http-port",), "8017", parsers.port, "the port to listen on"),
    Setting(
        "log_level",
        "TIDEGATE_LOG_LEVEL",
        ("--log-level",),
        "info",
        parsers.log_level,
        "least level written; where progress is drawn, warnings alone until it is set",
    ),
    Setting("log_format", "TIDEGATE_LOG_FORMAT", ("--log-format",), "auto", parsers.log_format, "how logs are written"),
    Setting("worker", "TIDEGATE_WORKER", ("--worker",), None, parsers.text, "this worker's name"),
)

CONNECTION_VARIABLES = (
    ConnectionVariable("DB_URL", "Postgres URL or keyword string; also DB_URL_FILE, read again at every connect"),
    ConnectionVariable("DB_HOST", "host, address or socket directory"),
    ConnectionVariable("DB_PORT", "port, 5432 if not set"),
    ConnectionVariable("DB_NAME", "database"),
    ConnectionVariable("DB_USER", "role"),
    ConnectionVariable("DB_PASS", "password, %XX is decoded; also DB_PASS_FILE, taken as it is at every connect"),
    ConnectionVariable("DB_SSL_DISABLE", "true: no TLS, else TLS is required"),
    ConnectionVariable("DATABASE_URL", "as DB_URL; also DATABASE_URL_FILE"),
    ConnectionVariable("PGHOST", "and libpq's other PG* variables; also PGPASSWORD_FILE; PGSERVICE is not supported"),
)
