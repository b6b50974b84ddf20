"""How the server says no: OpenAI's error object, the status that fits, and when to come again."""

import math
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Scope

from auricle.errors import AuricleError, ConfigError, DataError

MESSAGE_LETTERS = 500  # of what is wrong


def refusal(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    retry_after_s: float | None = None,
) -> HTTPException:
    """An exception that becomes the answer.

    Args:
        status: of HTTP, 400 to 599.
        message: what came, what is needed and what to do.
        code: for programs to tell refusals apart.
        param: the field of the request that is to blame.
        retry_after_s: when it is worth trying again.
    """
    headers = (
        {} if retry_after_s is None else {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    )
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return HTTPException(status, {"message": message, "code": code, "param": param}, headers)


def error_object(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """The body of every answer that is an error."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def respond(error: StarletteHTTPException) -> JSONResponse:
    """A refusal as its answer."""
    detail: Any = error.detail
    known = detail if isinstance(detail, dict) else {"message": str(detail)}
    body = error_object(error.status_code, known["message"], known.get("code"), known.get("param"))
    return JSONResponse(body, error.status_code, dict(error.headers or {}))


def without_path(error: AuricleError, path: Path) -> str:
    """What is wrong with an upload; where it lies here is nobody's business."""
    return str(error).replace(str(path), "the recording")


def of_recording(error: AuricleError, path: Path) -> HTTPException:
    """What is wrong with an upload, as an answer."""
    message = without_path(error, path)
    if isinstance(error, DataError | ConfigError):
        code = "unusable_recording" if isinstance(error, DataError) else "invalid_request"
        param = "file" if isinstance(error, DataError) else None
        return refusal(HTTPStatus.BAD_REQUEST, message, code=code, param=param)
    return refusal(HTTPStatus.SERVICE_UNAVAILABLE, message, code="model_failed")


async def on_refusal(_: Request, error: Exception) -> Response:
    """Handler of HTTP exceptions, ours and the router's."""
    assert isinstance(error, StarletteHTTPException)
    return respond(error)


async def on_invalid(_: Request, error: Exception) -> Response:
    """Handler of bodies, paths and queries that are not what the route takes."""
    assert isinstance(error, RequestValidationError)
    return _invalid(error)


async def on_invalid_live(socket: WebSocket, error: Exception) -> None:
    """The same for the query of a websocket."""
    assert isinstance(error, WebSocketRequestValidationError)
    if can_be_told(socket.scope):
        await socket.send_denial_response(_invalid(error))
    else:
        await socket.close(code=1008)


def can_be_told(scope: Scope) -> bool:
    """Whether an answer may be sent: to a websocket that is refused, not by every server."""
    return scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {})


def _invalid(error: RequestValidationError | WebSocketRequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    named = [str(part)[:MESSAGE_LETTERS] for part in first["loc"][1:]]  # after "query", say
    where = ".".join(named or map(str, first["loc"]))[:MESSAGE_LETTERS]
    message = f"{where}: {first['msg'].removeprefix('Value error, ')}"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    param = named[-1] if named else None
    return JSONResponse(error_object(status, message, "invalid_request", param), status)


async def on_trouble(_: Request, error: Exception) -> Response:
    """Handler of what auricle raises where no route expected it."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(error_object(status, str(error)[:MESSAGE_LETTERS]), status)
