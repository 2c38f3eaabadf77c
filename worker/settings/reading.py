"""Reading: environment and flags become one `Settings` value, or one error that names the setting."""

from collections.abc import Mapping
from typing import Any, assert_never

from worker.core.bundles.trust import Policy
from worker.core.connecting.dsn import LiteralPassword, PassFile, PasswordFile
from worker.core.pattern import pattern
from worker.core.value import dataclass
from worker.core.version_table import Quoting, VersionTableName, parse_version_table
from worker.errors import SettingError
from worker.settings.families import Found, find_database
from worker.settings.parsers import parsed
from worker.settings.source import Database, Source
from worker.settings.table import SETTINGS, Setting
from worker.settings.values import (
    ControlSettings,
    HttpSettings,
    InForce,
    Limits,
    LogSettings,
    RequiredDirectory,
    RequirementSetting,
    Settings,
    TargetSettings,
    TrustSettings,
    UnknownVariable,
)

_DEFAULT = "default"
_PREFIX = "TIDEGATE_"
# What Kubernetes adds for a service named tidegate, or tidegate-and-something.
_SERVICE_LINK = pattern(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")


@dataclass(frozen=True, slots=True)
class _Given:
    """A setting's text and where it came from: a flag, a variable, or the default."""

    setting: Setting
    text: str | None
    origin: str

    def value(self) -> Any:
        return None if self.text is None else parsed(self.origin, self.text, self.setting.parse, self.setting.help)


def read_settings(environ: Mapping[str, str], flags: Mapping[str, str | None], *, worker: str) -> Settings:
    """Read all settings.

    Args:
        environ: the environment; an empty variable counts as unset.
        flags: by a setting's name, and `database`; None means not given.
        worker: this worker's name where none is set.

    Raises:
        SettingError: the first setting that is wrong, and what it takes.
    """
    given = {setting.name: _given(setting, environ, flags) for setting in SETTINGS}
    found = find_database(environ, flags.get("database"))
    given |= _version_table_in_url(found, given)
    values = {name: each.value() for name, each in given.items()}
    database = _database(found, values, given["connect_timeout"])
    return Settings(
        worker=values["worker"] or worker,
        database=database,
        auto_migrate=values["auto_migrate"],
        target=_target(values, _version_table(given, quoted=values["migrations_table_quoted"])),
        control=ControlSettings(schema=values["schema"], readers=values["readers"] or ()),
        trust=_trust(values),
        limits=_limits(values),
        http=HttpSettings(host=values["http_host"], port=values["http_port"]),
        log=LogSettings(level=values["log_level"], format=values["log_format"]),
        fleet=values["fleet"],
        in_force=(*_database_in_force(found), *map(_in_force, given.values())),
        unknown=_unknown(environ),
    )


def require_database(settings: Settings) -> Database:
    """Return the database that was set.

    Raises:
        SettingError: none was.
    """
    if settings.database is None:
        raise SettingError("no database is set", hint="give --database, or set DB_URL, or DB_HOST, DB_NAME and DB_USER")
    return settings.database


def _given(setting: Setting, environ: Mapping[str, str], flags: Mapping[str, str | None]) -> _Given:
    flag = flags.get(setting.name)
    if flag is not None:
        return _Given(setting, flag, setting.flags[0] if setting.flags else setting.name)
    variable = environ.get(setting.variable)
    return _Given(setting, variable, setting.variable) if variable else _Given(setting, setting.default, _DEFAULT)


def _version_table_in_url(found: Found | None, given: Mapping[str, _Given]) -> dict[str, _Given]:
    """Let golang-migrate's `x-migrations-table` stand over the environment, and under a flag."""
    table, quoted = given["migrations_table"], given["migrations_table_quoted"]
    in_url = found.dsn.x_parameters if found is not None else {}
    if found is None or "x-migrations-table" not in in_url or table.origin in table.setting.flags:
        return {}
    text = in_url.get("x-migrations-table-quoted", "false")
    return {
        "migrations_table": _Given(table.setting, in_url["x-migrations-table"], f"{found.name} x-migrations-table"),
        "migrations_table_quoted": _Given(quoted.setting, text, f"{found.name} x-migrations-table-quoted"),
    }


def _version_table(given: Mapping[str, _Given], *, quoted: bool) -> VersionTableName:
    table = given["migrations_table"]
    quoting = Quoting.QUOTED if quoted and table.origin != _DEFAULT else Quoting.PLAIN
    name: VersionTableName = parsed(
        table.origin, table.text or "", lambda text: parse_version_table(text, quoting), hint=table.setting.help
    )
    return name


def _database(found: Found | None, values: Mapping[str, Any], connect_timeout: _Given) -> Database | None:
    if found is None:
        return None
    timeout_ms = None if connect_timeout.origin == _DEFAULT else values["connect_timeout"]
    return Database(
        origin=found.name,
        migrating=Source(found.origin, values["migrations_options"] or "", timeout_ms),
        waiting=Source(found.origin, values["options"] or "", timeout_ms),
    )


def _target(values: Mapping[str, Any], version_table: VersionTableName) -> TargetSettings:
    return TargetSettings(
        source=values["source"],
        version_table=version_table,
        line=values["line"],
        label=values["label"],
        order=values["order"],
        requirement=values["require"] or _requirement_of(values["source"]),
        new_table=values["new_table"],
        batch=values["batch"],
    )


def _requirement_of(source: str | None) -> RequirementSetting | None:
    return None if source is None else RequiredDirectory(source)


def _trust(values: Mapping[str, Any]) -> TrustSettings:
    """Read whose signatures count; with keys, a signature is required unless something else is said."""
    keys, audience = values["trusted_keys"] or (), values["audience"]
    policy = values["trust"] or (Policy.REQUIRE if keys else Policy.OFF)
    if policy is not Policy.OFF and not keys:
        raise SettingError(
            f"TIDEGATE_TRUST is {policy.value}, and no key is trusted",
            hint="set TIDEGATE_TRUSTED_KEYS to the .pub files of tidegate bundle keygen",
        )
    if policy is not Policy.OFF and audience is None:
        raise SettingError(
            f"TIDEGATE_TRUST is {policy.value}, and TIDEGATE_AUDIENCE is not set",
            hint="set it to the id of this application, as it was given to tidegate bundle sign --audience",
        )
    return TrustSettings(policy, keys, audience, values["min_sequence"])


def _limits(values: Mapping[str, Any]) -> Limits:
    return Limits(
        wait_ms=values["timeout"],
        advisory_ms=values["advisory_timeout"],
        lock_ms=values["lock_timeout"],
        lock_budget_ms=values["lock_budget"],
        block_budget_ms=values["block_budget"],
        statement_ms=values["statement_timeout"],
        drain_ms=values["drain_timeout"],
        poll_ms=values["poll_interval"],
        drift_ms=values["drift_interval"],
    )


def _in_force(given: _Given) -> InForce:
    if given.text is None:
        return InForce(given.setting.name, "", "not set")
    return InForce(given.setting.name, given.text, given.origin)


def _database_in_force(found: Found | None) -> tuple[InForce, ...]:
    """List the database without its password, and where the password comes from."""
    if found is None:
        return (InForce("database", "", "not set"),)
    params = found.dsn.params
    match params.password:
        case LiteralPassword():
            password = "********"  # noqa: S105 - what is shown in place of one
        case PasswordFile(path):
            password = f"file {path}"
        case PassFile(path):
            password = f"passfile {path or '~/.pgpass'}"
        case _:
            assert_never(params.password)
    return (
        InForce("database", params.place(), found.name),
        InForce("password", password, found.name),
        InForce("sslmode", params.tls.mode.value, found.name),
    )


def _unknown(environ: Mapping[str, str]) -> tuple[UnknownVariable, ...]:
    """List what begins as ours and is not, but for what Kubernetes adds."""
    known = [setting.variable for setting in SETTINGS if setting.variable.startswith(_PREFIX)]
    names = sorted(name for name in environ if name.startswith(_PREFIX) and name not in known)
    return tuple(UnknownVariable(name, _nearest(name, known)) for name in names if not _SERVICE_LINK.fullmatch(name))


def _nearest(name: str, known: list[str]) -> str | None:
    """Compare behind the prefix, which alone would make any two names alike."""
    from difflib import get_close_matches  # noqa: PLC0415 - costs start-up time, and is needed for a mistake only

    tails = [variable.removeprefix(_PREFIX) for variable in known]
    return next((_PREFIX + tail for tail in get_close_matches(name.removeprefix(_PREFIX), tails, n=1)), None)
