"""Whether routers learned: how far training turned them from where they started."""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from viral.config import RunConfig
from viral.model.adapter import experts_of, inject_adapter
from viral.model.adapter_files import ROUTER, read_tensors
from viral.train.worker import open_transformer


def router_turn(config: RunConfig, adapter: Path) -> float | None:
    """Mean angle in degrees between each expert's router row as trained and as drawn; none without routers.

    Weight decay alone shortens a row and turns nothing, so a router that never got a gradient is at 0.
    """
    if not (adapter / ROUTER).is_file():
        return None
    trained, _ = read_tensors(adapter / ROUTER)
    transformer = open_transformer(config)
    inject_adapter(transformer, config.adapter, config.seed)
    drawn = {f"{name}.lora_router": layer.lora_router for name, layer in experts_of(transformer).items()}
    turns = [_angles(trained[name], row.detach().cpu()) for name, row in drawn.items() if row is not None]
    return float(np.mean(torch.cat(turns).numpy()))


def _angles(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.acos(cosine_similarity(one.double(), other.double()).clamp(-1, 1)))
