"""What is done about a cut statement, by what it left: every case of each kind."""

import pytest

from worker.core.running.recovery import Build, Detach, Drop, Opaque, Presence, QualifiedName, Repeatable, Thing, Wanted
from worker.core.running.remains import (
    Ask,
    Attachment,
    Before,
    Clear,
    Done,
    Existence,
    Finalize,
    Found,
    Likeness,
    Namesake,
    Refuse,
    Run,
    Step,
    judge_build,
    judge_detach,
    judge_drop,
    judge_presence,
    judge_rebuild,
    judge_unseen,
    shown,
)

NEW, FAILED, CUT = Before.NOT_BEGUN, Before.FAILED, Before.CUT
SAME, OTHER, UNKNOWN = Likeness.SAME, Likeness.OTHER, Likeness.UNKNOWN
INDEX, TABLE = QualifiedName("s", "i"), QualifiedName("s", "t")


def build(*, named: bool = True, tolerant: bool = False) -> Build:
    return Build(INDEX if named else None, TABLE, is_unique=False, is_tolerant=tolerant, rest="(a)")


def there(likeness: Likeness, *, valid: bool) -> tuple[Namesake, ...]:
    return (Namesake(INDEX, valid, likeness),)


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("before", Before)
def test_an_invalid_index_of_its_own_is_dropped_whenever_it_is_found(before: Before, tolerant: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert judge_build(build(tolerant=tolerant), before, there(SAME, valid=False)) == Clear((INDEX,))


@pytest.mark.parametrize("before", Before)
def test_an_invalid_index_of_another_is_never_dropped_and_never_a_success(before: Before) -> None:
    assert isinstance(judge_build(build(tolerant=True), before, there(OTHER, valid=False)), Refuse)
    assert isinstance(judge_build(build(tolerant=True), before, there(UNKNOWN, valid=False)), Refuse)
    assert isinstance(judge_build(build(), before, there(UNKNOWN, valid=False)), Refuse)
    assert isinstance(judge_build(build(), before, there(OTHER, valid=False)), Run)


@pytest.mark.parametrize(
    ("before", "likeness", "kind"),
    [
        (NEW, SAME, Run),
        (FAILED, SAME, Run),
        (CUT, SAME, Done),
        (CUT, OTHER, Run),
        (CUT, UNKNOWN, Ask),
    ],
)
def test_a_valid_index_is_what_a_cut_build_wanted_only_if_it_is_the_same(
    before: Before, likeness: Likeness, kind: type[Step]
) -> None:
    assert isinstance(judge_build(build(), before, there(likeness, valid=True)), kind)


@pytest.mark.parametrize(
    ("before", "found", "kind"),
    [
        (NEW, there(SAME, valid=False), Run),
        (FAILED, there(SAME, valid=False), Clear),
        (CUT, there(SAME, valid=False), Clear),
        (CUT, (*there(SAME, valid=True), *there(SAME, valid=False)), Clear),
        (FAILED, there(SAME, valid=True), Run),
        (CUT, there(SAME, valid=True), Done),
        (CUT, there(OTHER, valid=False), Run),
        (FAILED, there(UNKNOWN, valid=False), Run),
        (CUT, there(UNKNOWN, valid=True), Ask),
        (CUT, (), Run),
    ],
)
def test_an_index_that_the_server_named_is_found_by_its_definition(
    before: Before, found: tuple[Namesake, ...], kind: type[Step]
) -> None:
    assert isinstance(judge_build(build(named=False), before, found), kind)


@pytest.mark.parametrize(
    ("before", "found", "kind"),
    [
        (NEW, None, Run),
        (FAILED, None, Run),
        (CUT, None, Done),
        (CUT, Found(INDEX, is_valid=False, is_sure=False), Run),
        (CUT, Found(INDEX, is_valid=True, is_sure=True), Run),
        (CUT, Found(INDEX, is_valid=True, is_sure=False), Ask),
    ],
)
def test_a_cut_drop_is_finished_and_drops_no_namesake(before: Before, found: Found | None, kind: type[Step]) -> None:
    assert isinstance(judge_drop(Drop(INDEX), before, found), kind)


def test_what_a_reindex_left_is_dropped_before_it_is_repeated() -> None:
    assert judge_rebuild(NEW, (INDEX,)) == Run()
    assert judge_rebuild(FAILED, (INDEX,)) == judge_rebuild(CUT, (INDEX,)) == Clear((INDEX,))
    assert isinstance(judge_rebuild(CUT, ()), Run)


@pytest.mark.parametrize(
    ("before", "attachment", "kind"),
    [
        (NEW, Attachment.PENDING, Run),
        (FAILED, Attachment.PENDING, Finalize),
        (CUT, Attachment.PENDING, Finalize),
        (CUT, Attachment.NONE, Done),
        (FAILED, Attachment.NONE, Run),
        (CUT, Attachment.ATTACHED, Run),
    ],
)
def test_a_cut_detachment_is_finished(before: Before, attachment: Attachment, kind: type[Step]) -> None:
    assert isinstance(judge_detach(Detach(TABLE, INDEX), before, attachment), kind)


@pytest.mark.parametrize(
    ("wanted", "existence", "kind"),
    [
        (Wanted.THERE, Existence.THERE, Done),
        (Wanted.THERE, Existence.GONE, Run),
        (Wanted.THERE, Existence.INVALID, Refuse),
        (Wanted.GONE, Existence.GONE, Done),
        (Wanted.GONE, Existence.THERE, Run),
        (Wanted.GONE, Existence.INVALID, Run),
    ],
)
def test_presence_tells_what_became_of_a_cut_statement(wanted: Wanted, existence: Existence, kind: type[Step]) -> None:
    presence = Presence(Thing.DATABASE, "d", wanted)
    assert isinstance(judge_presence(presence, CUT, existence), kind)
    assert judge_presence(presence, FAILED, existence) == judge_presence(presence, NEW, existence) == Run()


def test_what_nobody_can_see_is_asked_unless_it_may_be_repeated() -> None:
    assert isinstance(judge_unseen(Opaque(), CUT), Ask)
    assert isinstance(judge_unseen(Repeatable(), CUT), Run)
    assert judge_unseen(Opaque(), FAILED) == judge_unseen(Opaque(), NEW) == Run()


def test_a_name_is_shown_quoted() -> None:
    assert shown(QualifiedName('S"', "t.x")) == '"S"""."t.x"'
    assert shown(QualifiedName(None, "t")) == '"t"'
