"""VIEScore: a vision-language model rates an edit for faithfulness (SC) and quality (PQ), 0 to 10."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL.Image import Image

from viral.sampling.judge_prompt import AnswerError, Part, Prompt, read_object
from viral.sampling.judges import Request

_FORM = """Answer with JSON alone, between two marks: \
||V^=^V|| {"reason": "one short sentence", "score": [x, y]} ||V^=^V||"""
CONSISTENCY = Prompt(
    "viescore-consistency-1",
    """Image B was edited.
{examples}{words}Image B: {query}
The edited image B: {output}
Give two whole numbers from 0 to 10.
x: is the edit that was asked for visible in the edited image? 0 is not at all, 10 is completely.
y: is everything else as it was in image B? 0 is a wholly different image, 10 is nothing changed but what had to.
"""
    + _FORM,
)
QUALITY = Prompt(
    "viescore-quality-1",
    """Look at this image as a picture of its own: {output}
Give two whole numbers from 0 to 10.
x: does it look natural, with plausible light, shadows, perspective and proportions? 0 is not at all, 10 is perfectly.
y: is it free of artefacts, such as smears, noise, seams, broken limbs or garbled writing? 0 is ruined, 10 is flawless.
"""
    + _FORM,
)
HIGHEST = 10.0


@dataclass(frozen=True)
class VIEScore:
    """The four ratings, 0 to 10."""

    success: float
    preservation: float
    naturalness: float
    cleanness: float

    @property
    def sc(self) -> float:
        """Semantic consistency: the lower of its two ratings."""
        return min(self.success, self.preservation)

    @property
    def pq(self) -> float:
        """Perceptual quality: the lower of its two ratings."""
        return min(self.naturalness, self.cleanness)

    @property
    def overall(self) -> float:
        """sqrt(SC PQ)."""
        return math.sqrt(self.sc * self.pq)


def viescore(answer: Callable[[list[Part]], str], request: Request, output: Image) -> VIEScore:
    """Rate an output by a model's `answer`; `AnswerError` when a reply holds no two numbers of 0 to 10."""
    success, preservation = read_ratings(answer(CONSISTENCY.fill(request, output=output)))
    naturalness, cleanness = read_ratings(answer(QUALITY.fill(request, output=output)))
    return VIEScore(success, preservation, naturalness, cleanness)


def read_ratings(text: str) -> tuple[float, float]:
    """The two numbers under "score" in a reply, whatever stands around its JSON."""
    ratings = read_object(text, "score")["score"]
    numbers = [r for r in ratings if type(r) in (int, float) and 0 <= r <= HIGHEST] if type(ratings) is list else []
    if len(numbers) != 2 or len(ratings) != 2:
        raise AnswerError(f"expected a score of two numbers from 0 to {HIGHEST:g}, got {ratings!r}")
    return float(numbers[0]), float(numbers[1])
