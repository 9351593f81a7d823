"""What `--dry-run` says of mining: the memory that it takes and the time on 16 cores and on one H200."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from viral.config import RunConfig
from viral.data.clusters import BLOCK
from viral.data.mining import FEWEST, MOST, STEPS_OF_ONE, cluster_count
from viral.data_config import MiningConfig

GB = 1e9
WIDTH = 768
"""Numbers of a vector of ViT-L/14."""
SIZES = (10_000, 400_000, 1_500_000)
"""Pairs: a small corpus, Pico-Banana, GPT-Image-Edit."""
UNEVEN = 2.0
"""Sum of squares of the clusters' sizes over that of even ones, as clusters of steps come out."""
PICTURE = 162e9
"""Operations of ViT-L/14 on one picture of 224 x 224."""


@dataclass(frozen=True)
class Machine:
    """What a machine does of float32 products a second, and how many pictures a second ViT-L/14 sees on it."""

    name: str
    flops: float
    pictures: float


MACHINES = (Machine("16 cores", 16 * 45e9, 16 * 45e9 / PICTURE), Machine("one H200", 45e12, 1800.0))
"""A core at the float32 products that one thread was measured at; the card's float32 without TF32 at two thirds of its
peak of 67 TFLOP/s, and an estimate of ViT-L/14 in bfloat16."""


@dataclass(frozen=True)
class MiningCost:
    """Memory and work of mining `pairs` vectors of `width`; the clusters are as many as mining takes."""

    pairs: int
    width: int = WIDTH
    clusters: int | None = None

    @property
    def count(self) -> int:
        """K."""
        return self.clusters or cluster_count(self.pairs)

    @property
    def memory(self) -> float:
        """Bytes at the peak: three vectors of a pair in float16, its step in float32 and again of length 1, a block."""
        return self.pairs * self.width * (3 * 2.0 + 2 * 4.0) + 2 * 4.0 * BLOCK

    @property
    def cluster_flops(self) -> float:
        """Multiplications and additions of K-Means."""
        return 2.0 * self.pairs * self.width * self.count * (STEPS_OF_ONE + 1)

    @property
    def neighbour_flops(self) -> float:
        """Those of the search inside clusters."""
        return 2 * self.pairs * self.width * self.pairs / self.count * UNEVEN

    def seconds(self, machine: Machine) -> float:
        """K-Means and neighbours on a machine."""
        return (self.cluster_flops + self.neighbour_flops) / machine.flops

    def embedding_seconds(self, machine: Machine) -> float:
        """ViT-L/14 on both pictures of every pair."""
        return 2 * self.pairs / machine.pictures


def print_estimate(config: RunConfig) -> None:
    """Print memory and time by the number of pairs."""
    Console(width=110).print(cost_table(config.mining))


def cost_table(config: MiningConfig) -> Table:
    """Memory and time by the number of pairs."""
    table = Table("pairs x width", "clusters", "memory", title="Mining (estimate)")
    for machine in MACHINES:
        table.add_column(f"mining, {machine.name}")
        table.add_column(f"ViT-L/14, {machine.name}")
    for pairs in SIZES:
        cost = MiningCost(pairs, clusters=config.clusters)
        times = [
            _time(seconds)
            for machine in MACHINES
            for seconds in (cost.seconds(machine), cost.embedding_seconds(machine))
        ]
        table.add_row(f"{pairs} x {cost.width}", str(cost.count), f"{cost.memory / GB:.1f} GB", *times)
    table.caption = f"clusters: {FEWEST} to {MOST} unless mining.clusters says; embedding runs on actors, by shards"
    return table


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"
