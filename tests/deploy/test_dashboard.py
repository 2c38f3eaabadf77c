"""The dashboard as Grafana would load it; its queries are put to a real Prometheus in tests/acceptance."""

from itertools import combinations
from typing import Any

from tests.fixtures.dashboard import dashboard, panels, queries

COLUMNS = 24
Place = dict[str, int]


def overlap(one: Place, other: Place) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    return not beside and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]


def test_the_data_source_is_a_variable_everywhere() -> None:
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    sources: list[dict[str, Any]] = [variables["job"]["datasource"]]
    for panel in panels():
        sources += [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert {source["uid"] for source in sources} == {"${datasource}"}


def test_every_query_is_about_the_installation_that_is_chosen() -> None:
    assert [query for query in queries() if query.text.count("tidegate_") != query.text.count('job=~"$job"')] == []


def test_every_panel_has_a_name_of_its_own_and_says_what_it_shows() -> None:
    assert len({panel["title"] for panel in panels()}) == len(panels())
    assert [panel["title"] for panel in panels() if not panel["description"]] == []


def test_panels_have_numbers_and_places_of_their_own() -> None:
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    places = [panel["gridPos"] for panel in everything]
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    assert [pair for pair in combinations(places, 2) if overlap(*pair)] == []
