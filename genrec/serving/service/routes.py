"""The routes of the service: JSON in, JSON out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import ValidationError

from genrec.errors import DataError
from genrec.serving.service import schemas
from genrec.serving.service.batching import QueueFullError, StoppedError
from genrec.serving.service.images import MAX_SIZE, MIN_SIZE
from genrec.serving.service.metrics import CONTENT_TYPE
from genrec.serving.service.schemas import problems
from genrec.serving.service.served_run import Question, ServedRun
from genrec.serving.service.service import Service
from genrec.serving.service.settings import MAX_NAME, MAX_QUERY

router = APIRouter()

RETRY = {"retry-after": "1"}
_PREFIX = r"^([0-9]{1,9}(,[0-9]{1,9}){0,31})?$"


def _any_service(request: Request) -> Service:
    return request.app.state.service


def _ready_service(request: Request) -> Service:
    service: Service = request.app.state.service
    if not service.is_ready:
        raise HTTPException(503, "the models are being loaded; GET /ready answers 200 afterwards", RETRY)
    return service


AnyService = Annotated[Service, Depends(_any_service)]
ReadyService = Annotated[Service, Depends(_ready_service)]
RunName = Annotated[str | None, Query(max_length=MAX_QUERY, description="Name of the run; default: the first.")]


def _run(service: ReadyService, run: RunName = None) -> ServedRun:
    return service.run(run)


Run = Annotated[ServedRun, Depends(_run)]
StreamName = Annotated[
    str | None,
    Query(max_length=MAX_QUERY, description="A stream with item vectors; by default one with codes."),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most entries to return.")]
Offset = Annotated[int, Query(ge=0, le=10**9, description="Entries to leave out.")]


@router.get("/health", tags=["state"])
async def health() -> schemas.Health:
    """Whether the process answers."""
    return schemas.Health(status="ok")


@router.get("/ready", tags=["state"], responses=problems(503))
async def ready(service: ReadyService) -> schemas.Health:
    """Whether the models are loaded and requests are accepted."""
    if service.is_stopping:
        raise HTTPException(503, "the service is being stopped", RETRY)
    return schemas.Health(status="ready")


@router.get(
    "/metrics",
    tags=["state"],
    response_class=Response,
    responses={200: {"description": "Text format of Prometheus.", "content": {"text/plain": {}}}},
)
async def metrics(service: AnyService) -> Response:
    """Counts and times of requests, and sizes of batches."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/runs", tags=["runs"], responses=problems(503))
def runs(service: ReadyService) -> list[schemas.RunDescription]:
    """The runs that are served, with their streams, merges and metrics."""
    return [schemas.RunDescription(**run.describe()) for run in service.runs.values()]


@router.post(
    "/recommend",
    tags=["recommendations"],
    response_class=Response,
    responses={
        200: {"model": schemas.RecommendResponse, "description": "A list for each history."},
        **problems(404, 408, 413, 415, 422, 503),
    },
    openapi_extra={  # FastAPI's own parameters and checks cost as much as a tenth of the model's work
        "parameters": [
            {
                "name": "run",
                "in": "query",
                "description": "Name of the run; default: the first.",
                "schema": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schemas.RecommendRequest.model_json_schema()}},
        },
    },
)
async def recommend(request: Request) -> Response:
    """Recommend the next items for one history or several."""
    service = _ready_service(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Content-Type: expected application/json")
    try:
        wanted = schemas.RecommendRequest.model_validate_json(await request.body())
    except ValidationError as error:
        raise HTTPException(422, problem_text(error.errors(include_url=False, include_context=False))) from None
    served = service.run(request.query_params.get("run") if wanted.run is None else wanted.run)
    served.check_merge(wanted.merge)
    question = Question(served.name, wanted.k, wanted.seen, tuple(wanted.exclude), wanted.merge, wanted.explain)
    try:
        lists = await service.batcher.compute(question, wanted.listed(), service.settings.deadline_s)
    except QueueFullError:
        raise HTTPException(429, "too many histories are waiting; try again later", RETRY) from None
    except StoppedError:
        raise HTTPException(503, "the service is being stopped", RETRY) from None
    except TimeoutError:
        text = f"not answered within {service.settings.deadline_s:g} seconds; try again later"
        raise HTTPException(503, text, RETRY) from None
    except DataError as error:
        raise HTTPException(422, str(error)) from None
    return Response(b'{"run":%b,"results":[%b]}' % (served.json_name, b",".join(lists)), media_type="application/json")


@router.get("/items", tags=["items"], responses=problems(404, 422, 503))
def items(
    run: Run,
    q: Annotated[str, Query(max_length=MAX_QUERY, description="Words of a title or key; empty: all items.")] = "",
    limit: Limit = 20,
    offset: Offset = 0,
) -> schemas.FoundItems:
    """Items whose title or key contains all words, the most popular first."""
    return schemas.FoundItems(**run.search(q, limit, offset))


@router.get("/items/{key:path}", tags=["items"], responses=problems(404, 422, 503))
def item(key: str, run: Run) -> schemas.ItemDetails:
    """An item and its semantic IDs, by key or else by title."""
    return schemas.ItemDetails(**run.item(key))


@router.get("/similar/{key:path}", tags=["items"], responses=problems(404, 422, 503))
def similar(
    key: str,
    run: Run,
    k: Annotated[int, Query(ge=1, le=200, description="Number of items.")] = 10,
    stream: StreamName = None,
) -> schemas.SimilarItems:
    """The items whose vectors in a stream have the largest cosine similarity."""
    return schemas.SimilarItems(**run.similar(key, k, stream))


@router.get("/tree/{stream:path}", tags=["items"], responses=problems(404, 422, 503))
def tree(
    stream: str,
    run: Run,
    prefix: Annotated[str, Query(pattern=_PREFIX, description="Codes of a node; empty: the root.")] = "",
    item: Annotated[str | None, Query(max_length=MAX_NAME, description="An item whose path is returned too.")] = None,
    limit: Limit = 256,
    offset: Offset = 0,
) -> schemas.TreeNode:
    """The children of a node in a stream's tree of codes."""
    codes = [int(code) for code in prefix.split(",")] if prefix else []
    return schemas.TreeNode(**run.tree(stream, codes, item, limit, offset))


@router.get(
    "/images/{key:path}",
    tags=["items"],
    response_class=Response,
    responses={200: {"description": "A JPEG.", "content": {"image/jpeg": {}}}, **problems(404, 422, 503)},
)
def image(
    key: str,
    run: Run,
    size: Annotated[int, Query(ge=MIN_SIZE, le=MAX_SIZE, description="Pixels of the longer side.")] = 256,
) -> Response:
    """The image of an item."""
    content = run.images.jpeg(run.row(key), size)
    if content is None:
        raise HTTPException(404, "the item has no image, or images are not available")
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def problem_text(errors: Any) -> str:
    """What is wrong with a request, in one line, from the errors of pydantic."""
    texts = []
    for error in errors[:3]:
        place = ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path")) or "body"
        message = str(error["msg"]).removeprefix("Value error, ")
        found = error.get("input")
        is_short = isinstance(found, int | float | str | None) and error["type"] not in ("json_invalid", "missing")
        texts.append(f"{place}: {f'found {ascii(found)[:80]}; ' if is_short else ''}{message[:1].lower()}{message[1:]}")
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
    return "; ".join(texts).encode("ascii", "backslashreplace").decode() + more
