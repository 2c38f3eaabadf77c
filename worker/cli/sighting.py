"""What is seen of a migration while it runs, in the words of the terminal's pictures."""

from worker.core.status.sighting import Sighting


def wait_of(sighting: Sighting) -> str:
    """Whom it waits for, or else who waits behind it; "" for neither."""
    if sighting.ahead is not None:
        return f"waits for a lock of {sighting.ahead}"
    if sighting.behind:
        count, first = len(sighting.behind), sighting.behind[0]
        return f"{count} session{'' if count == 1 else 's'} wait{'s' if count == 1 else ''} behind it, longest {first}"
    return ""
