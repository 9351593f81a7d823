"""Validation pictures: one test analogy per task as the adapter paints it at a checkpoint, in a process of its own."""

import io

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from viral.config import RunConfig
from viral.data.latents import LatentPair, LatentTable
from viral.model.adapter import add_adapter, load_adapter_state
from viral.model.backbone import load_backbone
from viral.model.roles import ANALOGY
from viral.model.velocity import EditVelocity
from viral.sampling.denoise import denoise, start_noise
from viral.storage import Storage
from viral.train.checkpoint import Checkpoints

STEPS = 8
"""Denoising steps of a validation picture; enough to see what is learnt, cheap beside the training."""
COLUMNS = ("A", "A'", "B", "output", "truth")
MARGIN, CAPTION = 96, 14


def grid_name(step: int) -> str:
    """File of the grid painted at a step."""
    return f"step-{step:06d}.png"


def grid_step(name: str) -> int:
    """Inverse of `grid_name`."""
    return int(name.removeprefix("step-").removesuffix(".png"))


class Painter:
    """Paints grids from checkpoints; holds a model of its own, so that no training worker waits for it."""

    def __init__(self, config: RunConfig, fingerprint: str) -> None:
        torch.set_num_threads(1)
        train = Storage(config.storage).join("train")
        self.checkpoints, self.place = Checkpoints(train.join("checkpoints"), fingerprint), train.join("validation")
        device = "cuda" if config.train.gpus else "cpu"
        dtype = torch.bfloat16 if config.train.gpus else torch.float32
        self.backbone = load_backbone(config.base_folder(), ("transformer", "vae"), device, dtype, config.model)
        self.transformer = self.backbone.transformer
        self.mode = config.train.context
        add_adapter(self.transformer, config.adapter, config.seed)
        table = LatentTable(Storage(config.storage).join(config.latents))
        self.text = torch.from_numpy(table.text)[None].to(device, dtype)
        self.analogies = {
            task: pair for task in table.tasks if (pair := _analogy(table, task, config.seed)) is not None
        }
        self.context = [self._stack([images[i] for images in self._images()]) for i in range(len(COLUMNS) - 1)]

    def paint(self, step: int) -> bool:
        """Write the grid of a checkpoint; false where the checkpoint has been dropped or there is nothing to paint."""
        if step not in self.checkpoints.steps() or not self.analogies:
            return False
        load_adapter_state(self.transformer, self.checkpoints.load(step).tensors.adapter)
        source, target, query, truth = self.context
        velocity = EditVelocity(self.transformer, [source, target, query], ANALOGY, self.text, mode=self.mode)
        noise = start_noise(list(range(len(self.analogies))), velocity.shape).to(self.text.device)
        output = denoise(velocity, self.backbone.scheduler, noise, STEPS)
        columns = [self.backbone.decode_latents(latents) for latents in (source, target, query, output, truth)]
        self.place.write(grid_name(step), _png(_draw(columns, list(self.analogies))))
        return True

    def _images(self) -> list[tuple[np.ndarray, ...]]:
        return [(a.source, a.target, b.source, b.target) for a, b in self.analogies.values()]

    def _stack(self, images: list[np.ndarray]) -> Float[Tensor, "b z h w"]:
        return (
            torch.from_numpy(np.stack(images)).to(self.text.device, self.text.dtype)
            if images
            else torch.empty(0, 1, 1, 1)
        )


def _analogy(table: LatentTable, task: str, seed: int) -> tuple[LatentPair, LatentPair] | None:
    """The fixed example and query of a task, from photographs kept apart; none where there are fewer than two pairs."""
    rows = table.rows(task, "test")
    if len(rows) < 2:
        return None
    example, query = np.random.default_rng(seed).choice(rows, size=2, replace=False)
    return table[int(example)], table[int(query)]


def _draw(columns: list[Float[Tensor, "b 3 y x"]], tasks: list[str]) -> UInt8[np.ndarray, "y x 3"]:
    """A row per task, with its name beside it and what the columns are above."""
    pixels = rearrange(torch.stack(columns).float(), "n b c y x -> (b y) (n x) c")
    pictures = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()
    height, width = columns[0].shape[2:]
    sheet = Image.new("RGB", (MARGIN + pictures.shape[1], CAPTION + pictures.shape[0]), "white")
    sheet.paste(Image.fromarray(pictures), (MARGIN, CAPTION))
    pen = ImageDraw.Draw(sheet)
    for i, task in enumerate(tasks):
        pen.text((4, CAPTION + i * height + height // 2 - 6), task, fill="black")
    for i, name in enumerate(COLUMNS):
        pen.text((MARGIN + i * width + 4, 1), name, fill="black")
    return np.asarray(sheet)


def _png(pixels: UInt8[np.ndarray, "y x 3"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
