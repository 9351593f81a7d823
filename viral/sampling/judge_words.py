"""The words judge: does B -> B' go where the instruction points, in a space that images and words share?"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from viral.sampling.embedder import ClipEmbedder
from viral.sampling.judges import Candidate, Request, ScoringJudge


@dataclass(frozen=True)
class Told:
    """Where the instruction points, and where the query stands."""

    words: Float[Tensor, "1 d"]
    query: Float[Tensor, "1 d"]


class WordsJudge(ScoringJudge[Told]):
    """Ours, for edits told in words where there is no vision-language model: cos(embed(B') - embed(B), words).

    It takes an embedder that was trained so that the step of an edit lies where its instruction does, as the embedded
    one was; in CLIP's own space instructions do not lie there. 0 where nothing moved.
    """

    def __init__(self, embed: ClipEmbedder) -> None:
        super().__init__()
        self.embed, self.name = embed, f"words in {embed.name}"

    def prepare(self, request: Request) -> Told:
        """Embeds the request once; `ValueError` without an instruction."""
        if not request.instruction:
            raise ValueError("the words judge needs an instruction, got none; use the direction or cycle judge")
        return Told(self.embed.words([request.instruction]), self.embed([request.query]))

    def measure(self, known: Told, candidate: Candidate) -> float:
        """Between -1 and 1."""
        return cosine_similarity(self.embed([candidate.image]) - known.query, known.words).item()
