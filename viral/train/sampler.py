"""Which sample is number i of a run: a function of (seed, i) and the table, of nothing else.

So a run that was stopped, or goes on with another number of workers, sees the same samples, noise and times in the
same order, and no random state has to be saved.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from viral import flow
from viral.config import TrainConfig
from viral.data.latents import LatentTable
from viral.train.batch import AnyBatch, Batch, DiptychBatch, stack, texts_of

LAWS = {"logit_normal": flow.logit_normal, "uniform": flow.uniform}


@dataclass(frozen=True)
class Draw:
    """One analogy: two distinct rows of one task and group, the example A -> A' and the query B -> B'.

    A diptych is the query alone.
    """

    index: int
    task: str
    example: int
    query: int
    silent: bool = False
    """Whether its instruction is left out."""
    elder: int | None = None
    """The sample before it, where that has the same query under another edit: they share noise and times."""


@dataclass(frozen=True)
class Groups:
    """Rows of one task and size, by the groups within which they may meet; ascending."""

    rows: tuple[np.ndarray, ...]

    def choose(self, rng: np.random.Generator) -> np.ndarray:
        """The rows of one group, every row being as likely to be among them."""
        return self.rows[0] if len(self.rows) == 1 else self.rows[rng.choice(len(self.rows), p=self._chance)]

    def __len__(self) -> int:
        return sum(map(len, self.rows))

    @cached_property
    def _chance(self) -> Float[np.ndarray, " groups"]:
        return np.array([len(rows) for rows in self.rows]) / len(self)


@dataclass(frozen=True)
class Bucket:
    """Rows of one size, by task, and how often each task is drawn, relative to all of the run."""

    size: tuple[int, int]
    rows: dict[str, Groups]
    chance: Float[np.ndarray, " tasks"]


@dataclass(frozen=True)
class Chances:
    """What else is drawn for a sample."""

    targets: int = 1
    """Noises and times of each."""
    shift: float = 1.0
    """Above 1 moves times towards noise."""
    law: str = "logit_normal"
    prompt_dropout: float = 0.0
    siblings: bool = False
    """Whether every second sample is the sibling of the one before it, where there is one."""

    @classmethod
    def of(cls, config: TrainConfig) -> "Chances":
        """Those of a configuration."""
        return cls(config.targets, config.time_shift, config.time_law, config.prompt_dropout, config.siblings > 0)


class Sampler:
    """Draws samples from the rows of split `train`; a task's chance is its weight (1 where none is given).

    Rows of different sizes lie in buckets, of which each step draws one, so that all workers have the same work. For
    analogies of a task whose rows have groups, example and query are of one group; `alone` draws diptychs.
    """

    def __init__(
        self,
        table: LatentTable,
        seed: int,
        weights: Mapping[str, float] | None = None,
        chances: Chances = Chances(),
        alone: bool = False,
    ) -> None:
        self.table, self.seed, self.chances, self.alone = table, seed, chances, alone
        self.tasks = table.tasks
        self.buckets = _buckets(table, {task: (weights or {}).get(task, 1.0) for task in self.tasks}, 1 + (not alone))
        if chances.siblings and (alone or not self._siblings):
            raise ValueError(
                f"train.siblings compares two edits of one query, and "
                f"{'diptychs have no example' if alone else f'no row of {table.storage} has another such'}; set "
                "train.siblings=0 or add a source of kind siblings to dataset.sources"
            )

    def bucket(self, step: int) -> Bucket:
        """The rows that a step draws from."""
        if len(self.buckets) == 1:
            return self.buckets[0]
        chance = np.array([bucket.chance.sum() for bucket in self.buckets])
        rng = np.random.default_rng((self.seed, step, 2))
        return self.buckets[rng.choice(len(chance), p=chance / chance.sum())]

    def draw(self, index: int, step: int = 0) -> Draw:
        """Sample `index` of the run, which falls on `step`."""
        if self.chances.siblings and index % 2:
            elder = self._draw(index - 1, step)
            example, query = self._siblings.get(elder.example), self._siblings.get(elder.query)
            if example is not None and query is not None:
                return Draw(index, elder.task, example, query, elder.silent, elder.index)
        return self._draw(index, step)

    def _draw(self, index: int, step: int) -> Draw:
        rng, bucket = np.random.default_rng((self.seed, index)), self.bucket(step)
        task = list(bucket.rows)[rng.choice(len(bucket.rows), p=bucket.chance / bucket.chance.sum())]
        rows = bucket.rows[task].choose(rng)
        if self.alone:
            example = query = rng.choice(rows)
        else:
            example, query = rng.choice(rows, size=2, replace=False)
        silent = bool(self.chances.prompt_dropout) and rng.random() < self.chances.prompt_dropout
        return Draw(index, task, int(example), int(query), silent)

    def collate(self, draws: list[Draw]) -> AnyBatch:
        """Read the latents of `draws` and draw their noise and times."""
        queries = [self.table[draw.query] for draw in draws]
        each = zip(draws, queries, strict=True)
        noise, t = zip(*(one for draw, pair in each for one in self._noises(draw, pair.target.shape)), strict=True)
        spoken = [None if draw.silent else pair for draw, pair in zip(draws, queries, strict=True)]
        text, mask = texts_of(spoken, self.table.text)
        shared = {
            "tasks": tuple(draw.task for draw in draws), "target": stack([pair.target for pair in queries]),
            "noise": torch.stack(noise), "t": torch.cat(t), "text": text,
        }  # fmt: skip
        sources = stack([pair.source for pair in queries])
        if self.alone:
            pooled = stack([self.table.pooled if pair is None else pair.pooled for pair in spoken])
            return DiptychBatch(masked=sources, pooled=pooled, **shared)
        examples = [self.table[draw.example] for draw in draws]
        example = (stack([pair.source for pair in examples]), stack([pair.target for pair in examples]))
        younger = [i for i, draw in enumerate(draws) if draw.elder is not None]
        siblings = tuple(i for i in younger if i and draws[i - 1].index == draws[i].elder)
        return Batch(
            example_source=example[0], example_target=example[1], query=sources, text_mask=mask, siblings=siblings,
            **shared,
        )  # fmt: skip

    @cached_property
    def _siblings(self) -> dict[int, int]:
        """Of every row of `train` the other one of its picture, where its source has two groups of as many rows."""
        return dict(couple for task in self.tasks for couple in _sibling_rows(self.table, task))

    def _noises(self, draw: Draw, shape: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Noises and times of a sample, from a generator of its own, so that the batch it lands in changes nothing."""
        index = draw.index if draw.elder is None else draw.elder
        seed = int(np.random.SeedSequence((self.seed, index, 1)).generate_state(1, np.uint64)[0])
        generator, law = torch.Generator().manual_seed(seed), LAWS[self.chances.law]
        return [
            (torch.randn(shape, generator=generator), law(1, generator, self.chances.shift))
            for _ in range(self.chances.targets)
        ]


def _buckets(table: LatentTable, weights: Mapping[str, float], least: int) -> list[Bucket]:
    """The training rows by size; over all buckets a task is drawn as often as its weight says, its rows alike."""
    if min(weights.values(), default=0) < 0 or not sum(weights.values()) > 0:
        raise ValueError(f"task weights {dict(weights)} must be >= 0 and not all zero")
    found = {task: _groups(table, task, least) for task in weights}
    if poor := [task for task, groups in found.items() if not groups]:
        raise ValueError(
            f"tasks {poor} have fewer than {least} training pairs of one size and group, and a sample takes as many; "
            "add photographs, raise data.train_crops, or leave the task out of data.tasks"
        )
    sizes = sorted({size for groups in found.values() for size in groups})
    buckets = []
    for size in sizes:
        rows = {task: groups[size] for task, groups in found.items() if size in groups}
        share = [len(own) / sum(map(len, found[task].values())) for task, own in rows.items()]
        chance = np.array([weights[task] * part for task, part in zip(rows, share, strict=True)])
        buckets.append(Bucket(size, rows, chance))
    return [bucket for bucket in buckets if bucket.chance.sum() > 0]


def _groups(table: LatentTable, task: str, least: int) -> dict[tuple[int, int], Groups]:
    """Rows of a task by size and, for analogies, by group; those that are large enough to be drawn from."""
    found: dict[tuple[int, int], dict[str, list[int]]] = {}
    for row in table.rows(task, "train"):
        group = table.groups[row] or "" if least > 1 else ""
        found.setdefault(tuple(map(int, table.sizes[row])), {}).setdefault(group, []).append(row)
    large = {
        size: tuple(np.array(rows) for _, rows in sorted(groups.items()) if len(rows) >= least)
        for size, groups in found.items()
    }
    return {size: Groups(rows) for size, rows in large.items() if rows}


def _sibling_rows(table: LatentTable, task: str) -> Iterator[tuple[int, int]]:
    """Rows of the same place in the two groups of a source, both ways."""
    groups, sources = table.groups.tolist(), table.sources.tolist()
    rows = [row for row in table.rows(task, "train").tolist() if groups[row]]
    for _, found in groupby(sorted(rows, key=lambda row: (sources[row], row)), lambda row: sources[row]):
        family = list(found)
        one = [row for row in family if groups[row] == groups[family[0]]]
        other = [row for row in family if groups[row] != groups[family[0]]]
        if len(one) == len(other) and len({groups[row] for row in other}) == 1:
            yield from zip(one + other, other + one, strict=True)


def step_indices(step: int, batch_size: int, rank: int, world: int, together: int = 1) -> list[int]:
    """Sample numbers that rank `rank` of `world` takes in a step: of the step's global batch, cut into runs of
    `together` samples, every `world`-th run."""
    return [i for i in range(step * batch_size, (step + 1) * batch_size) if i // together % world == rank]


@dataclass(frozen=True)
class Feed:
    """One worker's share of every step's batch, in micro batches."""

    sampler: Sampler
    batch_size: int
    micro_batch: int
    rank: int = 0
    world: int = 1

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks it can draw."""
        return self.sampler.tasks

    def __call__(self, step: int) -> Iterator[AnyBatch]:
        """Micro batches of one optimizer step."""
        together = 2 if self.sampler.chances.siblings else 1
        indices = step_indices(step, self.batch_size, self.rank, self.world, together)
        for start in range(0, len(indices), self.micro_batch):
            yield self.sampler.collate(
                [self.sampler.draw(index, step) for index in indices[start : start + self.micro_batch]]
            )
