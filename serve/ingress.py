"""The HTTP interface: checks requests, hands them to the editor, words its answers."""

import asyncio
import base64
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Form, Request, Response, UploadFile
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from serve.api import AnalogyAnswer, Health, ImageData, ModelList
from serve.arguments import AppArgs
from serve.editor import EditAnswer, EditRequest
from serve.errors import DOCUMENTED, Refusal, answer_errors
from serve.uploads import BodyLimit, read_image, require_multipart

MAX_SEED = 2**63 - 1


@serve.ingress()
class Ingress:
    """Serves the routes; holds no model."""

    def __init__(self, editor: DeploymentHandle, args: AppArgs) -> None:
        self._editor = editor
        self._args = args

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, built where its limits are known; Serve calls this once a replica."""
        api = FastAPI(title="VIRAL", description="Analogies: A is to A' as B is to what you get.")
        api.add_middleware(BodyLimit, limit=self._args.max_body_bytes)
        answer_errors(api)
        api.add_api_route(
            "/v1/analogies",
            self.analogy,
            methods=["POST"],
            response_model=AnalogyAnswer,
            responses={200: {"content": {"image/png": {}}}, **DOCUMENTED},
            dependencies=[Depends(require_multipart)],
        )
        api.add_api_route("/v1/models", self.models, response_model=ModelList, responses=DOCUMENTED)
        api.add_api_route("/health", self.health, response_model=Health)
        api.add_api_route("/ready", self.ready, response_model=Health, responses=DOCUMENTED)
        return api

    async def analogy(
        self,
        request: Request,
        example_source: UploadFile,
        example_target: UploadFile,
        query: UploadFile,
        seed: Annotated[int, Form(ge=0, le=MAX_SEED)] = 0,
        steps: Annotated[int | None, Form(ge=1)] = None,
    ) -> Response:
        """Paint what `query` becomes as `example_source` becomes `example_target`; JSON, or a PNG by `Accept`."""
        parts = {"example_source": example_source, "example_target": example_target, "query": query}
        source, target, wanted = [await read_image(part, name, self._args) for name, part in parts.items()]
        wish = EditRequest(((source, target),), wanted, seed, self._steps(steps))
        edit: EditAnswer = await self._ask(self._editor.edit.remote(wish))
        if _wants_png(request):
            return Response(edit.png, media_type="image/png", headers={"X-Viral-Trace": edit.trace.model_dump_json()})
        image = ImageData(b64_json=base64.b64encode(edit.png).decode())
        answer = AnalogyAnswer(data=(image,), viral=edit.trace)
        return Response(answer.model_dump_json(), media_type="application/json")

    async def models(self) -> ModelList:
        """The base and the adapter in use."""
        return ModelList(data=await self._ask(self._editor.models.remote()))

    async def health(self) -> Health:
        """Answers as long as this process lives."""
        return Health(status="ok")

    async def ready(self) -> Health:
        """Answers 200 while an editor runs, else 503."""
        app = serve.get_replica_context().app_name
        status = await asyncio.to_thread(serve.status)
        editor = status.applications[app].deployments["Editor"]
        if not editor.replica_states.get("RUNNING"):
            raise Refusal(503, f"the editor is {editor.status.lower()}; ask again soon", retry_after=5)
        return Health(status="ready")

    def _steps(self, asked: int | None) -> int:
        if asked is not None and asked > self._args.max_steps:
            raise Refusal(422, f"steps: {asked} is more than {self._args.max_steps}; ask for fewer", param="steps")
        return self._args.steps if asked is None else asked

    async def _ask(self, response: DeploymentResponse) -> Any:
        """The editor's answer; what keeps it from answering becomes a `Refusal`."""
        try:
            async with asyncio.timeout(self._args.timeout_s):
                return await response
        except TimeoutError:
            response.cancel()
            raise Refusal(504, f"no answer within {self._args.timeout_s:g} s; ask for fewer steps") from None
        except BackPressureError:
            raise Refusal(429, "all editors are busy and the queue is full; try again", retry_after=5) from None
        except (RayActorError, DeploymentUnavailableError):
            raise Refusal(503, "the editor stopped at work on this; send the request again", retry_after=5) from None
        except RayTaskError as error:
            if not isinstance(error.cause, ValueError):
                raise
            raise Refusal(400, str(error.cause)) from None


def _wants_png(request: Request) -> bool:
    accepted = [kind.partition(";")[0].strip() for kind in request.headers.get("accept", "").split(",")]
    return "image/png" in accepted and "application/json" not in accepted
