"""A parser that knows only the settings that its words name says the same of them as one that knows all."""

import pytest

from worker.cli.arguments import _named, parser_for
from worker.errors import UsageError

WORDS = [
    ["up"],
    ["up", "3", "--json"],
    ["up", "-s", "DIR", "-d", "URL"],
    ["up", "-sDIR", "-dURL"],
    ["up", "-source", "DIR", "-database", "URL"],
    ["up", "-path", "DIR"],
    ["up", "-path=DIR"],
    ["up", "-p", "DIR"],
    ["up", "-pat", "DIR"],
    ["up", "-sour", "DIR"],
    ["up", "--sour", "DIR"],
    ["up", "-1"],
    ["up", "-x"],
    ["-p", "DIR", "up"],
    ["down", "-y"],
    ["down", "-ys", "DIR"],
    ["down", "-ysDIR"],
    ["down", "-ydURL"],
    ["down", "-yh"],
    ["down", "-yyy"],
    ["down", "-all", "-y"],
    ["down", "-al"],
    ["wait", "--at-least", "3", "--timeout", "1s"],
    ["goto", "3", "--lock-timeout", "5s", "-ys", "DIR"],
    ["-version"],
    ["-v"],
    ["-"],
    ["up", "-h"],
]


def said(argv: list[str], *, of_all: bool, capsys: pytest.CaptureFixture[str]) -> object:
    """The settings and arguments that it reads, or what it says instead."""
    parser = parser_for(argv) if of_all else parser_for(argv, _named(argv))
    try:
        return {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    except UsageError as error:
        return error.message
    except SystemExit as end:
        return (end.code, *capsys.readouterr())


@pytest.mark.parametrize("argv", WORDS, ids=" ".join)
def test_flags_are_understood_however_they_are_joined_and_shortened(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(argv, of_all=False, capsys=capsys) == said(argv, of_all=True, capsys=capsys)
