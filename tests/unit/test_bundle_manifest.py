"""`bundle.toml` and labels."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.core.bundles.bundle import Manifest, OrderPolicy, build_bundle, parse_manifest
from worker.errors import BundleError

FILES = {"1_a.up.sql": b"SELECT 1;", "5_b.up.sql": b"SELECT 2;"}


def test_all_keys_are_read() -> None:
    raw = b'label = "1.4.0"\nline = "api"\nserves = 3\norder = "apply"\n'
    assert parse_manifest(raw) == Manifest("1.4.0", "api", 3, OrderPolicy.APPLY)


def test_all_keys_are_optional() -> None:
    assert parse_manifest(b"\xef\xbb\xbf# nothing\r\n") == Manifest()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'lable = "x"', "bundle.toml: unknown key 'lable'"),
        (b'[tool]\nlabel = "x"', "bundle.toml: unknown key 'tool'"),
        (b"label = 14", "bundle.toml: label got a value of type int; it takes a string"),
        (b"label = ''", "bundle.toml: label got ''; it takes a string"),
        (b"label = 'a b'", "bundle.toml: label 'a b' is not acceptable"),
        (b"line = ['x']", "bundle.toml: line got a value of type list; it takes a string"),
        (b'line = "a\\nb"', "bundle.toml: line got 'a\\nb'; it takes a string"),
        (b"serves = '3'", "bundle.toml: serves got '3'; it takes a version"),
        (b"serves = true", "bundle.toml: serves got True; it takes a version"),
        (b"serves = -1", "bundle.toml: serves got a value of type int; it takes a version"),
        (b"serves = 9223372036854775808", "bundle.toml: serves got a value of type int; it takes a version"),
        (b"serves = 3.0", "bundle.toml: serves got 3.0; it takes a version"),
        (b"order = 'ignore'", "bundle.toml: order got 'ignore'; it takes one of error, apply, skip"),
        (b"order = ['error']", "bundle.toml: order got a value of type list; it takes one of error, apply, skip"),
    ],
)
def test_a_wrong_key_or_value_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse_manifest(raw)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_a_syntax_error_is_refused_with_its_line() -> None:
    with pytest.raises(BundleError, match=r"^bundle\.toml: .*line 2"):
        parse_manifest(b'label = "x"\nline = \n')


@given(st.binary(max_size=40) | st.text(alphabet='labeservord=\n"[]{}1.#', max_size=40).map(str.encode))
@example(b"serves = " + b"9" * 5_000)
@example(b"serves = 0x" + b"f" * 50_000)
@example(b"line = " + b"[" * 30_000)
def test_any_bytes_give_a_manifest_or_a_bundle_error(raw: bytes) -> None:
    assert outcome(raw).startswith(("Manifest(", "bundle.toml: "))


def outcome(raw: bytes) -> str:
    try:
        return repr(parse_manifest(raw))
    except BundleError as error:
        return error.message


def test_a_bundle_cannot_serve_only_what_it_does_not_have() -> None:
    assert build_bundle({**FILES, "bundle.toml": b"serves = 5"}).manifest.serves == 5
    with pytest.raises(BundleError, match=r"^bundle\.toml: serves is 6, above the bundle's highest version 5$"):
        build_bundle({**FILES, "bundle.toml": b"serves = 6"})


def test_a_manifest_of_more_than_64_kib_is_refused() -> None:
    with pytest.raises(BundleError, match=r"^'bundle\.toml' has more than 65536 bytes$"):
        build_bundle({**FILES, "bundle.toml": b"#" * 65_537})


def test_the_given_label_goes_before_the_manifests_and_that_before_the_derived_one() -> None:
    labelled = {**FILES, "bundle.toml": b'label = "1.4.0"'}
    assert build_bundle(labelled, "1.4.1").label == "1.4.1"
    assert build_bundle(labelled).label == "1.4.0"
    bundle = build_bundle(FILES)
    assert bundle.label == f"dir-{bundle.digest[:12]}"


def test_the_given_label_is_not_part_of_the_digest() -> None:
    assert build_bundle(FILES, "1").digest == build_bundle(FILES, "2").digest


@pytest.mark.parametrize("label", ["1", "v1.4.0", "2026-01-31_a+b", "x" * 128])
def test_an_ordinary_label_is_accepted(label: str) -> None:
    assert build_bundle(FILES, label).label == label


@pytest.mark.parametrize("label", ["", ".1", "-v", "_", "+", "a b", "a/b", "a:b", "é", "a\n", "\u0661", "x" * 129])
def test_any_other_label_is_refused(label: str) -> None:
    with pytest.raises(BundleError, match=r"^the label .* is not acceptable$"):
        build_bundle(FILES, label)
