"""Durations, moments and numbers as a page shows them; `page.js` writes running times in the same words."""

from datetime import UTC, datetime

_MILLISECOND, _SECOND, _MINUTE = 0.001, 1, 60
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def elapsed(seconds: float) -> str:
    """Whole seconds in the two largest units: `3 min 5 s`."""
    left = max(0, int(seconds))
    first = next((place for place, (size, _) in enumerate(_STEPS) if left >= size), len(_STEPS) - 1)
    size, unit = _STEPS[first]
    text = f"{left // size} {unit}"
    if first + 1 == len(_STEPS):
        return text
    smaller, name = _STEPS[first + 1]
    return f"{text} {left % size // smaller} {name}"


def ago(seconds: float) -> str:
    """Whole seconds in the largest unit: `3 min ago`."""
    value, unit, *_ = elapsed(seconds).split(" ")
    return f"{value} {unit} ago"


def took(seconds: float) -> str:
    """How long something took, exact where it was short: `12 ms`, `2.5 s`, `3 min 5 s`."""
    if seconds < _SECOND:
        return f"{seconds * 1000:.0f} ms" if seconds >= _MILLISECOND else "under 1 ms"
    return f"{seconds:.1f} s" if seconds < _MINUTE else elapsed(seconds)


def iso(moment: datetime) -> str:
    """For a machine."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(moment: datetime) -> str:
    """For a person: date and time in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def moment(text: str) -> datetime | None:
    """A time that the server wrote, None where it is not known."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def number(value: int) -> str:
    """With narrow spaces between thousands."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def count(value: int, noun: str) -> str:
    """`1 session`, `2 sessions`."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"
