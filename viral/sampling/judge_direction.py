"""The direction judge: does B -> B' go where A -> A' went in an embedding space?"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from viral.sampling.embedder import Embedder
from viral.sampling.judges import Candidate, Request, ScoringJudge


@dataclass(frozen=True)
class Directions:
    """How the examples moved, one row a pair, and where the query stands."""

    edits: Float[Tensor, "k d"]
    query: Float[Tensor, "1 d"]


class DirectionJudge(ScoringJudge[Directions]):
    """Score: cosine of embed(B') - embed(B) with embed(A') - embed(A), mean over the pairs; 0 where nothing moved."""

    def __init__(self, embed: Embedder) -> None:
        super().__init__()
        self.embed, self.name = embed, f"direction in {embed.name}"

    def prepare(self, request: Request) -> Directions:
        """Embeds the request once; `ValueError` without an example pair."""
        if not request.examples:
            raise ValueError("the direction judge needs an example pair, got none; use a vision-language judge")
        sources, targets = zip(*request.examples, strict=True)
        return Directions(self.embed([*targets]) - self.embed([*sources]), self.embed([request.query]))

    def measure(self, known: Directions, candidate: Candidate) -> float:
        """Between -1 and 1."""
        return cosine_similarity(self.embed([candidate.image]) - known.query, known.edits).mean().item()
