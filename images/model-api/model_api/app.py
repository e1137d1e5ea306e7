"""The HTTP API: predictions of the model, and what there is to know of it."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from observed.metrics import OTHER
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model_api.metrics import Metrics
from model_api.rows import COMPLAINTS, Unfit
from model_api.serving import Serving
from model_api.settings import Settings

PREDICT = "/predict"
"""The route whose requests are the model's own."""


class PredictRequest(BaseModel):
    """Rows to predict: in each the values of the signature's columns, in their order."""

    features: Annotated[list[Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]


class ServedModel(BaseModel):
    """Which model has answered; a model that is in no registry has no version."""

    name: str
    version: str | None


class PredictAnswer(BaseModel):
    """One prediction a row; probabilities (in the order of /model/info's classes) where the model knows them."""

    predictions: list[Any]
    probabilities: list[list[float]] | None
    model: ServedModel
    latency_ms: float


class Watch:
    """Counts and times every request, and refuses bodies of more than `max_body_bytes` before they are read whole."""

    def __init__(self, app: ASGIApp, metrics: Metrics, serving: Serving, max_body_bytes: int) -> None:
        self._app = app
        self._metrics = metrics
        self._serving = serving
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, read = time.perf_counter(), 500, 0
        refusal = f"the body has more than {self._max_body_bytes} bytes, which is the limit"
        # What is left of the body is not read.
        too_long = problem(413, refusal, headers={"Connection": "close"})

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_body_bytes:
                raise HTTPException(413, refusal)
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            length = dict(scope["headers"]).get(b"content-length", b"0")
            app = too_long if length.isdigit() and int(length) > self._max_body_bytes else self._app
            await app(scope, limited, noted)
        finally:
            route = getattr(scope.get("route"), "path", OTHER)
            seconds = time.perf_counter() - started
            self._metrics.answered(route, status, seconds)
            if route == PREDICT and (model := self._serving.model):
                self._metrics.models.answered(model.version.name, model.version.label, status, seconds)


def problem(
    status: int, error: str, fields: list[dict[str, str]] | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Every refusal has this shape: a sentence, and the fields of the request that it is about."""
    return JSONResponse({"error": error, "fields": fields or []}, status, headers)


def create(settings: Settings) -> FastAPI:
    """The application. It begins to load its model when it starts, and answers from then on."""
    metrics = Metrics()
    serving = Serving(settings.model_uri, settings.poll_seconds, lambda loaded: metrics.tried(loaded=loaded))
    limiter = CapacityLimiter(settings.threads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=serving.follow, daemon=True, name="follow").start()
        yield
        serving.stop()

    app = FastAPI(title="Model API", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Watch, metrics=metrics, serving=serving, max_body_bytes=settings.max_body_bytes)

    @app.get("/health", response_model=None)
    async def health() -> dict[str, Any]:
        """Alive: the process answers. Whether it has a model is another matter, which no restart would mend."""
        return {"status": "alive", "ready": serving.model is not None, "reason": serving.reason}

    @app.get("/ready", response_model=None)
    async def ready() -> Response:
        """Ready for predictions: a model is loaded."""
        return problem(503, serving.reason) if serving.reason else JSONResponse({"status": "ready"})

    @app.post(PREDICT, response_model=PredictAnswer)
    async def predict(body: PredictRequest) -> Response:
        """Predict rows of values."""
        started = time.perf_counter()
        model = serving.model
        if model is None:
            return problem(503, serving.reason)
        if len(body.features) > settings.max_rows:
            said = f"features has {len(body.features)} rows; allowed are {settings.max_rows} in one request"
            return problem(422, said, [{"field": "features", "message": said}])
        if limiter.statistics().tasks_waiting >= settings.max_waiting:
            said = f"{settings.max_waiting} requests wait already, which is the limit: try again later"
            return problem(503, said, headers={"Retry-After": "1"})
        found = await to_thread.run_sync(model.predict, body.features, limiter=limiter)
        metrics.models.predicted(model.version.name, model.version.label, found.rows, found.values)
        return JSONResponse(
            {
                "predictions": found.predictions,
                "probabilities": found.probabilities,
                "model": {"name": model.version.name, "version": model.version.number},
                "latency_ms": round((time.perf_counter() - started) * 1000, 3),
            }
        )

    @app.get("/model/info", response_model=None)
    async def model_info() -> dict[str, Any]:
        """The model that is served, and why another that is asked for is not."""
        return {
            "uri": serving.uri,
            "model": serving.model.described() if serving.model else None,
            "failure": serving.failure.described() if serving.failure else None,
        }

    @app.get("/metrics", response_model=None)
    async def prometheus() -> Response:
        """The metrics in the text format of Prometheus."""
        if model := serving.model:
            version = model.version
            metrics.serve(version.name, version.label, version.alias or "", version.run_id or "")
        metrics.current(serving.model is not None and serving.failure is None)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    _explain_refusals(app)
    return app


def _explain_refusals(app: FastAPI) -> None:
    """Give every refusal the shape of `problem`."""

    @app.exception_handler(Unfit)
    async def unfit(_: Request, error: Unfit) -> Response:
        return problem(422, str(error), [{"field": item.field, "message": item.message} for item in error.complaints])

    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, error: StarletteHTTPException) -> Response:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        fields = [{"field": _field(item["loc"]), "message": str(item["msg"])} for item in error.errors()[:COMPLAINTS]]
        return problem(422, "; ".join(f"{item['field']}: {item['message']}" for item in fields), fields)


def _field(location: tuple[int | str, ...]) -> str:
    """The place of a value in the body as its sender would write it: features[0][2]."""
    if "features" not in location:
        return "body"
    rest = location[location.index("features") + 1 :]
    return "features" + "".join(f"[{item}]" for item in rest if isinstance(item, int))
