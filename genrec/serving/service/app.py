"""The application of a service: its routes, errors and web page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from genrec.serving.service.gate import Gate
from genrec.serving.service.routes import problem_text, router
from genrec.serving.service.schemas import problems
from genrec.serving.service.served_run import UnknownNameError
from genrec.serving.service.service import Service
from genrec.version import __version__

PAGE = Path(__file__).parents[1] / "page"
"""The folder of the web page."""
_ASSETS = {".html", ".css", ".js", ".svg", ".png", ".ico", ".webmanifest"}


def create_app(service: Service, on_loaded: Callable[[], object] = lambda: None) -> FastAPI:
    """The application of a service.

    Args:
        service: its runs are loaded when the application starts.
        on_loaded: called when they are loaded, or could not be loaded.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start(on_loaded)
        yield
        service.stop()

    app = FastAPI(
        title="genrec",
        version=__version__,
        summary="Recommendations of finished runs.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=problems(401, 421, 429, 500),
    )
    app.state.service = service
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UnknownNameError, _unknown)
    app.add_exception_handler(Exception, _bug)
    page = {f"/{file.relative_to(PAGE).as_posix()}": file for file in PAGE.rglob("*") if file.suffix in _ASSETS}
    page["/"] = PAGE / "index.html"
    for path, file in page.items():
        app.add_api_route(path, _sender(file), include_in_schema=False, response_class=Response)
    app.add_middleware(Gate, service=service, is_page=page.__contains__)
    if service.settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    if service.settings.api_key is not None:
        document = app.openapi()
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return app


def _sender(file: Path) -> Callable[[], Response]:
    def send() -> Response:
        if not file.is_file():
            return PlainTextResponse("This installation has no web page; the API is described in /openapi.json.", 404)
        return FileResponse(file, headers={"cache-control": "no-cache"})

    return send


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": problem_text(error.errors())}, 422)


async def _unknown(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error).encode("ascii", "backslashreplace").decode()}, 404)


async def _bug(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "a bug in genrec or a plugin; the log of the service has the details"}, 500)
