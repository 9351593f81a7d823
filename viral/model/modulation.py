"""What the time does to every layer of Qwen-Image as a table on the host, in place of a third of the weights.

Shifts, scales and gates follow from the time alone, and bfloat16, to which every time is rounded before the model
sees it, tells no more than 1282 of them apart from 1 down to 1/1024 and 0. At full size that is 5.7 GB of the
computer's memory for 13.6 GB of the card's, and the same result but for the rounding of products of other shapes.
"""

from itertools import accumulate

import torch
from diffusers import QwenImageTransformer2DModel
from jaxtyping import Float, Int
from torch import Tensor, nn

BINADES, STEPS = 10, 128
"""Halvings of 1 that are told apart, and bfloat16's numbers between one and the next."""
HEAD = "norm_out"


def bfloat16_times() -> Float[Tensor, " t"]:
    """0 and bfloat16's numbers from 2^-BINADES to 1, ascending, in float32."""
    numbers = (1 + torch.arange(STEPS) / STEPS) * 2.0 ** torch.arange(-BINADES, 0).unsqueeze(1)
    return torch.cat([torch.zeros(1), numbers.flatten(), torch.ones(1)])


def use_modulation_table(transformer: QwenImageTransformer2DModel, dtype: torch.dtype, device: str = "cpu") -> None:
    """Put a table, computed on `device`, in the place of the layers that make modulations of times.

    `dtype` is that of computation; one that tells more times apart than bfloat16 has them rounded from now on.
    """
    times, names = bfloat16_times(), modulation_layers(transformer)
    width = transformer.config.num_attention_heads * transformer.config.attention_head_dim
    ends = list(accumulate(2 * width if name == HEAD else 6 * width for name in names))
    vectors = torch.empty(len(times), ends[-1], dtype=dtype)
    with torch.no_grad():
        like = torch.empty(0, device=device, dtype=dtype)
        embedded = transformer.time_text_embed.to(device)(times.to(device, dtype), like)
        for name, start, end in zip(names, [0, *ends], ends, strict=False):
            vectors[:, start:end] = _take_out(transformer, name, Part(start, end)).to(device)(embedded)
    transformer.time_text_embed = TimeTable(times, vectors)


def modulation_layers(transformer: QwenImageTransformer2DModel) -> list[str]:
    """Names of what makes modulations of embedded times: two in every block, and the head's."""
    blocks = range(len(transformer.transformer_blocks))
    return [*(f"transformer_blocks.{i}.{name}" for i in blocks for name in ("img_mod", "txt_mod")), HEAD]


class TimeTable(nn.Module):
    """Stands where times are embedded: a time becomes its modulations of all layers in one row."""

    def __init__(self, times: Float[Tensor, " t"], vectors: Float[Tensor, "t n"]) -> None:
        super().__init__()
        # No buffers, which would follow the model to the card.
        self.table = (times, vectors)

    def forward(self, t: Float[Tensor, " b"], like: Tensor, *_: None) -> Float[Tensor, "b n"]:
        """The rows of the times in 0..1 nearest to `t`, of the type and at the place of `like`."""
        return self.table[1][self._nearest(t.float().cpu())].to(like.device, like.dtype)

    def _nearest(self, t: Float[Tensor, " b"]) -> Int[Tensor, " b"]:
        times = self.table[0]
        if not bool(((t >= 0) & (t <= 1)).all()):
            raise ValueError(f"times {t.tolist()} do not lie in 0..1, between data and noise")
        above = torch.searchsorted(times, t)
        below = (above - 1).clamp(min=0)
        return torch.where(times[above] - t <= t - times[below], above, below)


class Part(nn.Module):
    """Stands where a layer's modulation is made: its piece of the row."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self.start, self.end = start, end

    def forward(self, row: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        return row[..., self.start : self.end]


def _take_out(transformer: QwenImageTransformer2DModel, name: str, part: Part) -> nn.Module:
    """What made a modulation, which `part` replaces."""
    if name == HEAD:
        head = transformer.norm_out
        maker = nn.Sequential(head.silu, head.linear)
        head.silu, head.linear = nn.Identity(), part
    else:
        maker = transformer.get_submodule(name)
        transformer.set_submodule(name, part)
    return maker
