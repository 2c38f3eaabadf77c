"""Who else is there, told by the names of the sessions."""

from datetime import timedelta

from tests.fixtures.statuses import NOON
from worker.core.status.company import Part, Peer, Seen, peers


def seen(pid: int, application: str, age: int | None = 0) -> Seen:
    return Seen(pid, application, "owner", "10.0.0.7", None if age is None else NOON - timedelta(seconds=age))


def test_the_sessions_of_one_copy_are_one_peer_since_its_oldest_session() -> None:
    assert peers([seen(7, "tidegate listen w-1", 5), seen(6, "tidegate migrate w-1", 9)]) == (
        Peer("w-1", Part.WORKER, "owner", "10.0.0.7", NOON - timedelta(seconds=9), (6, 7)),
    )


def test_a_part_is_told_by_the_purposes() -> None:
    found = peers([
        seen(1, "tidegate gate api-1"),
        seen(2, "tidegate migrate up-1"),
        seen(3, "tidegate control up-1"),
        seen(4, "tidegate listen w-1"),
    ])  # fmt: skip
    assert [(peer.name, peer.part) for peer in found] == [
        ("w-1", Part.WORKER), ("up-1", Part.COMMAND), ("api-1", Part.GATE),
    ]  # fmt: skip


def test_a_name_may_hold_spaces_be_cut_or_be_missing() -> None:
    names = [
        peer.name for peer in peers([seen(1, "tidegate migrate a b"), seen(2, "tidegate x"), seen(3, "tidegate ")])
    ]
    assert sorted(names) == ["", "a b", "x"]


def test_what_a_role_may_not_see_is_unknown() -> None:
    (peer,) = peers([seen(1, "tidegate migrate w-1", None)])
    assert peer.since is None
