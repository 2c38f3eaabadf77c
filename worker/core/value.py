"""Frozen dataclasses that cost next to nothing to define: what the standard library writes at import is written at use.

It compiles six methods for every class, which in a short command takes longer than the command's own work. Here a class
gets its `__init__` when it has had a few instances, and shares the other methods with all. What the standard library
asks of a dataclass (`replace`, `fields`, `asdict`, inheriting from it) it can ask of these as well; `replace` of this
module does without what it would have to write for that.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, field, make_dataclass
from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, get_origin

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414  what it means to mypy
    from dataclasses import replace as replace  # noqa: PLC0414  the same
else:

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type[Any]], type[Any]]:  # noqa: ARG001  there is one form, and both have to be said
        """Decorate as `dataclasses.dataclass(frozen=True, slots=True)` does."""
        return _made

    def replace(value: Any, **changes: Any) -> Any:
        """The value anew, with these fields changed."""
        return type(value)(**{**{name: getattr(value, name) for name in value._fields_}, **changes})


def names(value: Any) -> tuple[str, ...]:
    """The names of a value's fields, whoever defined its class."""
    return tuple(value._fields_) if hasattr(value, "_fields_") else tuple(one.name for one in fields_of(value))


def _made(cls: type[Any]) -> type[Any]:
    """The class anew, with slots in the place of its fields' defaults."""
    own = [name for name, kind in cls.__annotations__.items() if not _is_of_class(kind)]
    kept = {key: value for key, value in vars(cls).items() if key not in {*own, "__dict__", "__weakref__"}}
    fields = {**getattr(cls, "_fields_", {}), **{name: _field(cls, name) for name in own}}
    named = {"__qualname__": cls.__qualname__, "__slots__": tuple(own), "__match_args__": tuple(fields)}
    return type(cls.__name__, cls.__bases__, {**_METHODS, **kept, **named, "_fields_": fields})


def _is_of_class(kind: Any) -> bool:
    return kind is ClassVar or get_origin(kind) is ClassVar


def _field(cls: type[Any], name: str) -> Any:
    """What stands behind a field's name: its default, the standard library's `field(…)`, or nothing."""
    return vars(cls).get(name, MISSING)


def _initialise(self: Any, *args: Any, **named: Any) -> None:
    """Initialise a class's first instances, most classes' only ones, and write its `__init__` for all that follow."""
    cls = type(self)
    _COUNTS[cls] = count = _COUNTS.get(cls, 0) + 1
    given = {**cls._fields_, **dict(zip(cls._fields_, args, strict=False)), **named}
    is_plain = len(given) == len(cls._fields_) and len(args) <= len(given)
    if count <= _BY_HAND and is_plain and not any(isinstance(value, _UNSET) for value in given.values()):
        for name, value in given.items():
            object.__setattr__(self, name, value)
    else:
        # It also says what is wrong with the arguments.
        cls.__init__ = _initialiser(cls)
        cls.__init__(self, *args, **named)


def _initialiser(cls: type[Any]) -> Callable[..., None]:
    known: dict[str, Any] = {}
    parameters, lines = ["self"], ["pass"]
    for name, given in cls._fields_.items():
        known[f"set_{name}"] = getattr(cls, name).__set__
        default, factory = (given.default, given.default_factory) if isinstance(given, Field) else (given, MISSING)
        known[f"default_{name}"], known[f"make_{name}"] = default, factory
        is_required = default is MISSING and factory is MISSING
        parameters.append(name if is_required else f"{name}=default_{name}")
        value = name if factory is MISSING else f"make_{name}() if {name} is default_{name} else {name}"
        lines.append(f"set_{name}(self, {value})")
    exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines), known)  # noqa: S102  names of fields alone
    written: Callable[..., None] = known["__init__"]
    return written


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self._fields_])


def _equals(self: Any, other: object) -> bool:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _represent(self: Any) -> str:
    shown = [name for name, given in self._fields_.items() if not isinstance(given, Field) or given.repr]
    return f"{type(self).__qualname__}({', '.join([f'{name}={getattr(self, name)!r}' for name in shown])})"


def _refuse(_self: Any, name: str, _value: object = None) -> NoReturn:
    raise FrozenInstanceError(f"cannot change the field {name!r}")


def _reduce(self: Any) -> tuple[type[Any], tuple[Any, ...]]:
    return type(self), _values(self)


class _Standard:
    """What the standard library knows of its own dataclasses, made when it asks."""

    def __init__(self, name: str, *, is_whole: bool) -> None:
        self._name = name
        self._is_whole = is_whole

    def __get__(self, _instance: object, owner: type[Any]) -> Any:
        fields = [
            (name, kind, given if isinstance(given, Field) else field(default=given))
            for name, kind, given in ((name, object, given) for name, given in owner._fields_.items())
        ]
        # Without the methods, which nobody calls here.
        asked = make_dataclass(owner.__name__, fields, init=False, repr=False, eq=False, frozen=self._is_whole)
        known = getattr(asked, self._name)
        setattr(owner, self._name, known)
        return known


_BY_HAND = 4
_COUNTS: dict[type[Any], int] = {}
_UNSET = (Field, type(MISSING))
_METHODS = {
    "__init__": _initialise,
    "__eq__": _equals,
    "__hash__": _hash,
    "__repr__": _represent,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__reduce__": _reduce,
    "__dataclass_fields__": _Standard("__dataclass_fields__", is_whole=False),
    "__dataclass_params__": _Standard("__dataclass_params__", is_whole=True),
}
