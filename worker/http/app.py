"""The HTTP face as an ASGI application, made from plain callables; nothing here changes state.

| path | answer |
| --- | --- |
| `/livez` | 200 as long as the event loop turns, whatever the database does |
| `/startupz` | 200: the settings are read |
| `/readyz?at_least=V` or `bundle=L`, `target=T` | 200 or 503, and `ready`, `requirement`, `why`, `message`; 400 |
| `/readyz?target=T` of a fleet | the same of that target alone, read in its own database; 404 where there is none |
| `/metrics` | Prometheus' text format |
| `/status.json` | the document of `worker.core.status.status_document` |
| `/` | the status page, and what it needs: `/page.css`, `/page.js`, `/mark.svg` |
| `/events` | server-sent events: the regions of the page that changed, or a beat |

GET and HEAD only; every error is an object with `error` and, where there is one, `hint`.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from worker.core.planning.readiness import Requirement
from worker.core.status.probe import Answer, Reading, answer, probe
from worker.core.status.snapshot import Snapshot
from worker.core.status.status_document import status_document
from worker.core.value import dataclass
from worker.errors import UsageError
from worker.http.guard import Guard
from worker.http.query import parse
from worker.http.stream import PATH, Press, Streams

Ask = Callable[[str], Awaitable[Reading | None]]
"""Asks about one target of a fleet by its name; None where there is none."""


@dataclass(frozen=True, slots=True)
class _Face:
    """The endpoints; `requirement` is this worker's own, `ask` None where there is no fleet."""

    snapshot: Callable[[], Snapshot]
    requirement: Requirement | None
    metrics_text: Callable[[], tuple[bytes, str]]
    ask: Ask | None

    async def livez(self, _request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def startupz(self, _request: Request) -> Response:
        return JSONResponse({"started": True})

    async def readyz(self, request: Request) -> Response:
        question = parse(request.query_params.multi_items())
        requirement, snapshot = question.requirement or self.requirement, self.snapshot()
        if self.ask is None or question.target is None:
            return _answered(probe(snapshot, requirement, question.target), HTTPStatus.SERVICE_UNAVAILABLE)
        reading, name = await self.ask(question.target), question.target
        said = answer(reading, name, requirement, draining=snapshot.draining)
        return _answered(said, HTTPStatus.NOT_FOUND if reading is None else HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(self, _request: Request) -> Response:
        body, content_type = self.metrics_text()
        return Response(body, headers={"content-type": content_type})

    async def status(self, _request: Request) -> Response:
        return JSONResponse(status_document(self.snapshot()))

    async def page(self, _request: Request) -> Response:
        from worker.http.page import POLICY, render_page  # noqa: PLC0415  costs memory that an unseen page need not

        return HTMLResponse(render_page(self.snapshot(), self.requirement), headers={"content-security-policy": POLICY})

    async def static(self, request: Request) -> Response:
        from worker.http.page import STATIC, static  # noqa: PLC0415  the same

        path = request.url.path
        return Response(static(path), headers={"content-type": STATIC[path]})

    def regions(self, snapshot: Snapshot) -> Mapping[str, str]:
        from worker.http.page import render_regions  # noqa: PLC0415  the same

        return render_regions(snapshot, self.requirement)


def build_app(
    snapshot: Callable[[], Snapshot],
    requirement: Requirement | None,
    metrics_text: Callable[[], tuple[bytes, str]],
    now: Callable[[], datetime],
    ask: Ask | None = None,
) -> ASGIApp:
    """The application; `metrics_text` gives a body and its content type, `now` the time with its zone."""
    face = _Face(snapshot, requirement, metrics_text, ask)
    streams = Streams(Press(snapshot, face.regions), now)

    async def events(request: Request) -> Response:
        return streams.answer(request)

    endpoints = {
        "/livez": face.livez,
        "/startupz": face.startupz,
        "/readyz": face.readyz,
        "/metrics": face.metrics,
        "/status.json": face.status,
        "/": face.page,
        "/page.css": face.static,
        "/page.js": face.static,
        "/mark.svg": face.static,
        PATH: events,
    }
    app = Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()],
        exception_handlers={HTTPException: _refused, UsageError: _misused, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return Guard(app)


def _answered(said: Answer, otherwise: HTTPStatus) -> Response:
    body = {"ready": said.ready, "requirement": said.requirement, "why": said.why, "message": said.message}
    return JSONResponse(body, status_code=HTTPStatus.OK if said.ready else otherwise)


async def _refused(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse({"error": HTTPStatus(status).phrase.lower()}, status_code=status, headers=headers)


async def _misused(_request: Request, error: Exception) -> Response:
    hint = error.hint if isinstance(error, UsageError) else ""
    return JSONResponse({"error": str(error), "hint": hint}, status_code=HTTPStatus.BAD_REQUEST)


async def _broken(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "internal error"}, status_code=HTTPStatus.INTERNAL_SERVER_ERROR)
