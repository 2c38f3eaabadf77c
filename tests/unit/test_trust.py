"""Who is trusted with what, on real keys and without a server."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.signing import AUDIENCE, LINE, Signer, Told, new_signer
from tests.fixtures.sites import bundle_of, tables
from worker.bundles.keys import read_trusted
from worker.bundles.trust import OFF, Trust
from worker.core.bundles.bundle import Bundle, build_bundle, unsealed
from worker.core.bundles.seal import digests_of, render_seal
from worker.core.bundles.trust import Place, Policy
from worker.errors import RefusedError, SettingError

BUNDLE = bundle_of(tables(1, 2), "1.0", 'order = "skip"\nserves = 1')
PLACE = Place(LINE, "app")


@pytest.fixture(scope="module")
def ci(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return new_signer(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return new_signer(tmp_path_factory.mktemp("others"), "other")


def raw_seal(bundle: Bundle) -> bytes | None:
    return None if bundle.seal is None else render_seal(bundle.seal).encode()


def vetted(trust: Trust, bundle: Bundle, **files: bytes) -> Bundle:
    raw = raw_seal(bundle)
    given_files = {**bundle.files, **files, **({} if raw is None else {"bundle.sig": raw})}
    return build_bundle(given_files, vet=trust.vet)


def refusal(trust: Trust, bundle: Bundle) -> str:
    with pytest.raises(RefusedError) as raised:
        vetted(trust, bundle)
    assert raised.value.reason == "untrusted"
    assert raised.value.exit_code == 3
    assert raised.value.hint
    return raised.value.message


def test_a_signed_bundle_is_taken_with_the_label_and_the_line_that_were_signed(ci: Signer) -> None:
    signed = ci.sign(BUNDLE, label="9.9", line="other_line")

    taken = vetted(Told([ci.trusted]).trust(), signed)

    assert (taken.label, taken.manifest.line, taken.seal) == ("9.9", "other_line", signed.seal)
    assert "bundle.sig" not in taken.files
    assert taken.digest == BUNDLE.digest


def test_each_doubt_has_a_reason_of_its_own(ci: Signer, other: Signer) -> None:
    trust = Told([ci.trusted]).trust()
    signed = ci.sign(BUNDLE)
    assert signed.seal is not None
    forged = replace(signed, seal=replace(signed.seal, claims=replace(signed.seal.claims, sequence=99)))

    assert "it is not signed" in refusal(trust, BUNDLE)
    assert f"it is signed with the key {other.trusted.id}, and trusted are ci" in refusal(trust, other.sign(BUNDLE))
    assert "its signature is not that of its files and claims" in refusal(trust, forged)
    assert "signed for the audience bank, and this one is shop" in refusal(trust, ci.sign(BUNDLE, audience="bank"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.data())
def test_a_changed_byte_of_any_file_is_refused(ci: Signer, data: st.DataObject) -> None:
    signed = ci.sign(BUNDLE)
    name = data.draw(st.sampled_from(sorted(signed.files)))
    raw = bytearray(signed.files[name])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(RefusedError, match="not those that were signed"):
        build_bundle({**signed.files, name: bytes(raw), "bundle.sig": raw_seal(signed) or b""}, vet=OFF.vet)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.data())
def test_a_changed_byte_of_the_seal_is_refused(ci: Signer, data: st.DataObject) -> None:
    raw = bytearray(raw_seal(ci.sign(BUNDLE)) or b"")
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(RefusedError) as raised:
        build_bundle({**BUNDLE.files, "bundle.sig": bytes(raw)}, vet=Told([ci.trusted]).trust().vet)
    assert raised.value.reason == "untrusted"


def test_the_signature_is_checked_before_anything_is_parsed(ci: Signer) -> None:
    trust = Told([ci.trusted]).trust()

    with pytest.raises(RefusedError, match="not signed"):
        build_bundle({"1_a.up.sql": b"\xff", "bundle.toml": b"= ["}, vet=trust.vet)


def test_files_of_two_signed_bundles_cannot_be_mixed(ci: Signer) -> None:
    first, second = ci.sign(BUNDLE), ci.sign(bundle_of({1: "SELECT 1", 2: "SELECT 2"}, "1.0"))

    with pytest.raises(RefusedError, match="not those that were signed"):
        vetted(Told([ci.trusted]).trust(), first, **{"0002_m2.up.sql": second.files["0002_m2.up.sql"]})
    with pytest.raises(RefusedError, match="not those that were signed"):
        vetted(Told([ci.trusted]).trust(), replace(first, seal=second.seal))


def test_a_digest_that_was_put_right_does_not_help(ci: Signer) -> None:
    signed, forged = ci.sign(BUNDLE), bundle_of({1: "CREATE TABLE canary ()"}, "1.0")
    assert signed.seal is not None

    seal = replace(signed.seal, digest=forged.digest)

    assert "its signature is not that" in refusal(Told([ci.trusted]).trust(), replace(forged, seal=seal))


def test_a_key_is_rotated_while_both_sign_and_an_old_one_is_revoked(ci: Signer, other: Signer) -> None:
    both, old = ci.sign(BUNDLE, 1, other), ci.sign(BUNDLE)
    told = Told([ci.trusted])
    trust = told.trust()
    vetted(trust, both)
    told.keys = [ci.trusted, other.trusted]
    vetted(trust, both)
    vetted(trust, old)

    # The keys are read again each time: a worker need not be started anew.
    told.keys = [other.trusted]

    vetted(trust, both)
    assert "trusted are other" in refusal(trust, old)


def test_of_several_signatures_none_may_be_wrong(ci: Signer, other: Signer) -> None:
    both = ci.sign(BUNDLE, 1, other)
    assert both.seal is not None
    (first, _), second = both.seal.signatures
    broken = replace(both, seal=replace(both.seal, signatures=((first, b"\0" * 64), second)))

    assert "its signature is not that" in refusal(Told([ci.trusted, other.trusted]).trust(), broken)


def test_a_label_beside_the_signed_one_is_refused(ci: Signer) -> None:
    with pytest.raises(RefusedError, match=r"is signed as 1\.0, and the label 2\.0 was given"):
        build_bundle({**BUNDLE.files, "bundle.sig": raw_seal(ci.sign(BUNDLE)) or b""}, "2.0")


def test_a_bundle_that_is_signed_anew_leaves_its_old_seal() -> None:
    assert build_bundle({**BUNDLE.files, "bundle.sig": b"of other files"}, vet=unsealed).seal is None


def test_keys_that_cannot_be_read_trust_nobody(ci: Signer) -> None:
    told = Told([ci.trusted])
    trust = told.trust()
    vetted(trust, ci.sign(BUNDLE))
    told.lost = "the folder is gone"

    assert "the folder is gone" in refusal(trust, ci.sign(BUNDLE))


def test_a_place_is_checked_where_it_is_known(ci: Signer) -> None:
    trust, signed = Told([ci.trusted]).trust(), ci.sign(BUNDLE, database="app")
    trust.check_place(signed, PLACE)

    with pytest.raises(RefusedError, match="signed for the database app, and this one is copy"):
        trust.check_place(signed, Place(LINE, "copy"))
    with pytest.raises(RefusedError, match="signed for the line schema_migrations, and the target follows bank"):
        trust.check_place(signed, Place("bank", "app"))


def test_one_build_is_good_for_every_database_unless_it_names_one(ci: Signer) -> None:
    trust = Told([ci.trusted]).trust()
    for database in ("stage", "production", "restored"):
        trust.check_place(ci.sign(BUNDLE), Place(LINE, database))


def test_an_older_bundle_runs_nothing_upwards_once_a_newer_one_was_seen(ci: Signer) -> None:
    trust, old, new = Told([ci.trusted]).trust(), ci.sign(BUNDLE, 5), ci.sign(bundle_of(tables(1, 2, 3), "2.0"), 6)
    assert trust.warrant(old, (), PLACE, upwards=True)
    trust.seen(new)

    with pytest.raises(RefusedError, match="its sequence number 5 is below 6"):
        trust.warrant(old, (), PLACE, upwards=True)
    assert trust.warrant(old, (), PLACE, upwards=False)
    assert trust.warrant(new, (old,), PLACE, upwards=True)


def test_a_forged_number_is_not_kept_in_mind(ci: Signer) -> None:
    trust, signed = Told([ci.trusted]).trust(), ci.sign(BUNDLE, 5)
    assert signed.seal is not None

    trust.seen(replace(signed, seal=replace(signed.seal, claims=replace(signed.seal.claims, sequence=2**60))))

    assert trust.warrant(signed, (), PLACE, upwards=True)


def test_a_number_is_learnt_only_from_what_is_signed_for_this_place(ci: Signer, other: Signer) -> None:
    trust, old = Told([ci.trusted]).trust(), ci.sign(BUNDLE, 5)
    new = bundle_of(tables(1, 2, 3), "2.0")
    strange = [ci.sign(new, 9, line="bank"), ci.sign(new, 9, database="stage"), ci.sign(new, 9, audience="bank")]
    for one in (*strange, other.sign(new, 9)):
        trust.learn(one.digest, digests_of(one.files), raw_seal(one), PLACE)
    trust.learn(new.digest, digests_of(BUNDLE.files), raw_seal(ci.sign(new, 9)), PLACE)
    for raw in (None, b"no seal"):
        trust.learn(new.digest, digests_of(new.files), raw, PLACE)
    assert trust.warrant(old, (), PLACE, upwards=True)

    trust.learn(new.digest, digests_of(new.files), raw_seal(ci.sign(new, 9)), PLACE)

    assert trust.knows(new.digest)
    assert not trust.knows(old.digest)
    with pytest.raises(RefusedError, match="its sequence number 5 is below 9"):
        trust.warrant(old, (), PLACE, upwards=True)


def test_the_least_number_and_the_offered_directory_set_the_floor(ci: Signer) -> None:
    told = Told([ci.trusted])
    for trust in (told.trust(least=6), told.trust()):
        trust.offered(ci.sign(BUNDLE, 6))
        with pytest.raises(RefusedError, match="below 6"):
            trust.warrant(ci.sign(BUNDLE, 5), (), PLACE, upwards=True)
    with pytest.raises(RefusedError, match="below 6"):
        told.trust(least=6).warrant(ci.sign(BUNDLE, 5), (), PLACE, upwards=True)


def test_an_expired_bundle_is_not_published_and_is_still_applied(ci: Signer) -> None:
    told, signed = Told([ci.trusted], now=100.0), ci.sign(BUNDLE, expires=99)
    trust = told.trust()

    with pytest.raises(RefusedError, match="it was to be published until 1970-01-01T00:01:39Z"):
        trust.check_publishing(signed)
    assert vetted(trust, signed)
    assert trust.warrant(signed, (), PLACE, upwards=True)
    told.now = 99.0
    trust.check_publishing(signed)


def test_a_line_that_nobody_configured_is_refused(ci: Signer) -> None:
    told = Told([ci.trusted])
    offering = told.trust()
    offering.offered(ci.sign(BUNDLE, line="bank"))
    told.trust().check_line("schema_migrations", "schema_migrations")
    told.trust(line="bank").check_line("bank", "schema_migrations")
    offering.check_line("bank", "schema_migrations")

    with pytest.raises(RefusedError, match="the target's row says"):
        told.trust().check_line("bank", "schema_migrations")


def test_the_last_look_finds_a_text_that_was_not_signed(ci: Signer) -> None:
    signed = ci.sign(BUNDLE)
    warrant = Told([ci.trusted]).trust().warrant(signed, (), PLACE, upwards=True)
    assert warrant
    first, second = (migration.up for migration in signed.migrations)
    assert first
    assert second
    warrant.check(first)
    warrant.check(None)

    for wrong in (replace(first, sql=f"{first.sql} "), replace(first, sql=second.sql), replace(first, file="x")):
        with pytest.raises(RefusedError, match="not that of its files"):
            warrant.check(wrong)


def test_a_byte_order_mark_does_not_hide_a_file_from_the_last_look(ci: Signer) -> None:
    signed = ci.sign(build_bundle({"1_a.up.sql": "\ufeffSELECT 1".encode()}, "1.0"))
    warrant = Told([ci.trusted]).trust().warrant(signed, (), PLACE, upwards=True)
    assert warrant
    warrant.check(signed.migrations[0].up)


def test_warn_tells_and_goes_on(ci: Signer, other: Signer) -> None:
    told = Told([ci.trusted])
    trust = told.trust(Policy.WARN)

    assert vetted(trust, other.sign(BUNDLE))
    assert trust.warrant(BUNDLE, (), PLACE, upwards=True) is None

    assert len(told.doubts) == 2
    assert "signed with the key" in told.doubts[0]
    assert told.doubts[1] == "bundle 1.0 is not trusted: it is not signed"


def test_off_checks_nothing_and_reads_no_key() -> None:
    told = Told([], lost="keys were read")
    trust = told.trust(Policy.OFF)

    trust.ready()
    assert vetted(trust, BUNDLE).digest == BUNDLE.digest
    assert trust.warrant(BUNDLE, (), PLACE, upwards=True) is None
    assert told.doubts == []
    assert not trust


def test_an_audience_is_compared_as_it_is(ci: Signer) -> None:
    assert "this one is Shop" in refusal(Told([ci.trusted]).trust(audience=AUDIENCE.title()), ci.sign(BUNDLE))


def test_a_path_without_keys_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no key")
    (tmp_path / "junk.pub").write_text("no key")
    for paths, why in (([str(tmp_path)], "holds no public"), ([str(tmp_path / "gone.pub")], "cannot be read")):
        with pytest.raises(SettingError, match=why):
            read_trusted(paths)
    (tmp_path / "junk.pub").unlink()
    with pytest.raises(SettingError, match=r"there is no \.pub file"):
        read_trusted([str(tmp_path)])
