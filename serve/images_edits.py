"""`POST /v1/images/edits` as OpenAI's clients send it."""

import asyncio
import time
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Form, Request, Response

from serve.api import ImagesAnswer
from serve.arguments import AppArgs
from serve.desk import Desk, Terms, terms
from serve.edit import EditAnswer, EditRequest
from serve.errors import Refusal
from serve.events import openai_events, stream
from serve.forms import ImagesForm, check_words
from serve.jobs_api import accepted
from serve.replies import image_data, reply, sides, wanted
from serve.uploads import Uploads
from viral.provenance import Kind, convert


class ImagesEdits:
    """Three images in order are an analogy A, A', B; one image and a prompt is an edit as told."""

    def __init__(self, args: AppArgs, desk: Desk, uploads: Uploads) -> None:
        self._args, self._desk, self._uploads = args, desk, uploads

    async def edit(
        self,
        request: Request,
        form: Annotated[ImagesForm, Form(media_type="multipart/form-data")],
        terms: Annotated[Terms, Depends(terms)],
    ) -> Response:
        """Edit an image as a prompt or as pairs of examples tell."""
        wishes = await self._wishes(form)
        if terms.later:
            if form.n > 1:
                raise Refusal(422, f"n: a job paints 1 image, got {form.n}; send {form.n} requests", param="n")
            return accepted(await self._desk.accept(wishes[0], terms))
        if form.stream:
            terms.refuse_stream()
            wording = openai_events(form.output_format, form.output_compression, form.partial_images)
            return await stream(self._desk.stream(wishes), wording)
        answers = await self._desk.paint(wishes, terms)
        if (kind := wanted(request)) not in ("json", "events") and len(answers) == 1:
            return await asyncio.to_thread(reply, answers[0], kind, form.output_compression)
        return await asyncio.to_thread(_as_openai, answers, form.output_format, form.output_compression)

    async def _wishes(self, form: ImagesForm) -> list[EditRequest]:
        """One request per image; each tries seeds of its own."""
        name, uploads = form.uploads()
        check_words("prompt", form.prompt, self._args)
        *shown, query = await self._uploads.read([(name, upload) for upload in uploads])
        pairs = list(zip(shown[::2], shown[1::2], strict=True))
        wish = form.request(pairs, query, form.prompt, self._args)
        wish = replace(wish, previews=form.stream and form.partial_images > 0)
        return [replace(wish, seed=wish.seed + image * wish.candidates) for image in range(form.n)]


def _as_openai(answers: list[EditAnswer], kind: Kind, quality: int) -> Response:
    traces = tuple(answer.trace for answer in answers)
    images = tuple(image_data(convert(answer.png, kind, quality)) for answer in answers)
    answer = ImagesAnswer(
        created=int(time.time()), data=images, output_format=kind, size=sides(traces[0]), viral=traces
    )
    return Response(answer.model_dump_json(), media_type="application/json")
