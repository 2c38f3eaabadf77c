"""What a person must know of a fleet within seconds."""

from worker.core.status.fleet_status import BAD, STATES, in_states
from worker.core.status.snapshot import Snapshot
from worker.core.status.tone import Summary, Tone

_RETRY = "Mend the cause that is named below; then tidegate retry tries again what failed, and nothing else"


def of_fleet(snapshot: Snapshot) -> Summary | None:
    """Say what matters most of a fleet; None for one target."""
    if not snapshot.is_fleet:
        return None
    return _of_halts(snapshot) or _of_failures(snapshot) or _of_work(snapshot)


def _of_halts(snapshot: Snapshot) -> Summary | None:
    if not snapshot.halted:
        return None
    halt, more = snapshot.halted[0], len(snapshot.halted) - 1
    title = f"{halt.line} is halted" + (f", and {_count(more, 'other line')}" if more else "")
    ended = f"{_count(halt.failures, 'target')} ended badly, and {halt.budget} may: {halt.left} are left alone"
    return Summary(Tone.BAD, title, ended, _RETRY)


def _of_failures(snapshot: Snapshot) -> Summary | None:
    bad, wrong = in_states(snapshot.fleet, BAD), snapshot.misdeclared
    if wrong and not bad:
        return Summary(Tone.BAD, "A person is needed", f"{wrong[0].group}: {wrong[0].message}", wrong[0].hint)
    if not bad:
        return None
    verb = "needs" if bad == 1 else "need"
    return Summary(Tone.BAD, f"{_count(bad, 'target')} {verb} a person", _counted(snapshot), _RETRY)


def _of_work(snapshot: Snapshot) -> Summary:
    counts = snapshot.fleet
    due = in_states(counts, ("due",))
    if not counts:
        return Summary(
            Tone.IDLE, "No targets yet", "The fleet's file and its queries yield none, and none is registered"
        )
    if due and all(count.wanted is None for count in counts):
        advice = "tidegate publish DIRECTORY --line LINE says what to bring it to"
        return Summary(Tone.IDLE, "Nothing wanted yet", "No bundle is published for any line", advice)
    if snapshot.at_work or in_states(counts, ("running",)) or due:
        return Summary(Tone.BUSY, "Applying", _counted(snapshot))
    if in_states(counts, ("unreachable", "waiting")):
        return Summary(Tone.WAITING, "Waiting", _counted(snapshot), "They are tried again by themselves")
    return Summary(Tone.GOOD, "Ready", _counted(snapshot))


def _counted(snapshot: Snapshot) -> str:
    """The whole fleet in one line."""
    words = {"succeeded": "up to date", "in_doubt": "in doubt", "left_alone": "left alone"}
    found = [(state, in_states(snapshot.fleet, (state,))) for state in reversed(STATES)]
    parts = ", ".join(f"{number} {words.get(state, state)}" for state, number in found if number)
    return f"Of {_count(sum(count.targets for count in snapshot.fleet), 'target')}: {parts}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
