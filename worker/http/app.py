"""The HTTP face as an ASGI application, made from plain callables; nothing here changes state.

| path | answer |
| --- | --- |
| `/livez` | 200 as long as the event loop turns, whatever the database does |
| `/startupz` | 200: the settings are read |
| `/readyz?at_least=V` or `bundle=L`, `target=T` | 200 or 503, and `ready`, `requirement`, `why`, `message`; 400 |
| `/metrics` | Prometheus' text format |
| `/status.json` | the document of `worker.core.status_document` |
| `/` | a page in plain text |

GET and HEAD only; every error is an object with `error` and, where there is one, `hint`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from worker.core.probe import probe
from worker.core.readiness import Requirement
from worker.core.snapshot import Snapshot
from worker.core.status_document import status_document
from worker.core.value import dataclass
from worker.errors import UsageError
from worker.http.guard import Guard
from worker.http.query import parse

_PAGE = """{line}

/livez        the event loop turns
/startupz     the settings are read
/readyz       ?at_least=VERSION or bundle=LABEL, target=SCHEMA.TABLE
/metrics      for Prometheus
/status.json  all that this worker knows
"""


@dataclass(frozen=True, slots=True)
class _Face:
    """The endpoints; `requirement` is this worker's own."""

    snapshot: Callable[[], Snapshot]
    requirement: Requirement | None
    metrics_text: Callable[[], tuple[bytes, str]]
    now: Callable[[], datetime]

    async def livez(self, _request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def startupz(self, _request: Request) -> Response:
        return JSONResponse({"started": True})

    async def readyz(self, request: Request) -> Response:
        question = parse(request.query_params.multi_items())
        answer = probe(self.snapshot(), question.requirement or self.requirement, question.target)
        body = {
            "ready": answer.ready,
            "requirement": answer.requirement,
            "why": answer.why,
            "message": answer.message,
        }
        return JSONResponse(body, status_code=HTTPStatus.OK if answer.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(self, _request: Request) -> Response:
        body, content_type = self.metrics_text()
        return Response(body, headers={"content-type": content_type})

    async def status(self, _request: Request) -> Response:
        return JSONResponse(status_document(self.snapshot()))

    async def page(self, _request: Request) -> Response:
        snapshot = self.snapshot()
        answer = probe(snapshot, self.requirement, None)
        up = timedelta(seconds=int((self.now() - snapshot.started_at).total_seconds()))
        line = f"tidegate {snapshot.version}, worker {snapshot.worker}, up {up}: {answer.message}"
        return PlainTextResponse(_PAGE.format(line=line))


def build_app(
    snapshot: Callable[[], Snapshot],
    requirement: Requirement | None,
    metrics_text: Callable[[], tuple[bytes, str]],
    now: Callable[[], datetime],
) -> ASGIApp:
    """The application; `metrics_text` gives a body and its content type, `now` the time with its zone."""
    face = _Face(snapshot, requirement, metrics_text, now)
    endpoints = {
        "/livez": face.livez,
        "/startupz": face.startupz,
        "/readyz": face.readyz,
        "/metrics": face.metrics,
        "/status.json": face.status,
        "/": face.page,
    }
    app = Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()],
        exception_handlers={HTTPException: _refused, UsageError: _misused, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return Guard(app)


async def _refused(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse({"error": HTTPStatus(status).phrase.lower()}, status_code=status, headers=headers)


async def _misused(_request: Request, error: Exception) -> Response:
    hint = error.hint if isinstance(error, UsageError) else ""
    return JSONResponse({"error": str(error), "hint": hint}, status_code=HTTPStatus.BAD_REQUEST)


async def _broken(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "internal error"}, status_code=HTTPStatus.INTERNAL_SERVER_ERROR)
