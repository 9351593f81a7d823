"""A judge behind any OpenAI-compatible endpoint: vLLM on the same cluster, or a hosted model."""

import base64
import io
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL.Image import Image

from viral.sampling.judge_prompt import PAIRWISE_JSON, AnswerError, Part, read_object, shrink
from viral.sampling.judges import Candidate, Choice, JudgeError, Request, Verdict


@dataclass(frozen=True)
class Endpoint:
    """Chat completions of one model; `url` ends before `/chat/completions`, e.g. http://host:8000/v1."""

    url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    deadline: float = 60.0
    """Seconds for one answer, all attempts and pauses included."""
    attempts: int = 4
    backoff: float = 0.5
    """Seconds before the second attempt; each further pause is twice as long, or what the server asks for."""
    max_side: int = 512
    """Images are sent with sides of at most this many pixels."""
    max_tokens: int = 300

    def answer(self, message: list[Part]) -> str:
        """The reply in words; `JudgeError` when none has come by the deadline or the endpoint refuses."""
        content = [self._content(part) for part in message]
        body = {
            "model": self.model, "messages": [{"role": "user", "content": content}], "max_tokens": self.max_tokens,
            "temperature": 0,
        }  # fmt: skip
        end, failure = time.monotonic() + self.deadline, "no attempt was made"
        for attempt in range(self.attempts):
            try:
                return self._post(body, end)
            except _TryAgain as error:
                failure = str(error)
                pause = max(self.backoff * 2**attempt, error.after)
            if attempt + 1 == self.attempts or time.monotonic() + pause >= end:
                break
            time.sleep(pause)
        raise JudgeError(f"{self.url} gave no answer in {attempt + 1} attempts and {self.deadline} s: {failure}")

    def _post(self, body: dict[str, Any], end: float) -> str:
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        left = max(end - time.monotonic(), 1e-3)
        try:
            with httpx.stream(
                "POST", f"{self.url.rstrip('/')}/chat/completions", json=body, headers=headers, timeout=left
            ) as reply:
                received = b""
                for chunk in reply.iter_bytes():  # httpx limits the wait for each chunk, not for all of them
                    received += chunk
                    if time.monotonic() > end:
                        raise _TryAgain("the deadline passed while the answer was coming")
        except httpx.TransportError as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from error
        return _read_reply(reply, received)

    def _content(self, part: Part) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        return {"type": "image_url", "image_url": {"url": data_uri(shrink(part, self.max_side))}}


class _TryAgain(Exception):
    """A failure that may pass, and the seconds after which the server wants to be asked again."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


def _read_reply(reply: httpx.Response, received: bytes) -> str:
    if reply.status_code == 429 or reply.status_code >= 500:
        after = reply.headers.get("retry-after", "")
        raise _TryAgain(f"status {reply.status_code}", float(after) if after.isdigit() else 0.0)
    excerpt = received[:200].decode(errors="replace")
    if reply.status_code != 200:
        raise JudgeError(f"{reply.url} refused with status {reply.status_code}: {excerpt}; check model and api_key")
    try:
        text = httpx.Response(200, content=received).json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise JudgeError(f"{reply.url} sent no chat completion but {excerpt!r}; check the url") from error
    return text if isinstance(text, str) else ""


def data_uri(image: Image) -> str:
    """The image as a PNG in a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


class EndpointJudge:
    """Pairwise judge that asks an endpoint for JSON; an answer in another form is no verdict."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = f"endpoint {endpoint.model} {PAIRWISE_JSON.name}"

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict:
        """What the endpoint says; `JudgeError` when it says nothing by its deadline."""
        text = self.endpoint.answer(PAIRWISE_JSON.fill(request, first=first.image, second=second.image))
        choices: dict[str, Choice] = {"1": "first", "2": "second", "tie": "tie"}
        try:
            said = read_object(text, "better")
        except AnswerError as error:
            return Verdict("none", reason=str(error))
        choice = choices.get(str(said["better"]).strip().lower())
        if choice is None:
            return Verdict("none", reason=f'expected better to be 1, 2 or "tie", got {said["better"]!r}')
        return Verdict(choice, reason=str(said.get("reason", "")))
