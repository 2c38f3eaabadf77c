"""Whatever workers, people and faults do to one database in any order: each version once, and the gate never lies."""

import os
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.fixtures.cluster import Server
from tests.fixtures.processes import StartTidegate
from tests.fixtures.servers import fresh_database
from tests.fixtures.turmoil import OPERATIONS, Turmoil, rounds

Begin = Callable[[ExitStack], Turmoil]


@pytest.fixture
def begin(server: Server, tidegate: StartTidegate, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Begin]:
    """Begins a turmoil on a new database; the seed decides what it leaves to chance."""

    def seeded(seed: int) -> Begin:
        chance = random.Random(seed)  # noqa: S311 - a test's chance is to be repeatable

        def start(stack: ExitStack) -> Turmoil:
            database, folder = stack.enter_context(fresh_database(server)), tmp_path_factory.mktemp("bundle")
            return Turmoil(database, tidegate, folder, chance)

        return start

    return seeded


def test_a_few_rounds_of_turmoil_leave_every_version_applied_once(begin: Callable[[int], Begin]) -> None:
    soak(begin, int(os.environ.get("SOAK_ROUNDS", "5")))


def soak(begin: Callable[[int], Begin], count: int) -> None:
    seed = int(os.environ.get("SOAK_SEED") or time.time_ns() % 1_000_000)
    print(f"SOAK_SEED={seed} repeats this")  # noqa: T201 - pytest shows it where the test fails
    tally = rounds(begin(seed), count, random.Random(seed))  # noqa: S311 - the same
    print(*(f"{name}: {number}" for name, number in tally.items()), sep=", ")  # noqa: T201 - what `make soak` tells


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_any_sequence_of_operations_keeps_what_must_be_true(begin: Callable[[int], Begin]) -> None:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self._stack = ExitStack()
            self._turmoil = begin(0)(self._stack)

        @rule(name=st.sampled_from(OPERATIONS))
        def operation(self, name: str) -> None:
            self._turmoil.perform(name)

        def teardown(self) -> None:
            with self._stack:
                self._turmoil.settle()

    checks: Any = list(HealthCheck)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=checks,
            phases=[Phase.generate],
        ),
    )
