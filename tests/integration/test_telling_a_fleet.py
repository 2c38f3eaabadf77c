"""A verb that moves one target of a fleet tells the fleet, and does not wait for long where that cannot be reached."""

import asyncio

import anyio
import pytest

from tests.fixtures.network import HOST, free_port
from worker.cli import up
from worker.cli.app import App
from worker.cli.arguments import parse
from worker.core.planning.plan import Latest
from worker.errors import NoDatabaseError

_SOON = 5


class Unheard(App):
    """Of a fleet whose server takes connections and says nothing."""

    async def moved(self) -> None:
        await asyncio.Event().wait()


async def test_a_fleet_that_does_not_answer_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "_TELL_SECONDS", 0.1)
    _, flags = parse(["up", "--database", f"postgres://api@{HOST}:{free_port()}/app"])

    with anyio.fail_after(_SOON), pytest.raises(NoDatabaseError):
        await up.bring_about(Unheard(flags), Latest(), None, agreed=True)
