"""A seal is canonical: whatever is changed in it, or in what it is about, is another message or no seal at all."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.bundles.limits import MAX_SEAL_BYTES
from worker.core.bundles.seal import (
    DOMAIN,
    MAX_SEQUENCE,
    MAX_SIGNATURES,
    Claims,
    Seal,
    checked,
    digests_of,
    message_of,
    parse_seal,
    parse_time,
    render_seal,
    render_time,
)
from worker.errors import RefusedError

CLAIMS = Claims("shop", "schema_migrations", "1.4.0", 42)
FILES = digests_of({"1_a.up.sql": b"SELECT 1", "bundle.toml": b"serves = 1"})
SEAL = Seal(CLAIMS, "0" * 64, (("ab" * 8, b"\1" * 64),))

texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=30).filter(
    str.isprintable
)
labels = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}", fullmatch=True)
times = st.integers(0, 253_402_300_799)
claims = st.builds(Claims, texts, texts, labels, st.integers(0, MAX_SEQUENCE), st.none() | texts, st.none() | times)
signatures = st.dictionaries(
    st.binary(min_size=8, max_size=8).map(bytes.hex), st.binary(min_size=64, max_size=64), min_size=1,
    max_size=MAX_SIGNATURES,
).map(lambda made: tuple(made.items()))  # fmt: skip
seals = st.builds(Seal, claims, st.binary(min_size=32, max_size=32).map(bytes.hex), signatures)
files = st.dictionaries(texts, st.binary(max_size=20), max_size=4)


def parts(*values: bytes) -> bytes:
    return DOMAIN + b"".join(len(value).to_bytes(8, "big") + value for value in values)


def test_the_message_is_what_is_documented_to_the_byte() -> None:
    said = replace(CLAIMS, database="app", expires=7)
    names = [b"1_a.up.sql", sha256(b"SELECT 1").digest(), b"bundle.toml", sha256(b"serves = 1").digest()]

    assert DOMAIN == b"tidegate bundle signature 1\n"
    assert message_of(said, FILES) == parts(b"shop", b"schema_migrations", b"1.4.0", b"app", b"42", b"7", b"2", *names)
    assert message_of(CLAIMS, {}) == parts(b"shop", b"schema_migrations", b"1.4.0", b"", b"42", b"", b"0")


def test_a_seal_is_written_one_line_an_item() -> None:
    seal = replace(SEAL, claims=replace(CLAIMS, database="app", expires=parse_time("2027-01-31T12:00:00Z")))

    assert render_seal(seal).splitlines() == [
        "tidegate bundle signature 1",
        "audience shop",
        "line schema_migrations",
        "label 1.4.0",
        "sequence 42",
        "database app",
        "expires 2027-01-31T12:00:00Z",
        f"digest {'0' * 64}",
        f"ed25519 {'ab' * 8} {'01' * 64}",
    ]


@given(seals)
def test_what_is_written_reads_back_as_it_was(seal: Seal) -> None:
    assert parse_seal(render_seal(seal).encode()) == seal


@given(claims, claims, files, files)
def test_no_two_bundles_or_claims_make_the_same_message(
    one: Claims, other: Claims, mine: dict[str, bytes], theirs: dict[str, bytes]
) -> None:
    same = (one, mine) == (other, theirs)
    assert (message_of(one, mine) == message_of(other, theirs)) is same
    assert message_of(one, mine) == message_of(one, dict(reversed(mine.items())))


@given(claims, files, st.data())
def test_a_change_of_any_claim_is_another_message(said: Claims, mine: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["audience", "line", "label", "sequence", "database", "expires"]))
    value = data.draw(claims.map(lambda other: getattr(other, name)).filter(lambda it: it != getattr(said, name)))
    assert message_of(replace(said, **{name: value}), mine) != message_of(said, mine)


@given(seals, st.data())
def test_a_changed_byte_is_another_seal_or_none(seal: Seal, data: st.DataObject) -> None:
    raw = bytearray(render_seal(seal).encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    assert parse_or_none(bytes(raw)) != seal


@given(st.binary(max_size=300) | st.binary(max_size=300).map(DOMAIN.__add__) | st.text().map(str.encode))
def test_the_parser_takes_anything_and_refuses_what_is_no_seal(raw: bytes) -> None:
    with pytest.raises(RefusedError, match=r"bundle\.sig is malformed"):
        parse_seal(raw)


@given(seals, st.data())
def test_lines_that_are_cut_repeated_or_moved_are_refused(seal: Seal, data: st.DataObject) -> None:
    lines = render_seal(seal).splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines) - 1))
    for wrong in (
        lines[:place] + lines[place + 1 :],
        lines[: place + 1] + lines[place:],
        lines[place:] + lines[:place],
    ):
        raw = "".join(wrong).encode()
        if wrong != lines and (not wrong or parse_or_none(raw) is not None):
            # Only an optional line, or one signature of several, can be missing.
            assert len(wrong) == len(lines) - 1
            assert parse_seal(raw) != seal


def parse_or_none(raw: bytes) -> Seal | None:
    try:
        return parse_seal(raw)
    except RefusedError:
        return None


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("signature 1", "signature 2", "newer format"),
        ("audience shop\n", "", "no audience"),
        ("sequence 42", "sequence 042", "not as tidegate bundle sign writes it"),
        ("sequence 42", "sequence -1", "a whole number"),
        ("sequence 42", f"sequence {MAX_SEQUENCE + 1}", "sequence got"),
        ("sequence 42", "sequence ٤٢", "a whole number"),
        ("sequence 42", f"sequence {'9' * 5000}", "a whole number"),
        ("label 1.4.0", "label a b", "label"),
        ("audience shop", "audience \x1b[2J", "printable"),
        ("audience shop", f"audience {'a' * 201}", "1 to 200"),
        ("digest 0", "digest G", "64 lower-case"),
        ("ed25519 abab", "ed25519 ABAB", "16 lower-case"),
        ("ed25519", "rsa", "1 to 8 signatures"),
        ("digest", "expires soon\ndigest", "a time got"),
        ("digest", "expires 2027-1-31T12:00:00Z\ndigest", "a time got"),
        ("digest", "unknown thing\ndigest", "not as tidegate bundle sign writes it"),
        ("tidegate", "\r\ntidegate", "newer format"),
        ("shop\n", "shop\r\n", "printable"),
    ],
)
def test_a_malformed_seal_says_why(old: str, new: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        parse_seal(render_seal(SEAL).replace(old, new, 1).encode())


def test_a_huge_seal_is_refused_before_it_is_read() -> None:
    with pytest.raises(RefusedError, match=f"more than {MAX_SEAL_BYTES} bytes"):
        parse_seal(b"\xff" * (MAX_SEAL_BYTES + 1))


def test_one_key_cannot_sign_twice_nor_too_many_keys_at_all() -> None:
    for made in (SEAL.signatures * 2, tuple((f"{n:016x}", b"\1" * 64) for n in range(MAX_SIGNATURES + 1))):
        with pytest.raises(RefusedError, match="1 to 8 signatures"):
            parse_seal(render_seal(replace(SEAL, signatures=made)).encode())


@given(times)
def test_a_time_is_written_in_one_way(seconds: int) -> None:
    assert parse_time(render_time(seconds)) == seconds


@pytest.mark.parametrize(
    "wrong", [{"sequence": -1}, {"audience": ""}, {"database": ""}, {"line": "a\nb"}, {"label": "/"}]
)
def test_claims_that_could_not_be_read_back_are_not_made(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        checked(replace(CLAIMS, **wrong))  # type: ignore[arg-type]  the wrong ones are the point
