"""Work that is answered later: `202`, `GET` and `DELETE /v1/jobs/{id}`."""

import asyncio
from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse

from serve.api import JobAnswer
from serve.desk import Desk, Terms, answer_of, terms
from serve.edit import EditAnswer
from serve.errors import failed
from serve.journal import Job
from serve.replies import as_json, reply, wanted

ASK_AGAIN = {"Retry-After": "2"}


class Jobs:
    """The jobs of a key's owner."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def get(self, request: Request, id: str, terms: Annotated[Terms, Depends(terms)]) -> Response:
        """How a job stands, and its answer when it is done; as an image where `Accept` asks for one."""
        job = await self._desk.job(id, terms)
        if (form := wanted(request)) not in ("json", "events") and job.over:
            return await asyncio.to_thread(reply, answer_of(job), form)
        return _told(job)

    async def cancel(self, id: str, terms: Annotated[Terms, Depends(terms)]) -> Response:
        """End a job that is not over; one that is stays as it is."""
        return _told(await self._desk.cancel(id, terms))


def accepted(job: Job) -> Response:
    """202: the job is written down and will be done."""
    headers = {"Location": f"/v1/jobs/{job.id}", "Preference-Applied": "respond-async"} | ASK_AGAIN
    return JSONResponse(_wire(job).model_dump(mode="json"), 202, headers)


def _told(job: Job) -> Response:
    return JSONResponse(_wire(job).model_dump(mode="json"), 200, None if job.over else ASK_AGAIN)


def _wire(job: Job) -> JobAnswer:
    return JobAnswer(
        id=job.id,
        status=job.state,
        created=int(job.created),
        ended=None if job.ended is None else int(job.ended),
        step=job.step,
        steps=job.steps,
        result=None if job.answer is None else as_json(EditAnswer.of(job.answer)),
        error=None if job.error is None else failed(job.status or 500, job.error),
    )
