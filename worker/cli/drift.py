"""What `status --drift` and `admin fingerprint` print."""

from typing import TYPE_CHECKING

from worker.cli.output import print_json, print_line, print_table
from worker.core.status.drift import Difference, Drift, Unknown, Verdict
from worker.core.status.masking import Mask, masked_verdict
from worker.errors import ExitCode
from worker.jobs.drift import find_drift
from worker.jobs.look import look
from worker.postgres.faults import told

if TYPE_CHECKING:
    from worker.cli.app import App

_WIDTH = 60
_HEAD = ("change", "kind", "object", "part", "was", "is", "last right after")


async def show_drift(app: "App", *, as_json: bool) -> ExitCode:
    """Compare, and print what differs; writes nothing."""
    async with app.session() as session:
        async with told(session, "looking at the target"):
            view = await look(session, app.site)
        verdict = await find_drift(session, view)
    print_verdict(view.survey.target.name, verdict, app.mask, as_json=as_json)
    return ExitCode.OK


def print_verdict(target: str, verdict: Verdict, mask: Mask, *, as_json: bool) -> None:
    """Print what was found, as a table or as the document, without secrets."""
    verdict = masked_verdict(verdict, mask)
    if as_json:
        print_json({"target": target, **_document(verdict)})
        return
    match verdict:
        case Unknown(why):
            print_line(f"{target}: drift is not known: {why}")
        case Drift(bundle, _, ()):
            print_line(f"{target}: no drift since bundle {bundle}")
        case Drift(bundle, _, differences):
            print_line(f"{target}: {_objects(len(differences))} not what bundle {bundle} left")
            print_table(_HEAD, [row for one in differences for row in _rows(one)], least=("was", "is"))


def _objects(number: int) -> str:
    return "1 object is" if number == 1 else f"{number} objects are"


def _rows(one: Difference) -> list[tuple[object, ...]]:
    head = (one.change.value, one.thing.kind, one.thing.name)
    if not one.parts:
        return [(*head, None, None, None, one.right_until)]
    return [(*head, part.name, _short(part.was), _short(part.now), one.right_until) for part in one.parts]


def _short(text: str | None) -> str | None:
    line = None if text is None else " ".join(text.split())
    return line if line is None or len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _document(verdict: Verdict) -> dict[str, object]:
    if isinstance(verdict, Unknown):
        return {"unknown": verdict.why, "bundle": None, "taken_at": None, "differences": []}
    taken_at = verdict.taken_at.isoformat().replace("+00:00", "Z")
    differences = [_difference(one) for one in verdict.differences]
    return {"unknown": None, "bundle": verdict.bundle, "taken_at": taken_at, "differences": differences}


def _difference(one: Difference) -> dict[str, object]:
    return {
        "kind": one.thing.kind,
        "object": one.thing.name,
        "change": one.change.value,
        "right_until": one.right_until,
        "parts": [{"part": part.name, "was": part.was, "now": part.now} for part in one.parts],
    }
