"""One edit asked of a running server over HTTP, as any client would."""

import io
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from serve.local import serve_adapter
from viral.config import RunConfig, fingerprint
from viral.data.images import encode_png
from viral.data.latents import LatentTable
from viral.data.pairs import load_pairs
from viral.evaluation.crops import PictureTable, choose_crops
from viral.evaluation.summary import EvaluationSummary
from viral.model.architecture import is_fill
from viral.storage import Storage
from viral.tasks import describe_task

PARTS = {"A": "example_source.png", "A′": "example_target.png", "B": "query.png"}
ANSWER, KEY = "answer.png", "request.txt"
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Question:
    """PNG files by the names in `PARTS`: of an analogy, or of B alone for a model that is told what to do."""

    pictures: dict[str, bytes]
    instruction: str | None = None

    @property
    def names(self) -> dict[str, str]:
        """The file of each picture by what people read beside it."""
        told = "" if self.instruction is None else f", “{self.instruction}”"
        return {name + told: PARTS[name] for name in self.pictures}

    @property
    def sha256(self) -> dict[str, str]:
        """Of all that is asked."""
        parts = {**self.pictures, **({} if self.instruction is None else {"prompt": self.instruction.encode()})}
        return {name: sha256(data).hexdigest() for name, data in parts.items()}


def best_task(scores: EvaluationSummary) -> str:
    """The first task whose best free answer the adapter beats, else the first task there is."""
    return next((task.task for task in scores.tasks if task.beats_free), scores.tasks[0].task)


def choose_question(config: RunConfig, task: str) -> Question:
    """The first scored crop of a task, with its example or, on a base that takes no examples, with its instruction."""
    alone = is_fill(config.base_folder(), config.model)
    latents = LatentTable(Storage(config.storage).join(config.latents))
    crop = choose_crops(latents, task, config.seed, alone)[0]
    table = PictureTable(load_pairs(config), latents)
    query = table[crop.row]
    shown = {} if alone else {"A": table[crop.example].source, "A′": table[crop.example].target}
    pictures = {name: encode_png(np.asarray(picture)) for name, picture in {**shown, "B": query.source}.items()}
    said = query.instruction or describe_task(task, config.tasks).instruction
    return Question(pictures, said if alone else None)


def ask(url: str, question: Question, seed: int) -> bytes:
    """The painted PNG; `ValueError` with the server's own words when it refuses."""
    sent = {PARTS[name]: data for name, data in question.pictures.items()}
    route, fields = "analogies", {"seed": str(seed)}
    files = {file.removesuffix(".png"): (file, data, "image/png") for file, data in sent.items()}
    if question.instruction is not None:
        route, fields["prompt"] = "images/edits", question.instruction
        files = {"image": files["query"]}
    reply = httpx.post(
        f"{url}/v1/{route}", files=files, data=fields, headers={"Accept": "image/png"}, timeout=TIMEOUT_S
    )
    if reply.status_code != httpx.codes.OK:
        raise ValueError(f"the server at {url} answered {reply.status_code}: {reply.text[:500]}")
    Image.open(io.BytesIO(reply.content)).verify()
    return reply.content


def answer_once(config: RunConfig, uri: str, scores: EvaluationSummary, version: str) -> dict[str, Path]:
    """Serve the champion, ask it one edit, and keep question and answer under `storage`/answer.

    Does nothing when this version has answered this question already.
    """
    place = Storage(config.storage).join("answer")
    question = choose_question(config, best_task(scores))
    key = fingerprint(version, config.serve.steps, config.seed, question.sha256)
    if not (place.exists(KEY) and place.read(KEY).decode() == key and place.exists(ANSWER)):
        with serve_adapter(config, f"models:/{config.tracking.model_name}@champion", uri) as url:
            answer = ask(url, question, config.seed)
        for name, data in question.pictures.items():
            place.write(PARTS[name], data)
        place.write(ANSWER, answer)
        place.write(KEY, key.encode())
        print(f"   answered over HTTP by version {version}")
    else:
        print(f"answer: version {version} has answered this question already")
    return {name: place.folder() / file for name, file in {**question.names, "answer": ANSWER}.items()}
