"""Sizes, counts and times as people read them: three digits, and a unit."""

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
_COUNTS = ("", " k", " M", " G", " T")
_STEP = 1024
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def size_text(size_bytes: int) -> str:
    """Write a size as PostgreSQL's pg_size_pretty does, in units of 1,024: 1536 is `1.5 kB`."""
    return _scaled(size_bytes, _STEP, _SIZES, " ")


def count_text(count: int) -> str:
    """Write a number that is an estimate: 4012345 is `4 M`, 999 is `999`."""
    return _scaled(count, 1000, _COUNTS, "")


def _scaled(value: float, step: int, units: tuple[str, ...], gap: str) -> str:
    place = 0
    while value >= step and place < len(units) - 1:
        value, place = value / step, place + 1
    digits = 1 if place and value < 100 else 0  # noqa: PLR2004  three digits tell it all
    number = f"{value:.{digits}f}".removesuffix(".0")
    return f"{number}{gap}{units[place]}"


def seconds_text(seconds: float) -> str:
    """Write how long something took: `3.2 ms`, `4.5 s`, `2 min 5 s`, `1 h 20 min`, `3 d 2 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms" if seconds else "0 ms"
    if seconds < _MINUTE - 0.05:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, name, small, small_name in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // small} {small_name}"
    return f"{whole // _MINUTE} min {whole % _MINUTE} s"
