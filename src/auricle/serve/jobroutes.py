"""POST /v1/jobs and what is asked of jobs later."""

import hashlib
import sqlite3
from http import HTTPStatus
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from auricle.errors import AuricleError
from auricle.results import Transcript
from auricle.serve.ears import check_length
from auricle.serve.forms import BODY, Asked, Format, answer
from auricle.serve.house import House
from auricle.serve.jobs import ROUTE
from auricle.serve.jobstore import Job
from auricle.serve.refusals import of_recording, refusal


def router(house: House) -> APIRouter:
    """The routes."""
    made, jobs = APIRouter(), house.jobs

    @made.post(ROUTE, openapi_extra=BODY, status_code=202, response_class=JSONResponse)
    async def accept(request: Request) -> Response:
        """Accept a recording of any length; it is not lost once this answered."""
        with house.gate.request():
            job = await _accepted(house, request)
        return JSONResponse(shown(job), 202, {"Location": f"{ROUTE}/{job.id}"})

    @made.get(ROUTE + "/{job_id}")
    async def look(job_id: str) -> dict[str, Any]:
        """How far a job is."""
        return shown(_known(await run_sync(jobs.store.get, job_id)))

    @made.get(ROUTE + "/{job_id}/transcript", response_class=Response)
    async def transcript(
        job_id: str, response_format: Annotated[Format, Query()] = "verbose_json"
    ) -> Response:
        """What a finished job heard, in any format."""
        job = _known(await run_sync(jobs.store.get, job_id))
        if job.error:
            status, why = HTTPStatus.UNPROCESSABLE_ENTITY, f"the job failed: {job.error}"
            raise refusal(status, why, code="job_failed")
        if job.result is None:
            raise refusal(
                HTTPStatus.CONFLICT,
                f"the job is {job.state}; ask again",
                code="job_not_done",
                retry_after_s=1 + job.duration_s / 100,
            )
        heard = Transcript.from_dict(job.result)
        return answer(heard, response_format, frozenset(["word", "segment"]))

    @made.delete(ROUTE + "/{job_id}", status_code=204)
    async def remove(job_id: str) -> None:
        """Forget a job; stops it, if it runs."""
        if not await run_sync(jobs.remove, job_id):
            _known(None)

    return made


async def _accepted(house: House, request: Request) -> Job:
    settings = house.settings
    async with house.receiver.receive(request, settings.job_upload_mb) as upload:
        asked = Asked.of(upload)
        ear = house.ears.named(asked.model)
        key = _idempotency(request)

        def check() -> float:
            ear.recognizer.decoder(None, asked.hotwords)  # else it would fail hours later
            return check_length(upload.path, settings.job_longest_s)

        try:
            sound_s = await house.ears.run(check)
            return await run_sync(house.jobs.accept, upload, asked, sound_s, key)
        except AuricleError as error:
            raise of_recording(error, upload.path) from None
        except (OSError, sqlite3.Error):
            raise refusal(
                HTTPStatus.INSUFFICIENT_STORAGE,
                "the server has no room for the job",
                retry_after_s=60,
            ) from None


def _known(job: Job | None) -> Job:
    if job is None:
        raise refusal(HTTPStatus.NOT_FOUND, "there is no such job", code="job_not_found")
    return job


def shown(job: Job) -> dict[str, Any]:
    """A job as clients see it."""
    return {
        "id": job.id,
        "object": "transcription.job",
        "status": job.state,
        "file_name": job.name,
        "model": job.model,
        "duration": round(job.duration_s, 3),
        "heard": round(job.heard_s, 3),
        "created_at": int(job.created),
        "finished_at": None if job.finished is None else int(job.finished),
        "error": job.error,
    }


def _idempotency(request: Request) -> str | None:
    """The key under which a request may come again, no other client's."""
    key = request.headers.get("idempotency-key")
    if not key:
        return None
    of = request.headers.get("authorization", "")
    return hashlib.sha256(f"{of}\n{key}".encode("utf-8", "surrogateescape")).hexdigest()
