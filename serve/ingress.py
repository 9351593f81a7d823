"""The HTTP interface: checks requests, hands them on, words the answers."""

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.security import HTTPBearer
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.handle import DeploymentHandle

from serve.api import AnalogyAnswer, Health, ImagesAnswer, JobAnswer, ModelList
from serve.arguments import AppArgs
from serve.catalog import Catalog
from serve.desk import Desk, Terms, terms
from serve.dispatch import Dispatcher
from serve.edit import EditRequest
from serve.errors import DOCUMENTED, Refusal, answer_errors
from serve.events import analogy_event, stream
from serve.forms import AnalogyForm, check_words
from serve.images_edits import ImagesEdits
from serve.jobs_api import Jobs, accepted
from serve.journal import Journal
from serve.keys import Gate, demand_keys
from serve.metrics import gather
from serve.page import mount_page
from serve.replies import CONTENT, reply, wanted
from serve.uploads import BodyLimit, Room, Uploads, require_multipart

_FIELDS = 32
"""Parts of a form that are no files; more than there are fields."""
_FIELD_BYTES = 8
"""Bytes that a character of a field may take, escapes and a margin included."""
_HALVES = ("example_source", "example_target")


@serve.ingress()
class Ingress:
    """Serves the routes; holds no model."""

    def __init__(self, args: AppArgs, editors: dict[str, DeploymentHandle], journal: DeploymentHandle) -> None:
        self._args = args
        self._journal = Journal(journal)
        # Serve tells in no public way where it listens.
        self._keys = demand_keys(args.keys, _get_global_client().http_config.host)
        self._editors = editors
        self._dispatcher = Dispatcher(editors, args.timeout_s)

    async def drain(self) -> None:
        """Refuse new edits and return when those that were accepted are done; called before a shutdown."""
        await self._dispatcher.drain()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, built where its limits are known; Serve calls this once a replica."""
        args = self._args
        desk = Desk(args, Catalog(args, self._editors), self._dispatcher, self._journal)
        limits = {"max_files": 2 * args.max_examples + 1, "max_fields": _FIELDS}
        api = FastAPI(
            title="VIRAL",
            description="Analogies: A is to A' as B is to what you get.",
            form_limits=limits | {"max_part_size": _FIELD_BYTES * args.max_prompt},
            dependencies=[Depends(HTTPBearer(auto_error=False))] if self._keys else [],
        )
        # The last one added sees a request first.
        api.add_middleware(BodyLimit, limit=args.max_body_bytes)
        api.add_middleware(Room, admission=self._dispatcher.admission)
        api.add_middleware(Gate, keys=self._keys, journal=self._journal)
        answer_errors(api)
        uploads = Uploads(args)
        _add_painting(api, Analogies(args, desk, uploads), ImagesEdits(args, desk, uploads))
        _add_jobs(api, Jobs(desk))
        _add_status(api, Status(desk))
        mount_page(api)
        return api


class Analogies:
    """`POST /v1/analogies`."""

    def __init__(self, args: AppArgs, desk: Desk, uploads: Uploads) -> None:
        self._args, self._desk, self._uploads = args, desk, uploads

    async def paint(
        self,
        request: Request,
        form: Annotated[AnalogyForm, Form(media_type="multipart/form-data")],
        terms: Annotated[Terms, Depends(terms)],
    ) -> Response:
        """Paint what the query becomes by the change that the examples show: as JSON, image or events by `Accept`."""
        wish = await self._wish(form)
        if terms.later:
            return accepted(await self._desk.accept(wish, terms))
        if (kind := wanted(request)) == "events":
            terms.refuse_stream()
            return await stream(self._desk.stream([replace(wish, previews=True)]), analogy_event)
        (answer,) = await self._desk.paint([wish], terms)
        # A PNG goes out as it is; everything else takes work.
        return reply(answer, kind) if kind == "png" else await asyncio.to_thread(reply, answer, kind)

    async def _wish(self, form: AnalogyForm) -> EditRequest:
        pairs = form.pairs()
        check_words("instruction", form.instruction, self._args)
        named = [(name, part) for pair in pairs for name, part in zip(_HALVES, pair, strict=True)]
        *shown, query = await self._uploads.read([*named, ("query", form.query)])
        return form.request(list(zip(shown[::2], shown[1::2], strict=True)), query, form.instruction, self._args)


class Status:
    """What is served, whether it lives, whether it is ready, how much it does."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def models(self) -> ModelList:
        """Bases and adapters that requests may name."""
        return ModelList(data=await self._desk.models())

    async def health(self) -> Health:
        """Answers as long as this process lives."""
        return Health(status="ok")

    async def ready(self) -> Health:
        """Answers 200 while every deployment runs, else 503."""
        app = serve.get_replica_context().app_name
        status = await asyncio.to_thread(serve.status)
        for name, deployment in status.applications[app].deployments.items():
            if not deployment.replica_states.get("RUNNING"):
                raise Refusal(503, f"{name} is {deployment.status.lower()}; ask again soon", retry_after=5)
        return Health(status="ready")

    async def metrics(self) -> Response:
        """What Ray counts about this application, for Prometheus."""
        text = await gather(serve.get_replica_context().app_name)
        return Response(text, media_type="text/plain; version=0.0.4")


def _add_painting(api: FastAPI, analogies: Analogies, images: ImagesEdits) -> None:
    job = {202: {"model": JobAnswer, "description": "Accepted, for `Prefer: respond-async`."}}
    events = {"text/event-stream": {"schema": {"type": "string"}}}
    multipart = [Depends(require_multipart)]
    for path, route, model in (
        ("/v1/analogies", analogies.paint, AnalogyAnswer),
        ("/v1/images/edits", images.edit, ImagesAnswer),
    ):
        responses = {200: {"content": CONTENT | events}, **job, **DOCUMENTED}
        api.add_api_route(
            path, route, methods=["POST"], response_model=model, responses=responses, dependencies=multipart
        )


def _add_jobs(api: FastAPI, jobs: Jobs) -> None:
    responses = {200: {"content": CONTENT}, **DOCUMENTED}
    api.add_api_route("/v1/jobs/{id}", jobs.get, response_model=JobAnswer, responses=responses)
    api.add_api_route("/v1/jobs/{id}", jobs.cancel, methods=["DELETE"], response_model=JobAnswer, responses=DOCUMENTED)


def _add_status(api: FastAPI, status: Status) -> None:
    api.add_api_route("/v1/models", status.models, response_model=ModelList, responses=DOCUMENTED)
    api.add_api_route("/health", status.health, response_model=Health)
    api.add_api_route("/ready", status.ready, response_model=Health, responses=DOCUMENTED)
    text = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    api.add_api_route("/metrics", status.metrics, response_class=Response, responses={**text, **DOCUMENTED})
