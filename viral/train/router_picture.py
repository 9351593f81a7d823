"""Which experts the tokens of each layer go to, as a picture."""

import io

import numpy as np
from jaxtyping import Float

PLACE = "router"


def draw_router(use: Float[np.ndarray, "layers e"], step: int) -> bytes:
    """PNG of a heat map, layers down and experts across; what all alike would be is the middle of its colours."""
    from matplotlib.figure import Figure  # a second to import, which workers that draw nothing need not spend

    layers, experts = use.shape
    figure = Figure(figsize=(1.6 + 0.6 * experts, 1.6 + 0.16 * layers), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(use, aspect="auto", cmap="RdBu_r", vmin=0, vmax=2 / experts, interpolation="nearest")
    axes.set_xticks(range(experts))
    axes.set_yticks(range(0, layers, max(1, layers // 10)))
    axes.set(xlabel="expert", ylabel="layer with experts", title=f"step {step}")
    bar = figure.colorbar(drawn, ax=axes, ticks=[0, 1 / experts, 2 / experts])
    bar.set_label("share of the tokens")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
