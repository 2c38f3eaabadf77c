"""Who else of the program is connected to a target's database, told by the names of the sessions."""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum

from worker.core.value import dataclass

PREFIX = "tidegate"
"""How the names begin under which the program's own sessions are seen."""


class Part(Enum):
    """What a program is at: it goes on for as long as it runs, runs one command, or waits at the gate."""

    WORKER = "worker"
    COMMAND = "command"
    GATE = "gate"


@dataclass(frozen=True, slots=True)
class Seen:
    """One session of the program; `address` and `since` are None where the role may not see them."""

    pid: int
    application: str
    role: str
    address: str | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Peer:
    """A running copy of the program; `since` is when the oldest of its sessions began."""

    name: str
    part: Part
    role: str
    address: str | None
    since: datetime | None
    pids: tuple[int, ...]


def peers(sessions: Iterable[Seen]) -> tuple[Peer, ...]:
    """The copies that these sessions belong to, by part and name."""
    grouped: dict[str, list[Seen]] = {}
    for session in sessions:
        grouped.setdefault(_split(session)[1], []).append(session)
    found = [_peer(name, together) for name, together in grouped.items()]
    order = list(Part)
    return tuple(sorted(found, key=lambda peer: (order.index(peer.part), peer.name)))


def _split(session: Seen) -> tuple[str, str]:
    """The purpose and the name in `tidegate PURPOSE NAME`."""
    _, _, rest = session.application.partition(" ")
    purpose, _, name = rest.partition(" ")
    return (purpose, name) if name else ("", rest)


def _peer(name: str, sessions: list[Seen]) -> Peer:
    purposes = {_split(session)[0] for session in sessions}
    part = Part.WORKER if "listen" in purposes else Part.GATE if purposes == {"gate"} else Part.COMMAND
    first, begun = sessions[0], [session.since for session in sessions if session.since is not None]
    pids = tuple(sorted(session.pid for session in sessions))
    return Peer(name, part, first.role, first.address, min(begun, default=None), pids)
