import re
from pathlib import Path

import pytest

from worker.postgres import queries as module
from worker.postgres.contents import as_one_value
from worker.postgres.queries import queries, quote_literal, with_schema, with_values

FILES = sorted(path.stem for path in Path(module.__file__).parent.glob("*.sql"))


@pytest.mark.parametrize("file", FILES)
def test_every_query_has_a_text_without_its_description(file: str) -> None:
    found = queries(file, "tidegate")

    assert found
    assert all(sql.strip() and not sql.lstrip().startswith("--") for sql in found.values())


@pytest.mark.parametrize("file", FILES)
def test_no_placeholder_for_the_schema_is_left(file: str) -> None:
    assert not [name for name, sql in queries(file, "tidegate").items() if ':"' in sql or ":'" in sql]


@pytest.mark.parametrize("file", FILES)
def test_names_are_unique_and_parameters_count_from_one(file: str) -> None:
    text = Path(module.__file__).with_name(f"{file}.sql").read_text(encoding="utf-8")
    found = queries(file, "tidegate")
    assert len(found) == text.count("-- name: ")
    for name, sql in found.items():
        whole = re.sub(r"(?<!:):(\w+)", lambda part: found.get(part[1], part[0]), sql)
        numbers = {int(number) for number in re.findall(r"\$(\d+)", whole)}
        assert numbers == set(range(1, len(numbers) + 1)), name


@pytest.mark.parametrize("file", FILES)
def test_no_parameter_is_of_a_type_that_the_driver_has_to_look_up_first(file: str) -> None:
    arrays = {name: re.findall(r"\$\d+::([\w.]+)\[\]", sql) for name, sql in queries(file, "tidegate").items()}

    assert not {name: kinds for name, kinds in arrays.items() if set(kinds) - {"text"}}


@pytest.mark.parametrize(
    ("text", "quoted"), [("plain", "'plain'"), ("it's", "'it''s'"), ("back\\slash", " E'back\\\\slash'"), ("", "''")]
)
def test_a_literal_is_quoted(text: str, quoted: str) -> None:
    assert quote_literal(text) == quoted


def test_the_schema_goes_in_as_identifier_and_as_string() -> None:
    assert with_schema(":\"schema\".t = :'schema'", 'a"b') == '"a""b".t = \'a"b\''


def test_values_go_in_where_their_numbers_stand() -> None:
    sql = "SELECT $2::text, $1, $3, $4, $2;\n"

    filled = with_values(sql, -7, "it's $1", None, ["a", "b'c"])

    assert filled == "SELECT 'it''s $1'::text, (-7), NULL, ARRAY['a', 'b''c']::text[], 'it''s $1'"


def test_contents_become_one_value_with_their_places_and_lengths() -> None:
    contents = [b"abc", b"", b"de"]

    value, places, lengths = as_one_value(contents)

    cut = [value[int(place) - 1 :][: int(length)] for place, length in zip(places, lengths, strict=True)]
    assert cut == contents
    assert as_one_value(contents[:1])[0] is contents[0]
