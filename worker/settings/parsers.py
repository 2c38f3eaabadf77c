"""What each kind of setting takes; every parser raises `ValueError` with words that go behind the setting's name."""

from collections.abc import Callable
from enum import Enum
from string import ascii_letters, digits
from typing import Any, TypeVar
from urllib.parse import unquote

from worker.core.bundles.bundle import OrderPolicy
from worker.core.bundles.migration import MAX_VERSION
from worker.core.bundles.seal import MAX_SEQUENCE
from worker.core.bundles.trust import Policy
from worker.core.connecting.dsn import parse_port
from worker.core.duration import parse_duration
from worker.core.pattern import pattern
from worker.core.planning.readiness import AtLeast, OfBundle
from worker.core.version_table import MAX_IDENTIFIER_BYTES
from worker.errors import SettingError
from worker.settings.values import LogFormat, LogLevel, RequiredDirectory, RequirementSetting

Parser = Callable[[str], Any]
MAX_SCHEMA_BYTES = 50
"""The channels are named `<schema>_wake` and `<schema>_ready`, and Postgres cuts identifiers at 63 bytes."""

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_HTTP_HOST = frozenset(f"{ascii_letters}{digits}.:_%-")
_HOST = pattern(r"/.*|\[?[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}(%\w+)?\]?|[^\s:/\[\]]+")
_CONTROL = pattern(r"[\x00-\x1f\x7f]")
# As the server splits them: a blank inside a value has a backslash before it, and -c takes name=value.
_OPTION = r"(?:(?:-c\s*|--)[A-Za-z_][\w.-]*=(?:\\.|[^\s\\])*|-[A-Zabd-z]\S*(?:\s+[^\s-]\S*)?)"
_OPTIONS = pattern(rf"\s*{_OPTION}(?:\s+{_OPTION})*\s*")
_SERVICE_LINK = ("tcp://", "udp://", "sctp://")
_MAX_TEXT = 200
_MOST_IN_A_BATCH = 1000
_Choice = TypeVar("_Choice", bound=Enum)


class ServiceLinkError(ValueError):
    """A variable holds what Kubernetes sets for a service of that name."""


def text(value: str) -> str:
    """Take any printable text of up to 200 characters."""
    if not value.isprintable() or len(value) > _MAX_TEXT:
        raise ValueError(f"got {value!r:.60}; it takes up to {_MAX_TEXT} printable characters")
    return value


def options(value: str) -> str:
    """Take libpq's options, for example `-c role=owner`."""
    if not value.isprintable() or _OPTIONS.fullmatch(value) is None:
        raise ValueError(f"got {value!r:.60}; it takes server options such as '-c role=owner'")
    return value.strip()


def hosts(value: str) -> str:
    """Take a host name, an address or a socket directory, or several between commas; a URL is not shown."""
    takes = "it takes a host name, an address or a socket directory"
    if value.startswith(_SERVICE_LINK) and "@" not in value:
        raise ServiceLinkError(f"got {value!r:.60}, which is a Kubernetes service link; {takes}")
    if "://" in value or "@" in value:
        raise ValueError(f"got a URL; {takes}")
    if not all(_HOST.fullmatch(host.strip()) for host in value.split(",")):
        raise ValueError(f"got {value!r:.60}; {takes}")
    return value


def identifier(value: str) -> str:
    """Take the name of a database or a role."""
    if not value.strip() or _CONTROL.search(value) is not None:
        raise ValueError(f"got {value!r:.60}; it takes a name")
    return value


def go_bool(value: str) -> bool:
    """Take what Go's strconv.ParseBool takes."""
    if value not in _TRUE | _FALSE:
        raise ValueError(f"got {value!r:.60}; it takes 1, t, T, TRUE, true or True, or 0, f, F, FALSE, false or False")
    return value in _TRUE


def port(value: str) -> int:
    """Take a TCP port; a Kubernetes service link is named as such."""
    if value.startswith(_SERVICE_LINK):
        raise ServiceLinkError(
            f"got {value!r:.60}, which is a Kubernetes service link; it takes a port from 1 to 65535"
        )
    number = parse_port(value)
    if number is None:
        raise ValueError(f"got {value!r:.60}; it takes a port from 1 to 65535")
    return number


def http_host(value: str) -> str:
    """Take a host name or an address to listen on."""
    bare = value.removeprefix("[").removesuffix("]")
    if not bare or not _HTTP_HOST.issuperset(bare):
        raise ValueError(f"got {value!r:.60}; it takes a host name or an address, for example 127.0.0.1 or ::")
    return bare


def schema(value: str) -> str:
    """Take a plain lower-case identifier short enough for the channel names."""
    is_plain = value.isascii() and value.isidentifier() and value == value.lower()
    if not is_plain or value.startswith("pg_") or len(value) > MAX_SCHEMA_BYTES:
        raise ValueError(
            f"got {value!r:.60}; it takes up to {MAX_SCHEMA_BYTES} lower-case letters, digits and _, "
            "with no digit and no pg_ first"
        )
    return value


def roles(value: str) -> tuple[str, ...]:
    """Take role names between commas; each once, in the order given."""
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    if not all(names) or any(not n.isprintable() or len(n.encode()) > MAX_IDENTIFIER_BYTES for n in names):
        raise ValueError(f"got {value!r:.60}; it takes role names between commas")
    return names


def directory(value: str) -> str:
    """Take a path, also as `file://…` with golang-migrate's percent-encoding."""
    path = unquote(value.removeprefix("file://")) if value.startswith("file://") else value
    if not path.strip() or _CONTROL.search(path) is not None or "://" in path:
        raise ValueError(f"got {value!r:.60}; it takes a directory, also as file://PATH")
    return path


def paths(value: str) -> tuple[str, ...]:
    """Take paths between commas."""
    found = tuple(path.strip() for path in value.split(","))
    if not all(path and _CONTROL.search(path) is None for path in found):
        raise ValueError(f"got {value!r:.60}; it takes files or directories between commas")
    return found


def sequence(value: str) -> int:
    """Take a sequence number."""
    if not (value.isascii() and value.isdecimal() and len(value) < _MAX_TEXT and int(value) <= MAX_SEQUENCE):
        raise ValueError(f"got {value!r:.60}; it takes a whole number, 0 or more")
    return int(value)


def batch(value: str) -> int:
    """Take a number of migrations."""
    if not (value.isascii() and value.isdecimal() and len(value) < _MAX_TEXT and 1 <= int(value) <= _MOST_IN_A_BATCH):
        raise ValueError(f"got {value!r:.60}; it takes a whole number from 1 to {_MOST_IN_A_BATCH}")
    return int(value)


def duration(value: str) -> int:
    """Take a duration above zero, in milliseconds."""
    milliseconds = parse_duration(value)
    if milliseconds == 0:
        raise ValueError(f"got {value!r:.60}; it takes a duration above 0, for example 250ms, 20s or 5m")
    return milliseconds


def limit(value: str) -> int | None:
    """Take a duration above zero in milliseconds, or `none` for no limit."""
    return None if value == "none" else duration(value)


def interval(value: str) -> int | None:
    """Take a duration above zero in milliseconds, or `off`."""
    return None if value == "off" else duration(value)


def wait_limit(value: str) -> int | None:
    """Take a duration in milliseconds, `0` to look once, or `none` to wait for ever."""
    return None if value == "none" else parse_duration(value)


def requirement(value: str) -> RequirementSetting:
    """Take `version:V`, `bundle:L` or `dir:PATH`."""
    kind, _, rest = value.partition(":")
    if kind == "version" and rest.isascii() and rest.isdigit() and len(rest) < _MAX_TEXT and int(rest) <= MAX_VERSION:
        return AtLeast(int(rest))
    if kind == "bundle" and rest:
        return OfBundle(text(rest))
    if kind == "dir" and rest:
        return RequiredDirectory(directory(rest))
    raise ValueError(f"got {value!r:.60}; it takes version:V, bundle:LABEL or dir:PATH")


def _one_of(kind: type[_Choice]) -> Callable[[str], _Choice]:
    def parse(value: str) -> _Choice:
        try:
            return kind(value)
        except ValueError:
            takes = ", ".join(member.value for member in kind)
            raise ValueError(f"got {value!r:.60}; it takes one of {takes}") from None

    return parse


order = _one_of(OrderPolicy)
trust = _one_of(Policy)
log_level = _one_of(LogLevel)
log_format = _one_of(LogFormat)


def parsed(name: str, value: str, parse: Parser, hint: str) -> Any:
    """Parse a value, with the setting's name before what was wrong.

    Raises:
        SettingError: the parser refused it.
    """
    try:
        return parse(value)
    except ServiceLinkError as exc:
        hint = "set enableServiceLinks: false in the pod, or give the service another name"
        raise SettingError(f"{name} {exc}", hint=hint) from None
    except ValueError as exc:
        raise SettingError(f"{name} {exc}", hint=hint) from None
