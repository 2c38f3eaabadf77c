"""Passwords that no output must hold: one in a file is known anew once the file has changed, and not before."""

from pathlib import Path

import pytest

from worker.cli import secrets
from worker.cli.secrets import secrets_of
from worker.log import MASK, Redactor
from worker.settings.reading import read_settings

HOST = "postgres://u@h/d"
FLEET = '[[targets]]\ndatabase = { env = "TENANT_URL" }\nschemas = ["a"]\n'


def redactor(environ: dict[str, str]) -> Redactor:
    return Redactor(secrets_of(read_settings(environ, {}, worker="w")))


def passfile(path: Path, password: str) -> Path:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"*:*:*:*:{password}\n", encoding="utf-8")
    return path


def test_a_password_of_the_url_is_masked() -> None:
    assert redactor({"DB_URL": "postgres://u:first@h/d"}).mask("first") == MASK


def test_a_rotated_password_is_masked_and_the_one_before_stays_so(tmp_path: Path) -> None:
    file = passfile(tmp_path / "pass", "first")
    masking = redactor({"DB_URL": f"{HOST}?passfile={file}"})
    assert masking.mask("first") == MASK
    passfile(file, "second")
    assert masking.mask("first second") == f"{MASK} {MASK}"


def test_a_passfile_that_is_made_later_is_known(tmp_path: Path) -> None:
    masking = redactor({"DB_URL": f"{HOST}?passfile={tmp_path / 'pass'}"})
    assert masking.mask("first") == "first"
    passfile(tmp_path / "pass", "first")
    assert masking.mask("first") == MASK


def test_a_url_file_may_name_another_passfile_later(tmp_path: Path) -> None:
    url = tmp_path / "url"
    url.write_text(f"{HOST}?passfile={passfile(tmp_path / 'one', 'first')}", encoding="utf-8")
    masking = redactor({"DB_URL_FILE": str(url)})
    assert masking.mask("first") == MASK
    url.write_text(f"{HOST}?passfile={passfile(tmp_path / 'another', 'second')}", encoding="utf-8")
    assert masking.mask("second") == MASK
    passfile(tmp_path / "another", "third")
    assert masking.mask("third") == MASK


def test_a_rotated_passfile_behind_a_reference_of_a_fleet_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, file = tmp_path / "fleet.toml", passfile(tmp_path / "pass", "first")
    fleet.write_text(FLEET, encoding="utf-8")
    monkeypatch.setenv("TENANT_URL", f"{HOST}?passfile={file}")
    masking = redactor({"DB_URL": HOST, "TIDEGATE_FLEET": str(fleet)})
    assert masking.mask("first") == MASK
    passfile(file, "second")
    assert masking.mask("second") == MASK


def test_a_file_that_stays_as_it_is_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masking = redactor({"DB_URL": f"{HOST}?passfile={passfile(tmp_path / 'pass', 'first')}"})
    assert masking.mask("first") == MASK

    def fail(*_args: object) -> str:
        raise AssertionError("it was read again")

    monkeypatch.setattr(secrets, "read_password", fail)
    assert masking.mask("first") == MASK
    passfile(tmp_path / "pass", "second")
    with pytest.raises(AssertionError):
        masking.mask("second")
