"""Durations as people write them, `250ms`, `20s`, `5m`, `1h` or `0`, to whole milliseconds and back."""

MAX_DURATION_MS = 2**31 - 1
"""About 24.8 days: the most that Postgres takes for a timeout, an int of milliseconds."""

_UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_MAX_DIGITS = len(str(MAX_DURATION_MS))


def parse_duration(text: str) -> int:
    """Read a duration.

    Returns:
        Milliseconds, from 0 to `MAX_DURATION_MS`.

    Raises:
        ValueError: The text is no duration or too long. The words go behind the name of what was set:
            `lock_timeout` + " " + `got '2 s'; it takes …`.
    """
    if text == "0":
        return 0
    number = text.rstrip("hms")
    unit = text[len(number) :]
    if not (number.isascii() and number.isdigit()) or unit not in _UNITS_MS:
        raise ValueError(f"got {text!r:.60}; it takes a whole number and a unit (250ms, 20s, 5m, 1h), or 0")
    number = number.lstrip("0") or "0"
    if len(number) > _MAX_DIGITS or int(number) * _UNITS_MS[unit] > MAX_DURATION_MS:
        raise ValueError(f"got {text!r:.60}; it takes at most 596h, or {MAX_DURATION_MS}ms")
    return int(number) * _UNITS_MS[unit]


def format_duration(milliseconds: int) -> str:
    """Write milliseconds, 0 or more, exactly and in the largest unit that allows it: 90000 is `90s`."""
    if milliseconds == 0:
        return "0"
    unit = next(unit for unit, size in _UNITS_MS.items() if milliseconds % size == 0)
    return f"{milliseconds // _UNITS_MS[unit]}{unit}"
