"""The one state dictionary of a folder of weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor


def read_state(folder: Path) -> dict[str, Tensor]:
    """Tensors by name, safetensors before pickles, which are read as tensors alone; `ValueError` without a file."""
    files = [path for suffix in ("safetensors", "pth", "pt", "bin") for path in sorted(folder.glob(f"*.{suffix}"))]
    if not files:
        raise ValueError(f"{folder} holds no .safetensors, .pth, .pt or .bin file of weights")
    if files[0].suffix == ".safetensors":
        return load_file(files[0])
    return torch.load(files[0], map_location="cpu", weights_only=True)
