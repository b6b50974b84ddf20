"""The application: the routes, behind their guard."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from auricle import __version__
from auricle.errors import AuricleError
from auricle.serve import (
    classifications,
    jobroutes,
    live,
    meter,
    page,
    refusals,
    transcriptions,
)
from auricle.serve.house import House
from auricle.serve.limits import Guard
from auricle.serve.metrics import CONTENT_TYPE
from auricle.serve.settings import ServeSettings

SETTINGS_VARIABLE = "AURICLE_SERVE_SETTINGS"  # how worker processes are told


def create_app(settings: ServeSettings) -> FastAPI:
    """The server as an ASGI application.

    Raises:
        ModelError: a bundle cannot be used.
        DataError: the folder cannot be written to.
    """
    house = House.open(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        house.jobs.start()
        yield
        await run_sync(house.close)

    app = FastAPI(
        title="auricle",
        version=__version__,
        description="Recordings in, text or labels out: OpenAI's audio interface and more, over"
        " models of your own.",
        lifespan=lifespan,
        docs_url=None,  # both load scripts from elsewhere; page.py has ours
        redoc_url=None,
    )
    app.add_middleware(Guard, settings=settings, metrics=house.metrics)
    app.add_exception_handler(HTTPException, refusals.on_refusal)
    app.add_exception_handler(RequestValidationError, refusals.on_invalid)
    app.add_exception_handler(WebSocketRequestValidationError, refusals.on_invalid_live)
    app.add_exception_handler(AuricleError, refusals.on_trouble)
    for part in (transcriptions, classifications, jobroutes, live, meter):
        app.include_router(part.router(house))
    app.include_router(page.router(app))

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the server is up, and with which models."""
        return {"status": "ok", "version": __version__, "models": list(house.ears.models)}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Numbers for Prometheus."""
        return PlainTextResponse(await run_sync(house.metrics.write), media_type=CONTENT_TYPE)

    return app


def from_environment() -> FastAPI:
    """The application of a worker process, whose settings its parent left in the environment."""
    return create_app(ServeSettings.model_validate_json(os.environ[SETTINGS_VARIABLE]))
