"""What `--dry-run` says of a training run beside its configuration."""

from rich.console import Console
from rich.table import Table

from viral.config import RunConfig, stop
from viral.model.footprint import GB, PAINTING_CHANGES, STEPS, TRAINING_CHANGES, Change, Footprint
from viral.model.licences import licence_of

SIZES = (24, 48, 80)
"""Sizes of common cards in GB."""


def print_estimate(config: RunConfig) -> None:
    """Print memory by part, what fits which card, and times on the configured one; loads no weights."""
    try:
        footprint, console = Footprint(config), Console(width=100)
        licence = licence_of(config.base_folder(), config.model.revision)
        console.print(f"\nbase: {config.base}, under {licence}", highlight=False, markup=False)
        console.print(_memory(footprint))
        console.print(_fits(footprint))
        console.print(_times(footprint))
    except ValueError as error:
        stop(str(error))


def _memory(footprint: Footprint) -> Table:
    table = Table("GB on one card", "training", "painting", title="Memory by part (estimate)")
    training, painting = footprint.training(), footprint.painting()
    for part in dict.fromkeys((*training, *painting)):
        table.add_row(part, *(f"{parts[part] / GB:.1f}" if part in parts else "-" for parts in (training, painting)))
    table.add_section()
    table.add_row("total", *(f"{sum(parts.values()) / GB:.1f}" for parts in (training, painting)))
    return table


def _fits(footprint: Footprint) -> Table:
    table = Table("card", "training", "painting", title="What fits, with the smallest change")
    for size in SIZES:
        table.add_row(
            f"{size} GB",
            _words(footprint, footprint.fitting(size * GB, footprint.training, TRAINING_CHANGES)),
            _words(footprint, footprint.fitting(size * GB, footprint.painting, PAINTING_CHANGES)),
        )
    return table


def _words(footprint: Footprint, change: Change | None) -> str:
    if change is None:
        return "does not fit"
    return " ".join(footprint.settings(change)) or "fits as it is"


def _times(footprint: Footprint) -> Table:
    config, card = footprint.config, footprint.card
    table = Table("what", "estimate", title=f"Time and size on {config.train.workers} x {config.model.card}")
    table.add_row(f"training step of {config.train.batch_size} samples", f"{footprint.step_seconds():.2f} s")
    table.add_row("tokens of a sample", f"{footprint.tokens}")
    table.add_row("operations of a step on each card", f"{footprint.step_flops() / 1e12:.0f} TFLOP")
    table.add_row("samples an hour", f"{footprint.samples_per_hour():.0f}")
    table.add_row("the run", f"{footprint.step_seconds() * config.train.steps / 3600:.1f} h")
    table.add_row("one checkpoint", f"{footprint.checkpoint_bytes() / GB:.1f} GB")
    table.add_row(f"image, {STEPS} steps, one card", f"{footprint.image_seconds():.1f} s")
    if footprint.work.context:
        kept = f"the same, stationary context (+{footprint.context_bytes() / GB:.1f} GB)"
        table.add_row(kept, f"{footprint.image_seconds(stationary=True):.1f} s")
    table.caption = f"at {card.share:.0%} of the card's {card.peak / 1e12:.0f} TFLOP/s"
    return table
