"""Which analogy is sample i of a run: a function of (seed, i) and the table, of nothing else.

So a run that was stopped, or goes on with another number of workers, sees the same samples, noise and times in the
same order, and no random state has to be saved.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from viral import flow
from viral.data.latents import LatentTable


@dataclass(frozen=True)
class Draw:
    """One analogy: two distinct rows of one task, the example A -> A' and the query B -> B'."""

    index: int
    task: str
    example: int
    query: int


@dataclass(frozen=True)
class Batch:
    """Analogies as tensors; images are normalised latents, `t` lies in (0, 1), 1 is noise.

    Each analogy has K = m / b noises and times; those of analogy i are i K to i K + K - 1.
    """

    tasks: tuple[str, ...]
    example_source: Float[Tensor, "b z h w"]
    example_target: Float[Tensor, "b z h w"]
    query: Float[Tensor, "b z h w"]
    target: Float[Tensor, "b z h w"]
    noise: Float[Tensor, "m z h w"]
    t: Float[Tensor, " m"]
    text: Float[Tensor, "b n d"]

    def to(self, device: str | torch.device) -> "Batch":
        """The same batch on another device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


class AnalogySampler:
    """Draws analogies from the rows of split `train`; a task's chance is its weight (1 where none is given).

    Every analogy comes with `targets` noises and times, the times moved towards noise by `shift` above 1.
    """

    def __init__(
        self,
        table: LatentTable,
        seed: int,
        weights: Mapping[str, float] | None = None,
        targets: int = 1,
        shift: float = 1.0,
    ) -> None:
        self.table, self.seed, self.targets, self.shift = table, seed, targets, shift
        self.rows = {task: table.rows(task, "train") for task in sorted(table.tasks)}
        poor = [task for task, rows in self.rows.items() if len(rows) < 2]
        if poor or not self.rows:
            raise ValueError(
                f"tasks {poor or 'of the table'} have fewer than 2 training pairs, and an analogy takes two; "
                "add photographs, raise data.train_crops, or leave the task out of data.tasks"
            )
        chance = np.array([(weights or {}).get(task, 1.0) for task in self.rows])
        if (chance < 0).any() or not chance.sum() > 0:
            raise ValueError(
                f"task weights {dict(zip(self.rows, chance.tolist(), strict=True))} must be >= 0 and not all zero"
            )
        self.chance = chance / chance.sum()

    def draw(self, index: int) -> Draw:
        """Sample `index` of the run."""
        rng = np.random.default_rng((self.seed, index))
        task = list(self.rows)[rng.choice(len(self.rows), p=self.chance)]
        example, query = rng.choice(self.rows[task], size=2, replace=False)
        return Draw(index, task, int(example), int(query))

    def collate(self, draws: list[Draw]) -> Batch:
        """Read the latents of `draws` and draw their noise and times."""
        examples = [self.table[draw.example] for draw in draws]
        queries = [self.table[draw.query] for draw in draws]
        shapes = {tuple(image.shape) for pair in (*examples, *queries) for image in (pair.source, pair.target)}
        if len(shapes) > 1:
            raise ValueError(
                f"latents of one batch differ in shape: {sorted(shapes)}; encode all pairs at one data.size"
            )
        shape = shapes.pop()
        noise, t = zip(*(chance for draw in draws for chance in self._chances(draw.index, shape)), strict=True)
        return Batch(
            tasks=tuple(draw.task for draw in draws),
            example_source=_stack([pair.source for pair in examples]),
            example_target=_stack([pair.target for pair in examples]),
            query=_stack([pair.source for pair in queries]),
            target=_stack([pair.target for pair in queries]),
            noise=torch.stack(noise),
            t=torch.cat(t),
            text=_tensor(self.table.text).expand(len(draws), -1, -1),
        )

    def _chances(self, index: int, shape: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Noises and times of a sample, from a generator of its own, so that the batch it lands in changes nothing."""
        seed = int(np.random.SeedSequence((self.seed, index, 1)).generate_state(1, np.uint64)[0])
        generator = torch.Generator().manual_seed(seed)
        return [
            (torch.randn(shape, generator=generator), flow.logit_normal(1, generator, self.shift))
            for _ in range(self.targets)
        ]


def step_indices(step: int, batch_size: int, rank: int, world: int) -> range:
    """Sample numbers that rank `rank` of `world` takes in a step: every `world`-th of the step's global batch."""
    return range(step * batch_size + rank, (step + 1) * batch_size, world)


@dataclass(frozen=True)
class Feed:
    """One worker's share of every step's batch, in micro batches."""

    sampler: AnalogySampler
    batch_size: int
    micro_batch: int
    rank: int = 0
    world: int = 1

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks it can draw."""
        return tuple(self.sampler.rows)

    def __call__(self, step: int) -> Iterator[Batch]:
        """Micro batches of one optimizer step."""
        indices = step_indices(step, self.batch_size, self.rank, self.world)
        for start in range(0, len(indices), self.micro_batch):
            yield self.sampler.collate(
                [self.sampler.draw(index) for index in indices[start : start + self.micro_batch]]
            )


def _stack(images: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images)).float()


def _tensor(array: np.ndarray | Tensor) -> Tensor:
    return array if isinstance(array, Tensor) else torch.from_numpy(array)
