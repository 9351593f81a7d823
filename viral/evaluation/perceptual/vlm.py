"""What a vision-language model says of an edit: whether it was done, and its VIE-score."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from PIL import Image as Pillow

from viral.evaluation.perceptual.measure import Measure, Rows
from viral.evaluation.protocols.case import Case, Image
from viral.evaluation.viescore import VIEScore, viescore
from viral.sampling.judge_prompt import AnswerError, Part, Prompt, read_object
from viral.sampling.judges import Request

Answer = Callable[[list[Part]], str]

SUCCESS = Prompt(
    "edit-success-1",
    """Image B was to be edited.
{examples}{words}Image B: {query}
The edited image B: {output}
Did the edit succeed: is what was asked for done, completely and where it was meant, and is everything else kept?
Answer with JSON alone: {"reason": "one short sentence", "success": true} or the same with false.""",
)


class Verdict(Measure):
    """1 where the model says that the edit succeeded, else 0: the share of successes (ICEdit's column "GPT").

    ICEdit asked GPT-4o with a wording that it does not print; the wording here is `SUCCESS`.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __call__(self, cases: Sequence[Case], outputs: Sequence[Image]) -> Rows:
        return np.array([[self._ask(case, output)] for case, output in zip(cases, outputs, strict=True)], dtype=float)

    def _ask(self, case: Case, output: Image) -> float:
        try:
            said = read_object(self._answer(SUCCESS.fill(request_of(case), output=Pillow.fromarray(output))), "success")
        except AnswerError:
            return float("nan")
        return float(said["success"]) if type(said["success"]) is bool else float("nan")


class Rater:
    """Rates an output once, however many columns show a part of its VIE-score."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self._rated: dict[tuple[str, bytes], VIEScore | None] = {}

    def __call__(self, case: Case, output: Image) -> VIEScore | None:
        """The score; none where a reply could not be read."""
        key = (case.case_id, output.tobytes())
        if key not in self._rated:
            self._rated[key] = self._rate(case, output)
        return self._rated[key]

    def _rate(self, case: Case, output: Image) -> VIEScore | None:
        try:
            return viescore(self.answer, request_of(case), Pillow.fromarray(output))
        except AnswerError:
            return None


class VIERating(Measure):
    """One part of the VIE-score (Ku et al.), 0..10: SC, PQ or overall = sqrt(SC PQ)."""

    def __init__(self, rater: Rater, part: Literal["sc", "pq", "overall"]) -> None:
        self._rater, self._part = rater, part

    def __call__(self, cases: Sequence[Case], outputs: Sequence[Image]) -> Rows:
        scores = [self._rater(case, output) for case, output in zip(cases, outputs, strict=True)]
        return np.array([[float("nan") if score is None else getattr(score, self._part)] for score in scores])


def request_of(case: Case) -> Request:
    """What the case asks for, as judges take it."""
    examples = tuple((Pillow.fromarray(a), Pillow.fromarray(b)) for a, b in case.examples)
    return Request(examples, Pillow.fromarray(case.query), case.instruction)
