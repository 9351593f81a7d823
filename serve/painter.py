"""One request painted by an editor of the library, its events told and its trace written."""

from collections.abc import Callable
from typing import Any

from PIL import Image

from serve.adapters import AnyEditor
from serve.api import Trace, TraceVerdict
from serve.edit import EditAnswer, EditRequest, Event, Judged, Preview, Step
from serve.line import Cancelled, Work
from serve.remote_judge import RemoteJudge
from viral.model.tokens import Latents
from viral.model.velocity import batches
from viral.provenance import encode_png
from viral.sampling import early_filter
from viral.sampling.editor import RELEASED, Edit
from viral.sampling.instruct import InstructEditor
from viral.sampling.judge_choice import choose_judge
from viral.sampling.judges import Candidate, Judge, JudgeError, Request, Verdict

Pictures = tuple[list[tuple[Image.Image, Image.Image]], Image.Image]
"""Example pairs and query, decoded."""
GLIMPSES = 4
"""Into how many parts previews divide the final image's steps."""


class NoJudge:
    """Stands where there is one candidate and so nothing to compare."""

    name = "none"

    def better(self, request: Request, first: Candidate, second: Candidate) -> Verdict:
        raise JudgeError("nobody was asked")


def paint(
    editor: AnyEditor,
    request: EditRequest,
    pictures: Pictures,
    vlm: RemoteJudge | None,
    emit: Callable[[Event], None],
) -> Edit:
    """The edit that a request asks for; whatever `emit` raises ends it within one step. `ValueError` for a bad one."""
    examples, query = pictures
    seeds = list(range(request.seed, request.seed + request.candidates))
    judge = _judge(editor, request, query, vlm) if request.candidates > 1 else NoJudge()
    how: dict[str, Any] = {
        "judge": judge, "seeds": seeds, "steps": request.steps, "preview_steps": request.preview_steps,
        "on_event": _Reporter(editor, request, seeds, emit),
    }  # fmt: skip
    if request.guidance is not None:
        how["guidance"] = request.guidance
    if isinstance(editor, InstructEditor):
        if request.size is not None:
            how["width"], how["height"] = request.size
        return editor.filtered(query, request.instruction or "", **how)
    how |= {"size": side(editor, request, query), "example_guidance": request.example_guidance}
    return editor.filtered(examples, query, request.instruction, **how)


def paint_together(editor: AnyEditor, works: list[tuple[Work, Pictures]]) -> list[Edit]:
    """The edits of several works that join one another, in batches as far as they fit; ends when nobody waits."""
    if isinstance(editor, InstructEditor):
        return [paint(editor, work.request, pictures, None, work.report) for work, pictures in works]
    requests = [work.request for work, _ in works]
    problems = [
        editor.problem(
            examples,
            query,
            r.instruction,
            size=side(editor, r, query),
            guidance=1.0 if r.guidance is None else r.guidance,
            example_guidance=r.example_guidance,
        )  # fmt: skip
        for r, (_, (examples, query)) in zip(requests, works, strict=True)
    ]

    def on_step(step: int, latents: Latents) -> None:
        waiting = [work for work, _ in works if not work.cancelled.is_set()]
        if not waiting:
            raise Cancelled
        for work in waiting:
            work.tell(Step(None, step + 1, work.request.steps))

    edits: dict[int, Edit] = {}
    for places, joint in batches(problems):
        seeds = [requests[place].seed for place in places]
        edits |= zip(places, editor.paint(joint, seeds, requests[0].steps, on_step), strict=True)
    return [edits[place] for place in range(len(works))]


def side(editor: AnyEditor, request: EditRequest, query: Image.Image) -> int | None:
    """Side of the square whose area the output has: as asked, else None for what the adapter was trained on.

    A base without an adapter paints at the query's own area, up to that which bases are made for.
    """
    if request.size is not None:
        return round((request.size[0] * request.size[1]) ** 0.5)
    if editor.card is not None:
        return None
    return min(round((query.width * query.height) ** 0.5), RELEASED["size"])


def answer(edit: Edit, request: EditRequest, base_sha256: str, sha256: str | None) -> EditAnswer:
    """The image as a PNG that carries its trace."""
    made, base = edit.trace, request.base
    assert base is not None
    several = request.candidates > 1
    trace = Trace(
        seed=made["seed"], steps=made["steps"], size=edit.image.size, evaluations=made["evaluations"],
        guidance=made["guidance"], example_guidance=request.example_guidance,
        base=base, base_sha256=base_sha256, adapter=request.adapter,
        version=request.version, sha256=sha256, instruction=request.instruction,
        candidates=tuple(made["seeds"]) if several else (), preview_steps=request.preview_steps if several else None,
        judge=made["judge"] if several else None, judge_error=made.get("error") if several else None,
        verdicts=_verdicts(made, request.seed) if several else (),
    )  # fmt: skip
    return EditAnswer(encode_png(edit.image, trace.model_dump()), trace)


def _verdicts(made: dict[str, Any], seed: int) -> tuple[TraceVerdict, ...]:
    return tuple(
        TraceVerdict(
            first=c["first"] - seed, second=c["second"] - seed,
            verdict=c["verdict"]["choice"], why=c["verdict"]["reason"],
        )
        for c in made["comparisons"]
    )  # fmt: skip


def _judge(editor: AnyEditor, request: EditRequest, query: Image.Image, vlm: RemoteJudge | None) -> Judge:
    name = request.judge or ("consensus" if request.examples or vlm is None else "vlm")
    if name == "vlm":
        if vlm is None:
            raise ValueError("judge: this server has no vision-language model; ask for consensus")
        return vlm
    return choose_judge(name, editor, request.instruction, size=side(editor, request, query))


class _Reporter:
    """Turns the events of the early filter into those of a request."""

    def __init__(
        self, editor: AnyEditor, request: EditRequest, seeds: list[int], emit: Callable[[Event], None]
    ) -> None:
        self._editor, self._request, self._seeds, self._emit = editor, request, seeds, emit
        self._look_at = {request.steps * part // GLIMPSES for part in range(1, GLIMPSES)} - {0}

    def __call__(self, event: early_filter.Event) -> None:
        if isinstance(event, early_filter.Progress):
            self._emit(Step(None, event.done, event.total))
            self._glimpse(event)
        elif isinstance(event, early_filter.Preview):
            if self._request.previews:
                number = self._seeds.index(event.seed)
                self._emit(Preview(number, self._request.preview_steps, _png(event.candidate.image)))
        else:
            first, second = self._seeds.index(event.first), self._seeds.index(event.second)
            self._emit(Judged(first, second, event.verdict.choice, event.verdict.reason))

    def _glimpse(self, event: early_filter.Progress) -> None:
        """Show the final image as far as it can be seen, a few times."""
        step = self._request.steps - (event.total - event.done)
        if self._request.previews and step in self._look_at and event.seed is not None:
            self._emit(Preview(self._seeds.index(event.seed), step, self._seen(event.clean)))

    def _seen(self, clean: Latents) -> bytes:
        return _png(self._editor.decode(clean)[0])


def _png(image: Image.Image) -> bytes:
    return encode_png(image, {"preview": True})
