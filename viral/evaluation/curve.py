"""A loss curve as inline SVG, drawn without a plotting library's styles."""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34


def loss_curve(steps: Sequence[int], losses: Sequence[float]) -> Markup:
    """An SVG of the losses (thin) and their running mean (thick) over optimizer steps; `ValueError` without points."""
    if not steps or len(steps) != len(losses):
        raise ValueError(f"a curve needs as many losses as steps and at least one, got {len(steps)} and {len(losses)}")
    low, high = min(losses), max(losses)
    span = (high - low) or 1.0
    xs = [LEFT + (WIDTH - LEFT - RIGHT) * step / max(steps) for step in steps]
    scale = [TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / span) for value in losses]
    mean = [TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / span) for value in running_mean(losses)]
    middle = (low + high) / 2
    labels = "".join(
        _tick(TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / span), value) for value in (low, middle, high)
    )
    first, last = running_mean(losses)[0], running_mean(losses)[-1]
    return Markup(
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Training loss over {max(steps)} steps, running mean from {first:.3f} to {last:.3f}">'
        f'{labels}<text x="{LEFT}" y="{HEIGHT - 10}">0</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 10}" text-anchor="end">step {max(steps)}</text>'
        f'<polyline class="raw" points="{_points(xs, scale)}"/>'
        f'<polyline class="mean" points="{_points(xs, mean)}"/></svg>'
    )


def running_mean(values: Sequence[float], share: float = 0.1) -> list[float]:
    """Each value averaged with those before it, over a window of `share` of the length."""
    window = max(1, round(len(values) * share))
    return [sum(values[max(0, i - window + 1) : i + 1]) / min(window, i + 1) for i in range(len(values))]


def _points(xs: Sequence[float], ys: Sequence[float]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))


def _tick(y: float, value: float) -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    )
