"""A value behaves as the standard library's frozen dataclass with slots does, however many there have been."""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import field, replace
from typing import Any, ClassVar

import pytest

from worker.core import value


def _classes(dataclass: Callable[..., Any]) -> tuple[type[Any], type[Any]]:
    @dataclass(frozen=True, slots=True)
    class Base:
        """A base."""

        level: ClassVar[int] = 1

        @property
        def twice(self) -> int:
            return 2 * self.number  # type: ignore[attr-defined,no-any-return]

    @dataclass(frozen=True, slots=True)
    class Child(Base):
        """A child."""

        level: ClassVar[int] = 2
        number: int
        secret: str = field(repr=False)
        names: tuple[str, ...] = ()
        made: list[int] = field(default_factory=list, compare=True)

    return Base, Child


STANDARD, OURS = _classes(dataclasses.dataclass), _classes(value.dataclass)
ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1, "s"), {}),
    ((1,), {"secret": "s", "names": ("a",)}),
    ((1, "s", ("a",), [3]), {}),
]


# More instances than are initialised by hand.
@pytest.mark.parametrize("arguments", ARGUMENTS * 3)
def test_an_instance_is_shown_and_compared_like_the_standard_librarys(
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
) -> None:
    args, named = arguments
    ours, standard = OURS[1](*args, **named), STANDARD[1](*args, **named)

    assert repr(ours) == repr(standard)
    assert dataclasses.asdict(ours) == dataclasses.asdict(standard)
    assert ours == OURS[1](*args, **named)
    assert ours != replace(ours, number=2)
    assert ours != standard
    assert copy.deepcopy(ours) == ours
    assert (ours.twice, ours.level, OURS[1].__match_args__) == (2, 2, STANDARD[1].__match_args__)


@pytest.mark.parametrize("arguments", [((), {}), ((1,), {}), ((1, "s", (), [], 5), {}), ((1, "s"), {"other": 1})])
def test_wrong_arguments_are_a_type_error(arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    args, named = arguments
    for child in (_classes(value.dataclass)[1], OURS[1]):
        with pytest.raises(TypeError):
            child(*args, **named)


def test_a_list_that_is_made_for_one_instance_is_not_anothers() -> None:
    first, second = OURS[1](1, "s"), OURS[1](1, "s")
    first.made.append(1)

    assert second.made == []


def test_nothing_of_an_instance_can_be_changed_and_equal_ones_have_equal_hashes() -> None:
    base, same = OURS[0](), OURS[0]()

    assert hash(base) == hash(same)
    with pytest.raises(dataclasses.FrozenInstanceError):
        OURS[1](1, "s").number = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del OURS[1](1, "s").number


def test_the_standard_librarys_dataclass_can_inherit_from_one() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Grandchild(OURS[0]):  # type: ignore[misc,name-defined]
        number: int

    assert Grandchild(3).twice == 6
    assert [each.name for each in dataclasses.fields(OURS[1])] == ["number", "secret", "names", "made"]
