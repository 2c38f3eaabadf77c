from hypothesis import given
from hypothesis import strategies as st

from worker.core.sql.tokens import first_keyword, keywords

_PIECES = ["e'a'", "E", "'", '"a"', "select", "é", "İ", "$1", "$$", "--", "/*", "*/", "\n", " ", ";", "1", "_a", "eE'"]


@given(st.lists(st.sampled_from(_PIECES), max_size=6).map("".join))
def test_the_first_keyword_is_the_first_of_all(sql: str) -> None:
    assert first_keyword(sql) == next(iter(keywords(sql, 1)), "")
