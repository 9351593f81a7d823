"""The deployment of the vision-language judge."""

import asyncio
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from serve.arguments import AppArgs

if TYPE_CHECKING:
    from viral.sampling.judges import Judge, Verdict


@dataclass(frozen=True)
class Question:
    """A comparison as it travels: encoded images."""

    examples: tuple[tuple[bytes, bytes], ...]
    query: bytes
    instruction: str | None
    first: bytes
    second: bytes


class JudgeReplica:
    """Compares two candidates for a request, one question at a time."""

    def __init__(self, args: AppArgs) -> None:
        assert args.judge is not None
        self._judge = _load(args.judge, args)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")

    async def better(self, question: Question) -> "Verdict":
        """The verdict; raises what the judge raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._better, question)

    def _better(self, question: Question) -> "Verdict":
        from viral.sampling.judges import Candidate, Request

        examples = tuple((_image(a), _image(a2)) for a, a2 in question.examples)
        request = Request(examples, _image(question.query), question.instruction)
        first, second = (Candidate(lambda data=data: _image(data)) for data in (question.first, question.second))
        return self._judge.better(request, first, second)


def _load(name: str, args: AppArgs) -> "Judge":
    # Here, not above: building the application needs no torch.
    if name.startswith(("http://", "https://")):
        from viral.sampling.judge_endpoint import Endpoint, EndpointJudge

        url, _, model = name.partition("#")
        if not model:
            raise ValueError(f"judge {name} does not say which model to ask; write {name}#MODEL")
        return EndpointJudge(Endpoint(url, model, os.environ.get("OPENAI_API_KEY")))
    import torch

    from viral.model.licences import accept
    from viral.sampling.judge_vlm import VisionLanguageModel, VLMJudge

    accept(name, args.model.accept_licences)
    device, dtype = ("cuda", torch.bfloat16) if args.judge_gpus else ("cpu", torch.float32)
    return VLMJudge(VisionLanguageModel.load(name, device, dtype))


def _image(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return image.convert("RGB")
