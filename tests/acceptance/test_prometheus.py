"""A real Prometheus scrapes real workers while migrations run, and is asked what it saw."""

import math
import re
from collections.abc import Iterator

import pytest

from tests.fixtures.dashboard import Query, queries
from tests.fixtures.network import http_get
from tests.fixtures.prometheus import Series, promtool, rules
from tests.fixtures.scrapes import Scraped, scraped, scraped_fleet
from tests.fixtures.servers import Server, fresh_database

# What is asked of a histogram's or a counter's growth looks at so much of the past.
INTERVAL = "20s"
GROUPED = re.compile(r"by \(([^)]*)\)")
SELECTOR = re.compile(r"\b(tidegate_\w+)(\{[^}]*\})?")
# Nothing of this happens to workers that are well.
QUIET = {"Stale writes refused", "Listener lost", "Drift", "Left alone"}


@pytest.fixture(scope="module")
def scene(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    with fresh_database(server) as database, scraped(database, tmp_path_factory.mktemp("scene")) as scene:
        yield scene


@pytest.fixture(scope="module")
def fleet_scene(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    with fresh_database(server) as database, scraped_fleet(database, tmp_path_factory.mktemp("fleet")) as scene:
        yield scene


def is_of_a_fleet(promql: str) -> bool:
    """Whether a worker of one target has no such series."""
    return "tidegate_fleet_" in promql


def numbers(found: list[Series]) -> list[float]:
    return [number for each in found for _, text in each["values"] if not math.isnan(number := float(text))]


def canonical(scene: Scraped, promql: str) -> str:
    """The query as Prometheus' own parser writes it, on one line; fails where it is none."""
    return " ".join(scene.prometheus.api("format_query", query=promql).split())


def test_both_replicas_are_scraped(scene: Scraped) -> None:
    assert [each["value"][1] for each in scene.prometheus.query("count(tidegate_build_info)")] == ["2"]


def test_a_live_scrape_passes_promtool(scene: Scraped) -> None:
    for worker in scene.workers:
        done = promtool("check", "metrics", text=http_get(worker.port, "/metrics").body)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_migrations_that_ended_are_counted_once_over_both_replicas(scene: Scraped) -> None:
    def total(name: str, outcome: str) -> str:
        (found,) = scene.prometheus.query(f'sum({name}{{outcome="{outcome}"}})')
        return str(found["value"][1])

    assert total("tidegate_jobs_total", "failed") == "1"
    assert total("tidegate_jobs_total", "succeeded") == "4"
    assert total("tidegate_migrations_total", "succeeded") == "5"
    assert total("tidegate_migrations_total", "failed") == "1"


def test_what_is_left_falls_while_a_job_runs(scene: Scraped) -> None:
    left = numbers(scene.prometheus.history("max(tidegate_migrations_pending)", scene.began, scene.ended))
    assert {0.0, 1.0} <= set(left)


def test_notifications_found_the_releases(scene: Scraped) -> None:
    found = scene.prometheus.query("sum by (source) (tidegate_work_found_total)")
    by_source = {each["metric"]["source"]: float(each["value"][1]) for each in found}
    assert by_source["notify"] == 4, by_source


@pytest.mark.parametrize("alert", ["TidegateMigrationFailed", "TidegateApplicationBlocked"])
def test_an_alert_fires_by_itself_for_what_happened(scene: Scraped, alert: str) -> None:
    scene.prometheus.until(f'ALERTS{{alertname="{alert}", alertstate="firing", job="tidegate"}} == 1')


def test_no_alert_fires_for_what_did_not_happen(scene: Scraped) -> None:
    fired = {each["metric"]["alertname"] for each in scene.prometheus.query('ALERTS{alertstate="firing"}')}
    assert fired == {"TidegateMigrationFailed", "TidegateApplicationBlocked"}


@pytest.mark.parametrize("query", queries(), ids=lambda query: f"{query.panel}: {query.text[:30]}")
def test_a_panel_shows_what_happened(scene: Scraped, fleet_scene: Scraped, query: Query) -> None:
    scene = fleet_scene if is_of_a_fleet(query.text) else scene
    seen = numbers(scene.prometheus.history(query.filled(INTERVAL), scene.began, scene.ended))
    assert seen
    assert query.panel in QUIET or any(seen)


@pytest.mark.parametrize(
    "promql",
    [query.filled(INTERVAL) for query in queries()] + [rule["expr"] for rule in rules()],
    ids=lambda promql: promql[:60],
)
def test_a_query_of_dashboard_and_rules_names_metrics_and_labels_that_exist(
    scene: Scraped, fleet_scene: Scraped, promql: str
) -> None:
    scene = fleet_scene if is_of_a_fleet(promql) else scene
    text, labels = canonical(scene, promql), set[str]()
    selectors = [name + (matchers or "") for name, matchers in SELECTOR.findall(text)]
    assert selectors
    for selector in selectors:
        series = scene.prometheus.api("series", **{"match[]": selector}, start=scene.began, end=scene.ended)
        assert series, selector
        labels.update(*series)
    grouped = {label for listed in GROUPED.findall(text) for label in listed.replace(" ", "").split(",")}
    # The scrape's own, which only a cluster's has.
    assert grouped - {"namespace"} <= labels


def test_a_halted_line_alerts_by_itself(fleet_scene: Scraped) -> None:
    fleet_scene.prometheus.until(
        'ALERTS{alertname="TidegateFleetHalted", alertstate="firing", line="schema_migrations"} == 1'
    )


def test_a_live_scrape_of_a_fleet_passes_promtool(fleet_scene: Scraped) -> None:
    (worker,) = fleet_scene.workers
    done = promtool("check", "metrics", text=http_get(worker.port, "/metrics").body)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
