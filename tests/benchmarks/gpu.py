"""Full width on one GPU: 60 layers of random bf16 weights, against diffusers and peft; a table, and bench-gpu.json.

Needs torch, diffusers, peft and the small packages of viral.model, neither Ray nor DeepSpeed. `--tiny` runs the same
lines in seconds, on the CPU too: figures of small random layers, good for nothing but seeing that it runs.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import gpu_rows  # noqa: E402
import torch  # noqa: E402
from gpu_bench import FULL, TINY, Bench  # noqa: E402
from timing import Row  # noqa: E402

ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "G1": gpu_rows.overhead,
    "G2": gpu_rows.mixtures,
    "G3": gpu_rows.forward,
    "G3.compiled": partial(gpu_rows.forward, compiled=True),
    "G4": gpu_rows.loop,
    "G5": gpu_rows.guided_loop,
    "G6": gpu_rows.absolute,
    "G9": gpu_rows.in_place,
    "G10": gpu_rows.filtered,
    "G11": gpu_rows.mining,
    "G7": gpu_rows.training,
}
"""G8 is a row of G7's, which comes last, as it leaves an adapter in the model."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=ROWS, help="one race")
    parser.add_argument("--tiny", action="store_true", help="rehearse with small sizes")
    told = parser.parse_args()
    if not told.tiny and not torch.cuda.is_available():
        parser.error("no GPU is here; --tiny rehearses on the CPU")
    torch.set_float32_matmul_precision("high")  # as training sets it
    bench = Bench(TINY if told.tiny else FULL, "cuda" if torch.cuda.is_available() else "cpu")
    rows: list[Row] = []
    for name, build in ROWS.items():
        if told.only in (None, name):
            found = build(bench)
            rows += found
            for row in found:
                print(describe(replace(row, passed=None) if told.tiny else row), flush=True)
    if not told.tiny:
        Path("bench-gpu.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def describe(row: Row) -> str:
    ratio = "no ratio" if row.ratio is None else f"{row.ratio:.2f} (bar {row.bar:.2f}, ceiling {row.floor:.2f})"
    times = "" if row.ours is None else f"; ours {1000 * row.ours:.2f} ms, theirs {1000 * (row.theirs or 0):.2f} ms"
    verdict = {True: "passed", False: "failed", None: "rehearsed"}[row.passed]
    return f"{row.id:14} {ratio:38} {verdict:9} {row.workload}; {row.peer}{times}; {row.gate}"


if __name__ == "__main__":
    main()
