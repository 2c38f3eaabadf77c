"""One value says how long a migration may take, and one how long a stop may; everything else follows from them."""

import pytest

from tests.fixtures.manifests import one, pod, refusal, rendered
from tests.fixtures.renderings import shaped

API = "app-tidegate-api"


@pytest.mark.parametrize("seconds", [2400, 2401, 86400])
def test_the_sidecars_start_up_probe_allows_what_is_asked_for(seconds: int) -> None:
    manifests = rendered({**shaped("sidecar"), "migrationSeconds": seconds})
    probe = pod(manifests, API).container("tidegate").spec["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= seconds
    assert one(manifests, "Deployment", API)["spec"]["progressDeadlineSeconds"] > seconds


@pytest.mark.parametrize("shape", ["deployment", "initContainer", "sidecar", "job"])
def test_the_grace_period_is_longer_than_the_drain(shape: str) -> None:
    manifests = rendered({**shaped(shape), "drainSeconds": 300})
    for each in manifests:
        if each["kind"] in {"Deployment", "Job"} and "TIDEGATE_DRAIN_TIMEOUT" in str(each):
            assert each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 300
            assert "'300s'" in str(each)


def test_a_sidecar_drains_after_the_api_has_had_its_own_time() -> None:
    values = shaped("sidecar")
    values["api"] |= {"terminationGracePeriodSeconds": 60}
    assert pod(rendered(values), API).spec["terminationGracePeriodSeconds"] >= 60 + 20


def test_an_api_that_only_waits_keeps_its_own_grace_period() -> None:
    values = shaped("deployment")
    values["api"] |= {"terminationGracePeriodSeconds": 45}
    assert pod(rendered(values), API).spec["terminationGracePeriodSeconds"] == 45


def test_less_than_forty_minutes_is_refused() -> None:
    assert "at '/migrationSeconds': minimum: got 2,399, want 2,400" in refusal({"migrationSeconds": 2399})


def test_a_job_whose_deadline_would_end_a_long_migration_is_refused() -> None:
    said = refusal({"shape": "job", "job": {"activeDeadlineSeconds": 3000}})
    assert "job.activeDeadlineSeconds is 3000, below migrationSeconds (3600)" in said
    job = one(rendered({"shape": "job", "job": {"activeDeadlineSeconds": 3600, "ttlSecondsAfterFinished": 0}}), "Job")
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["ttlSecondsAfterFinished"]) == (3600, 0)
