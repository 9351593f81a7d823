"""One analogy asked of a running server over HTTP, as any client would."""

import io
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
from viral.storage import Storage

PARTS = {"A": "example_source.png", "A′": "example_target.png", "B": "query.png"}
ANSWER, KEY = "answer.png", "request.txt"
TIMEOUT_S = 120.0


def best_task(scores: EvaluationSummary) -> str:
    """The first task whose best free answer the adapter beats, else the first task there is."""
    return next((task.task for task in scores.tasks if task.beats_free), scores.tasks[0].task)


def choose_question(config: RunConfig, task: str) -> dict[str, bytes]:
    """PNG files of the first scored crop of a task and its example: what the request sends, by part name."""
    latents = LatentTable(Storage(config.storage).join(config.latents))
    crop = choose_crops(latents, task, config.seed)[0]
    table = PictureTable(load_pairs(config), latents)
    example, query = table[crop.example], table[crop.row]
    pictures = {"A": example.source, "A′": example.target, "B": query.source}
    return {name: encode_png(np.asarray(picture)) for name, picture in pictures.items()}


def ask(url: str, question: dict[str, bytes], seed: int) -> bytes:
    """The painted PNG; `ValueError` with the server's own words when it refuses."""
    files = {PARTS[name].removesuffix(".png"): (PARTS[name], data, "image/png") for name, data in question.items()}
    reply = httpx.post(
        f"{url}/v1/analogies", files=files, data={"seed": str(seed)}, headers={"Accept": "image/png"}, timeout=TIMEOUT_S
    )
    if reply.status_code != httpx.codes.OK:
        raise ValueError(f"the server at {url} answered {reply.status_code}: {reply.text[:500]}")
    Image.open(io.BytesIO(reply.content)).verify()
    return reply.content


def answer_once(config: RunConfig, uri: str, scores: EvaluationSummary, version: str) -> dict[str, Path]:
    """Serve the champion, ask it one analogy, and keep question and answer under `storage`/answer.

    Does nothing when this version has answered this question already.
    """
    place = Storage(config.storage).join("answer")
    question = choose_question(config, best_task(scores))
    key = fingerprint(
        version, config.serve.steps, config.seed, {name: sha256(data).hexdigest() for name, data in question.items()}
    )
    if not (place.exists(KEY) and place.read(KEY).decode() == key and place.exists(ANSWER)):
        with serve_adapter(config, f"models:/{config.tracking.model_name}@champion", uri) as url:
            answer = ask(url, question, config.seed)
        for name, data in question.items():
            place.write(PARTS[name], data)
        place.write(ANSWER, answer)
        place.write(KEY, key.encode())
        print(f"   answered over HTTP by version {version}")
    else:
        print(f"answer: version {version} has answered this question already")
    return {name: place.folder() / file for name, file in {**PARTS, "answer": ANSWER}.items()}
