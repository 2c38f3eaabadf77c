"""What a person accepts: the ledger follows a version table that was moved, or a file that was rewritten."""

from dataclasses import replace

import pytest

from tests.fixtures.plans import a_bundle, applied, entry, golang, half_down, half_up
from worker.core.bundles.bundle import Bundle
from worker.core.planning.adoption import Accept, accept
from worker.core.planning.content import accepted, rewritten
from worker.core.planning.plan import Entry, Observed, Refused, UpToDate, VersionRow

THREE = a_bundle(1, 2, 3)
FIVE = a_bundle(1, 2, 3, 4, 5)
EMPTIED = replace(applied(1, 2), recorded=None)


@pytest.mark.parametrize(
    ("bundle", "observed", "forgotten", "adopted"),
    [
        (FIVE, golang(2), (), (1, 2)),
        (FIVE, golang(4, ledger=(1, 2)), (), (3, 4)),
        (THREE, golang(7, ledger=(1, 2, 3)), (), (7,)),
        (FIVE, golang(1, ledger=(1, 2, 3)), (2, 3), ()),
        (None, golang(1, ledger=(1, 2, 3)), (2, 3), ()),
        (None, EMPTIED, (1, 2), ()),
        # Moved back to a version that was passed over here.
        (FIVE, golang(4, ledger=(1, 2, 5)), (5,), (3, 4)),
    ],
)
def test_the_ledger_forgets_what_is_above_and_takes_over_what_it_lacks(
    bundle: Bundle | None, observed: Observed, forgotten: tuple[int, ...], adopted: tuple[int, ...]
) -> None:
    found = accept(bundle, observed)
    assert isinstance(found, Accept)
    assert tuple(one.version for one in found.forgotten) == forgotten
    assert tuple(one.version for one in found.adopted) == adopted


@pytest.mark.parametrize("observed", [applied(), applied(1, 2), golang(3, ledger=(1, 2, 3))])
def test_where_both_agree_there_is_nothing_to_accept(observed: Observed) -> None:
    assert accept(FIVE, observed) == accept(None, observed) == UpToDate()


@pytest.mark.parametrize(
    ("observed", "reason", "way_out"),
    [
        (golang(2, dirty=True, ledger=(1,)), "dirty", "tidegate force 2"),
        (applied(1, half_done=half_up(2)), "half_done", "tidegate force 2"),
        (applied(1, 2, half_done=half_down(2)), "half_done", "tidegate force 2"),
        (replace(applied(1, half_done=half_up(2)), recorded=VersionRow(3, dirty=False)), "diverged", "tidegate force"),
        (Observed(rivals=("public.other",)), "version_table", "--migrations-table"),
        (golang(0), "unrelated", "different applications"),
        (golang(7, ledger=(8,)), "unrelated", "different applications"),
    ],
)
def test_what_cannot_be_believed_is_refused(observed: Observed, reason: str, way_out: str) -> None:
    found = accept(FIVE, observed)
    assert isinstance(found, Refused)
    assert found.reason == reason
    assert way_out in found.hint


def test_moved_up_needs_a_bundle_and_a_rewritten_one_will_not_do() -> None:
    without = accept(None, golang(4, ledger=(1, 2)))
    assert isinstance(without, Refused)
    assert "--source" in without.hint
    observed = golang(4, ledger=(1, 2))
    changed = replace(observed, ledger=(replace(entry(1), checksum="0" * 64), entry(2)))
    contradicted = accept(FIVE, changed)
    assert isinstance(contradicted, Refused)
    assert contradicted.reason == "checksum"


def changed_at(*versions: int) -> Observed:
    """A database with versions 1 to 3, of which these were applied from other files."""
    ledger = tuple(
        replace(one, checksum="0" * 64) if one.version in versions else one for one in applied(1, 2, 3).ledger
    )
    return Observed(ledger, VersionRow(3, dirty=False))


def test_rewritten_files_are_found_by_their_checksums() -> None:
    (found,) = rewritten(FIVE, changed_at(2))
    assert (found.version, found.name, found.file, found.recorded) == (2, "m2", "2_m2.up.sql", "0" * 64)
    assert found.present == entry(2).checksum
    assert rewritten(FIVE, changed_at()) == ()


def test_without_a_recorded_checksum_nothing_differs() -> None:
    assert rewritten(FIVE, Observed((Entry(1, "", None),), VersionRow(1, dirty=False))) == ()


def test_versions_are_accepted_once_and_in_order() -> None:
    found = accepted(FIVE, changed_at(1, 3), (3, 1, 3))
    assert not isinstance(found, Refused)
    assert [one.version for one in found] == [1, 3]


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ((1, 2), "version 2 cannot be accepted: its file is not known to differ from what was applied"),
        ((1, 4), "version 4 cannot be accepted: it is not applied"),
        ((9, 1), "version 9 cannot be accepted: the bundle does not have it"),
    ],
)
def test_one_version_that_cannot_be_accepted_refuses_all(versions: tuple[int, ...], message: str) -> None:
    found = accepted(FIVE, changed_at(1), versions)
    assert isinstance(found, Refused)
    assert found.message == message
    assert "tidegate admin repair" in found.hint


def test_nothing_of_another_application_is_accepted() -> None:
    found = accepted(a_bundle(20), changed_at(1), (1,))
    assert isinstance(found, Refused)
    assert found.reason == "unrelated"
