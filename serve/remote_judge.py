"""How an editor asks the judge's deployment."""

import io
from pathlib import Path

from PIL import Image
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve.judge import Question
from viral.sampling.judges import Candidate, JudgeError, Request, Verdict

ATTEMPTS = 3
TIMEOUT_S = 120.0


class RemoteJudge:
    """The judge of the deployment, asked from an editor's thread. Every failure of it is a `JudgeError`."""

    def __init__(self, handle: DeploymentHandle, model: str) -> None:
        self._handle, self.name = handle, f"vlm {Path(model).name if Path(model).is_dir() else model}"

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict:
        """Its verdict; asked again, of another replica, when one dies over it."""
        examples = tuple((_png(a), _png(a2)) for a, a2 in request.examples)
        question = Question(
            examples, _png(request.query), request.instruction, _png(first.image), _png(second.image)
        )  # fmt: skip
        for _ in range(ATTEMPTS):
            try:
                return self._handle.better.remote(question).result(timeout_s=TIMEOUT_S)
            except (RayActorError, DeploymentUnavailableError):
                continue
            except (RayTaskError, TimeoutError) as error:
                raise JudgeError(f"{self.name} gave no verdict: {str(error).splitlines()[-1][:200]}") from None
        raise JudgeError(f"{self.name} stopped {ATTEMPTS} times at work on this")


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
