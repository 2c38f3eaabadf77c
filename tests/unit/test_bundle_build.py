"""Building a bundle: what it holds, and what is refused."""

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.bundles import limits
from worker.core.bundles.bundle import Bundle, Manifest, build_bundle, digest_of
from worker.errors import BundleError

UP, DOWN = "000001_users.up.sql", "000001_users.down.sql"

names = st.builds(
    "{}_{}.{}.sql".format,
    st.integers(0, 40),
    st.text(alphabet="abz. é", max_size=3),
    st.sampled_from(["up", "down"]),
)
contents = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12).map(
    lambda text: ("SELECT 1;" + text).encode()
)
file_sets = st.dictionaries(names, contents, min_size=1, max_size=6)


def build(*files: str) -> Bundle:
    return build_bundle(dict.fromkeys(files, b"SELECT 1;"))


def test_migrations_are_sorted_by_version_and_not_by_name() -> None:
    bundle = build("10_c.up.sql", "2_b.up.sql", "001_a.up.sql", "2_b.down.sql")
    assert bundle.versions == (1, 2, 10)
    assert bundle.latest == 10
    assert [migration.name for migration in bundle.migrations] == ["a", "b", "c"]


def test_a_side_without_a_file_is_none() -> None:
    bundle = build("1_up_only.up.sql", "2_down_only.down.sql")
    first, second = bundle.migrations
    assert first.up is not None
    assert first.down is None
    assert second.up is None
    assert second.down is not None
    assert second.name == "down_only"
    assert bundle.checksums == {1: sha256(b"SELECT 1;").hexdigest(), 2: None}


def test_where_the_names_differ_the_up_file_names_the_migration() -> None:
    assert build("1_undo.down.sql", "1_do.up.sql").migrations[0].name == "do"


def test_a_migration_is_found_by_its_version() -> None:
    bundle = build("3_a.up.sql", "7_b.up.sql", "9_c.up.sql")
    assert [bundle.get(version) for version in (3, 7, 9)] == list(bundle.migrations)
    assert [bundle.get(version) for version in (0, 4, 10)] == [None, None, None]


def test_other_files_are_left_out_of_the_bundle_and_its_digest() -> None:
    files = {UP: b"SELECT 1;", DOWN: b""}
    more = {**files, "README.md": b"\xff", "a.sql": b"", ".keep": b""}
    assert build_bundle(more) == build_bundle(files)
    assert set(build_bundle(more).files) == {UP, DOWN}


def test_the_files_of_a_bundle_cannot_be_changed() -> None:
    files = {UP: b"SELECT 1;"}
    bundle = build_bundle(files)
    files[DOWN] = b""
    assert set(bundle.files) == {UP}
    with pytest.raises(TypeError):
        bundle.files[DOWN] = b""  # type: ignore[index]


def test_the_digest_is_the_documented_one() -> None:
    def part(data: bytes) -> bytes:
        return len(data).to_bytes(8, "big") + data

    files = {"2_ü.up.sql": b"b", "1_a.up.sql": b"", "bundle.toml": b'label = "x"'}
    fed = b"".join(part(name.encode()) + part(files[name]) for name in ["1_a.up.sql", "2_ü.up.sql", "bundle.toml"])
    assert build_bundle(files).digest == sha256(fed).hexdigest()


def test_the_digest_never_changes_between_releases() -> None:
    digest = "9eea9d60e0ee2e8975cdfaa75d43762cea00230859fc20eead7a831c458b9ce0"
    assert build_bundle({"1_a.up.sql": b"SELECT 1;", "bundle.toml": b""}).digest == digest


@given(file_sets, file_sets)
def test_two_sets_of_files_share_a_digest_only_if_they_are_equal(
    one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    assert (digest_of(one) == digest_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": b"bc"}, {"ab": b"c"}),
        ({"a": b"", "b": b""}, {"a": b"b"}),
        ({"a": (1).to_bytes(8, "big") + b"b" + bytes(8)}, {"a": b"", "b": b""}),
    ],
)
def test_a_byte_does_not_move_between_names_and_contents(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert digest_of(one) != digest_of(other)


@given(file_sets, st.randoms())
def test_a_bundle_does_not_depend_on_the_order_of_its_files(files: dict[str, bytes], random: Random) -> None:
    shuffled = list(files.items())
    random.shuffle(shuffled)
    assert outcome(dict(shuffled)) == outcome(files)


@given(st.dictionaries(st.text(max_size=20) | names, st.binary(max_size=40), max_size=5))
def test_any_files_make_a_bundle_or_a_bundle_error(files: dict[str, bytes]) -> None:
    result = outcome(files)
    if isinstance(result, Bundle):
        assert list(result.versions) == sorted(set(result.versions))
        assert digest_of(result.files) == result.digest


def outcome(files: dict[str, bytes]) -> Bundle | str:
    try:
        return build_bundle(files)
    except BundleError as error:
        return error.message


@pytest.mark.parametrize("files", [{}, {"README.md": b""}, {"bundle.toml": b""}])
def test_a_bundle_without_a_migration_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(BundleError, match=r"^the shelf holds no migration$"):
        build_bundle(files, source="the shelf")


@pytest.mark.parametrize("second", ["1_b.up.sql", "0001_a.up.sql", "001_a.up.sql.bak"])
def test_two_files_for_one_side_are_refused_by_their_names(second: str) -> None:
    with pytest.raises(BundleError, match=r"are both the up file of version 1$") as caught:
        build("001_a.up.sql", second, "2_c.up.sql")
    assert "001_a.up.sql" in caught.value.message
    assert second in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"SELECT 1;\n\xff", f"{UP}, line 2: not UTF-8 at byte 10"),
        (b"a\n\nb\0", f"{UP}, line 3: a NUL character"),
        (b"-- tidegate: gate=maybe", f"{UP}, line 1: gate got 'maybe'"),
    ],
)
def test_an_unusable_file_is_refused_by_its_name_and_line(content: bytes, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        build_bundle({UP: content})
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    "name", ["1_a/b.up.sql", "1_\x1b[31m.up.sql", "1_\0.up.sql", "1_\udcff.up.sql", f"1_{'ü' * 130}.up.sql"]
)
def test_a_file_name_that_cannot_be_stored_or_printed_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match=r"^the file name '1_.*' is not acceptable$") as caught:
        build(name)
    assert caught.value.message.isprintable()


def test_a_version_above_bigint_is_refused() -> None:
    with pytest.raises(BundleError, match=r"too high"):
        build("1_a.up.sql", "9223372036854775808_b.up.sql")


def test_a_file_of_20_megabytes_is_accepted_and_one_over_the_cap_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.MAX_FILE_BYTES >= 20_000_000
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 1_000)
    build_bundle({UP: b" " * 1_000})
    with pytest.raises(BundleError, match=f"^'{UP}' has more than 1000 bytes$"):
        build_bundle({UP: b" " * 1_001})


def test_files_over_the_total_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 10)
    build_bundle({UP: b" " * 5, DOWN: b" " * 5})
    with pytest.raises(BundleError, match=r"^the bundle has more than 10 bytes of files$"):
        build_bundle({UP: b" " * 5, DOWN: b" " * 6})


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_FILES", 1)
    with pytest.raises(BundleError, match=r"^the bundle holds more than 1 files$"):
        build(UP, DOWN)


def test_a_bundle_without_a_manifest_says_nothing() -> None:
    assert build(UP).manifest == Manifest()
