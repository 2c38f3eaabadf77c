from dataclasses import replace

import pytest

from worker.core.bundles.migration import Direction
from worker.core.planning.job import JobState
from worker.core.planning.removal import Client, HalfDone, Inventory, OpenJob, Thing, objection

CLIENT = Client("tidegate run a", "app", "10.0.0.1", 7)
EVERYTHING = Inventory(
    owners=("boss",),
    holders=(replace(CLIENT, application="", holds="public.t"),),
    clients=(CLIENT,),
    half_done=(HalfDone("public.t", 7, Direction.DOWN, None),),
    jobs=(OpenJob("public.t", "1.0", JobState.RUNNING),),
    strangers=(Thing("table", "mine"),),
    dependents=(Thing("view", "public.v"),),
)
ORDER = (
    ("owners", "privilege", "role boss"),
    ("holders", "locked", "of public.t is held by unnamed (role app, address 10.0.0.1, backend 7)"),
    ("clients", "connected", "tidegate run a (role app"),
    ("half_done", "half_done", "migration 7 (down) of public.t is half done"),
    ("jobs", "job", "public.t to bundle 1.0 is running"),
    ("strangers", "not_ours", "table mine"),
    ("dependents", "depended_on", "view public.v"),
)


def test_nothing_stands_in_the_way_of_an_inventory_without_obstacles() -> None:
    assert objection(Inventory(ours=(Thing("table", "ledger", 3),)), "tidegate") is None


@pytest.mark.parametrize("place", range(len(ORDER)), ids=[field for field, _, _ in ORDER])
def test_the_first_obstacle_of_several_is_told(place: int) -> None:
    _, reason, said = ORDER[place]
    found = replace(EVERYTHING, **{field: () for field, _, _ in ORDER[:place]})

    refused = objection(found, "tidegate")

    assert refused is not None
    assert (refused.reason, said in refused.message) == (reason, True), refused
    assert refused.hint


def test_of_many_things_a_few_are_named_and_the_rest_counted() -> None:
    refused = objection(Inventory(strangers=tuple(Thing("table", f"t{n}") for n in range(8))), "tidegate")

    assert refused is not None
    assert refused.message.endswith("table t0, table t1, table t2, table t3, table t4, and 3 more")
