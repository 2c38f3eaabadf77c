"""The values that settings become: frozen, with durations in milliseconds and None where there is no limit."""

from enum import Enum

from worker.core.bundles.bundle import OrderPolicy
from worker.core.bundles.trust import Policy
from worker.core.planning.readiness import AtLeast, OfBundle
from worker.core.value import dataclass
from worker.core.version_table import VersionTableName
from worker.settings.source import Database


class LogLevel(Enum):
    """The least important event that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    """How events are written; auto is console on a terminal and JSON lines off it."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class RequiredDirectory:
    """A requirement whose migrations are still to be read from a directory."""

    path: str


RequirementSetting = AtLeast | OfBundle | RequiredDirectory


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """What is applied, and to which version table; `order` None leaves it to the bundle.

    `batch` is how many migrations at most share one transaction.
    """

    source: str | None
    version_table: VersionTableName
    line: str | None
    label: str | None
    order: OrderPolicy | None
    requirement: RequirementSetting | None
    new_table: bool
    batch: int


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """The control schema, and the roles that may read readiness."""

    schema: str
    readers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """Whose signatures count: paths of public keys, the application's id, and the lowest sequence number."""

    policy: Policy
    keys: tuple[str, ...]
    audience: str | None
    min_sequence: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in milliseconds; None means no limit, and a wait of 0 looks once.

    `drift_ms` is how often the worker looks for drift, None for never.
    """

    wait_ms: int | None
    advisory_ms: int | None
    lock_ms: int | None
    lock_budget_ms: int | None
    block_budget_ms: int | None
    statement_ms: int | None
    drain_ms: int
    poll_ms: int
    drift_ms: int | None


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the worker listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged, and how."""

    level: LogLevel
    format: LogFormat


@dataclass(frozen=True, slots=True)
class InForce:
    """A setting as `admin config` prints it: never a secret, and where it came from."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A `TIDEGATE_…` variable that means nothing here, and the known one that it resembles."""

    name: str
    nearest: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was set; `database` is None where nothing names one."""

    worker: str
    database: Database | None
    auto_migrate: bool
    target: TargetSettings
    control: ControlSettings
    trust: TrustSettings
    limits: Limits
    http: HttpSettings
    log: LogSettings
    fleet: str | None
    in_force: tuple[InForce, ...]
    unknown: tuple[UnknownVariable, ...]
