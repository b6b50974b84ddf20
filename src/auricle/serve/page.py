"""The page at /, its parts under /page/, and the reference at /docs: fixed files, fixed names."""

import hashlib
from importlib.resources import files

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, Response

MEDIA_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
    "mel.js": "text/javascript; charset=utf-8",
    "meter.js": "text/javascript; charset=utf-8",
    "microphone.js": "text/javascript; charset=utf-8",
    "recorder.js": "text/javascript; charset=utf-8",
}


def router(app: FastAPI) -> APIRouter:
    """The routes: each of the files that exist now, so no request names one."""
    from auricle.serve.reference import reference

    made = APIRouter(include_in_schema=False)
    folder = files("auricle.serve") / "static"
    for name, kind in MEDIA_TYPES.items():
        _add(
            made,
            "/" if name == "index.html" else f"/page/{name}",
            kind,
            (folder / name).read_bytes(),
        )

    @made.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(reference(app.openapi()))

    return made


def _add(made: APIRouter, path: str, kind: str, content: bytes) -> None:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}  # asked again, and told "not modified"

    @made.get(path)
    async def send(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)
