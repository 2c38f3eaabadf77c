"""What is wanted on a line, and what a publish makes of it."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.bundles.bundle import Relation, build_bundle, derived_label, relation
from worker.core.bundles.wanted import (
    AlreadyWanted,
    Intent,
    Kept,
    KeptBecause,
    KnownNowWanted,
    LabelTaken,
    New,
    Offer,
    PublishDecision,
    Published,
    decide_publish,
    wanted,
)

FORWARD = {Relation.SAME, Relation.EXTENDS}


def offer(ups: str, label: str | None = None, extra: str = "") -> Offer:
    """Offer the bundle whose version n has the n-th letter as its content; `extra` changes the digest alone."""
    files = {f"{version}_x.up.sql": content.encode() for version, content in enumerate(ups, start=1)}
    bundle = build_bundle({**files, "1_x.down.sql": extra.encode()}, label)
    return Offer(bundle.label, bundle.digest, bundle.checksums)


@dataclass
class Line:
    """A line to which decisions are applied as the control tables apply them."""

    rows: list[Published] = field(default_factory=list)

    def publish(self, one: Offer, intent: Intent) -> PublishDecision:
        decision = decide_publish(one, self.rows, intent)
        match decision:
            case New():
                seq = self._next()
                self.rows.append(
                    Published(len(self.rows), one.label, one.digest, seq, withdrawn=False, checksums=one.checksums)
                )
            case KnownNowWanted(bundle):
                self._put(replace(bundle, wanted_seq=self._next(), withdrawn=False))
            case AlreadyWanted() | Kept() | LabelTaken():
                pass
        return decision

    def explicit(self, one: Offer) -> PublishDecision:
        return self.publish(one, Intent.EXPLICIT)

    def automatic(self, one: Offer) -> PublishDecision:
        return self.publish(one, Intent.AUTOMATIC)

    def withdraw(self) -> None:
        head = wanted(self.rows)
        assert head is not None
        self._put(replace(head, withdrawn=True))

    @property
    def head(self) -> str | None:
        found = wanted(self.rows)
        return None if found is None else found.label

    def _put(self, row: Published) -> None:
        self.rows[row.id] = row

    def _next(self) -> int:
        return 1 + max((row.wanted_seq or 0 for row in self.rows), default=0)


def line_of(*offers: Offer) -> Line:
    line = Line()
    for one in offers:
        line.explicit(one)
    return line


@pytest.mark.parametrize("intent", Intent)
def test_the_first_offer_on_a_line_becomes_wanted(intent: Intent) -> None:
    line = Line()
    assert line.publish(offer("a", "1"), intent) == New(None)
    assert line.head == "1"


@pytest.mark.parametrize("intent", Intent)
def test_the_wanted_bundle_again_is_a_no_op(intent: Intent) -> None:
    line = line_of(offer("a", "1"))
    assert line.publish(offer("a", "1"), intent) == AlreadyWanted(line.rows[0])


@pytest.mark.parametrize("intent", Intent)
def test_an_offer_that_nobody_labelled_is_the_published_bundle_of_its_content(intent: Intent) -> None:
    line = line_of(offer("a", "1"))
    assert line.publish(offer("a"), intent) == AlreadyWanted(line.rows[0])


@pytest.mark.parametrize("intent", Intent)
def test_other_content_under_a_used_label_is_refused(intent: Intent) -> None:
    line = line_of(offer("a", "1"), offer("ab", "2"))
    assert line.publish(offer("abc", "1"), intent) == LabelTaken("1", line.rows[0].digest)
    assert line.publish(offer("ab", "1"), intent) == LabelTaken("1", line.rows[0].digest)
    assert line.head == "2"


@pytest.mark.parametrize("intent", Intent)
def test_the_wanted_content_under_another_label_is_a_new_bundle_that_is_wanted(intent: Intent) -> None:
    line = line_of(offer("a", "1"))
    assert line.publish(offer("a", "2"), intent) == New(Relation.SAME)
    assert line.head == "2"
    assert line.rows[0].digest == line.rows[1].digest


@pytest.mark.parametrize("intent", Intent)
def test_an_offer_that_extends_what_is_wanted_becomes_wanted(intent: Intent) -> None:
    line = line_of(offer("a", "1"))
    assert line.publish(offer("ab", "2"), intent) == New(Relation.EXTENDS)
    assert line.head == "2"


def test_other_content_with_the_same_up_files_becomes_wanted() -> None:
    line = line_of(offer("a", "1"))
    assert line.automatic(offer("a", extra="corrected")) == New(Relation.SAME)


@pytest.mark.parametrize(
    ("ups", "because", "how"),
    [("a", KeptBecause.OLDER, Relation.OLDER), ("ax", KeptBecause.DIVERGED, Relation.DIVERGED)],
)
def test_an_unknown_offer_that_leads_elsewhere_is_kept_out_unless_a_person_publishes_it(
    ups: str, because: KeptBecause, how: Relation
) -> None:
    line = line_of(offer("ab", "2"))
    assert line.automatic(offer(ups, "1")) == Kept(line.rows[0], because)
    assert len(line.rows) == 1
    assert line.explicit(offer(ups, "1")) == New(how)
    assert line.head == "1"


def test_a_known_bundle_becomes_wanted_again_when_a_person_publishes_it() -> None:
    line = line_of(offer("a", "1"), offer("ab", "2"))
    known = line.rows[0]
    assert line.explicit(offer("a")) == KnownNowWanted(known, Relation.OLDER)
    assert line.head == "1"
    assert len(line.rows) == 2


def test_an_image_that_was_passed_over_by_a_person_does_not_take_the_line_back() -> None:
    line = line_of(offer("a", "1"), offer("ab", "2"), offer("a", "1"))
    assert line.automatic(offer("ab", "2")) == Kept(line.rows[0], KeptBecause.PASSED_OVER)
    assert line.automatic(offer("ab", "2.1")) == Kept(line.rows[0], KeptBecause.PASSED_OVER)
    assert line.automatic(offer("abc", "3")) == New(Relation.EXTENDS)


def test_a_withdrawal_makes_the_previous_bundle_wanted() -> None:
    line = line_of(offer("a", "1"), offer("ab", "2"))
    line.withdraw()
    assert line.head == "1"
    line.withdraw()
    assert line.head is None


@pytest.mark.parametrize("label", ["2", "2.1", None])
def test_withdrawn_content_is_not_revived_by_a_process(label: str | None) -> None:
    line = line_of(offer("a", "1"), offer("ab", "2"))
    line.withdraw()
    assert line.automatic(offer("ab", label)) == Kept(line.rows[0], KeptBecause.WITHDRAWN)


def test_withdrawn_content_is_not_revived_on_a_line_that_wants_nothing() -> None:
    line = line_of(offer("a", "1"))
    line.withdraw()
    assert line.automatic(offer("a")) == Kept(None, KeptBecause.WITHDRAWN)
    assert line.automatic(offer("ab")) == New(None)


def test_a_withdrawn_label_is_not_revived_while_its_content_is_wanted_under_another() -> None:
    line = line_of(offer("a", "1"), offer("a", "2"))
    line.withdraw()
    assert line.automatic(offer("a", "2")) == Kept(line.rows[0], KeptBecause.WITHDRAWN)
    assert line.automatic(offer("a")) == AlreadyWanted(line.rows[0])


def test_a_person_revives_what_was_withdrawn() -> None:
    line = line_of(offer("a", "1"), offer("ab", "2"))
    line.withdraw()
    withdrawn = line.rows[1]
    assert line.explicit(offer("ab")) == KnownNowWanted(withdrawn, Relation.EXTENDS)
    assert line.head == "2"


def test_a_bundle_that_was_never_wanted_is_not_the_head() -> None:
    one = offer("a", "1")
    row = Published(1, one.label, one.digest, None, withdrawn=False, checksums=one.checksums)
    assert wanted([row]) is None
    assert decide_publish(one, [row], Intent.AUTOMATIC) == Kept(None, KeptBecause.PASSED_OVER)
    assert decide_publish(one, [row], Intent.EXPLICIT) == KnownNowWanted(row, None)


offers = st.builds(
    offer, st.text(alphabet="ab", min_size=1, max_size=4), st.sampled_from(["1", "2", None]), st.sampled_from(["", "e"])
)
steps = st.lists(st.tuples(offers, st.sampled_from(Intent)) | st.just("withdraw"), max_size=8)


def replay(history: list[tuple[Offer, Intent] | str]) -> Line:
    line = Line()
    for step in history:
        if isinstance(step, tuple):
            line.publish(*step)
        elif wanted(line.rows) is not None:
            line.withdraw()
    return line


@given(st.lists(offers, max_size=8))
def test_automatic_offers_never_leave_a_bundle_for_one_that_does_not_extend_it(some: list[Offer]) -> None:
    line = Line()
    for one in some:
        before = wanted(line.rows)
        line.automatic(one)
        after = wanted(line.rows)
        assert after is not None or before is None
        assert before is None or (after is not None and relation(after.checksums, before.checksums) in FORWARD)


@given(st.permutations(["a", "ab", "abc", "abcd"]))
def test_replicas_of_four_releases_agree_on_the_newest_in_whatever_order_they_start(releases: list[str]) -> None:
    line = Line()
    for ups in [*releases, *releases]:
        line.automatic(offer(ups, f"release-{len(ups)}"))
    assert line.head == "release-4"


@given(steps, offers, st.sampled_from(Intent))
def test_an_offer_made_twice_changes_nothing_the_second_time(
    history: list[tuple[Offer, Intent] | str], one: Offer, intent: Intent
) -> None:
    line = replay(history)
    first = line.publish(one, intent)
    rows = list(line.rows)
    second = line.publish(one, intent)
    assert line.rows == rows
    assert isinstance(second, AlreadyWanted) == isinstance(first, AlreadyWanted | New | KnownNowWanted)


@given(steps, offers)
def test_after_an_explicit_publish_its_content_is_wanted_or_the_label_was_taken(
    history: list[tuple[Offer, Intent] | str], one: Offer
) -> None:
    line = replay(history)
    decision = line.explicit(one)
    head = wanted(line.rows)
    if isinstance(decision, LabelTaken):
        assert decision.digest != one.digest
        return
    assert head is not None
    assert head.digest == one.digest
    assert head.label == one.label or one.label == derived_label(one.digest)


@given(steps, offers)
def test_an_automatic_offer_never_revives_a_withdrawn_row(
    history: list[tuple[Offer, Intent] | str], one: Offer
) -> None:
    line = replay(history)
    withdrawn = [row for row in line.rows if row.withdrawn]
    line.automatic(one)
    assert [row for row in line.rows if row.withdrawn] == withdrawn


@given(steps)
def test_labels_stay_unique_and_the_head_is_the_last_that_became_wanted(
    history: list[tuple[Offer, Intent] | str],
) -> None:
    rows = replay(history).rows
    assert len({row.label for row in rows}) == len(rows)
    head = wanted(rows)
    live = [row.wanted_seq for row in rows if not row.withdrawn]
    assert (None if head is None else head.wanted_seq) == max(live, default=None)
