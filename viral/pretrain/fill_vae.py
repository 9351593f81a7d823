"""The small VAE of the Fill base: FLUX.1's class, its encoder linear by construction, its decoder trained.

Before the encoder's last convolution stand GroupNorm and SiLU. In each of the norm's groups two constant channels of
either sign, large beside the signal, make it scale by nearly a constant; every value stands there with both signs too,
so that the group's mean is 0, and silu(x) - silu(-x) = x.
"""

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders.vae import Encoder
from diffusers.models.resnet import ResnetBlock2D
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from viral.pretrain.pictures import Pictures
from viral.pretrain.vae import (
    BLOCK,
    CARRIER,
    CHANNELS,
    LOG_VARIANCE,
    batch,
    half_white,
    principal_components,
    round_as_stored,
    zero,
)

WIDTHS, GROUPS = (16, 32, 64), 4


def build_vae(pictures: Pictures, seed: int = 0) -> AutoencoderKL:
    """A VAE of 16 channels at a quarter of the side: a linear encoder of `pictures`, an untrained decoder.

    FLUX.1's pipeline scales all channels alike, so each channel's own scale is part of the encoder.
    """
    torch.manual_seed(seed)
    stages = len(WIDTHS)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * stages, up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=WIDTHS, layers_per_block=1, norm_num_groups=GROUPS, latent_channels=CHANNELS,
        scaling_factor=1.0, shift_factor=0.0, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    x = batch(pictures, 2000, np.random.default_rng(seed))
    mean, components = principal_components(x)
    blocks = rearrange(x, "b c (h p) (w q) -> (b h w) (c p q)", p=BLOCK, q=BLOCK)
    scaled = components / half_white((blocks @ components.T).std(0)).unsqueeze(1)
    with torch.no_grad():
        _set_linear_encoder(vae, mean, scaled)
        round_as_stored(vae.encoder)
    return vae


def linear_code(vae: AutoencoderKL) -> tuple[Float[Tensor, "z n"], Float[Tensor, " z"]]:
    """What the encoder computes of a block's values, ordered (channel, row, column): components and offset."""
    code, half = vae.encoder.down_blocks[1].downsamplers[0].conv, BLOCK // 2
    kernels = code.weight.detach()[:CHANNELS, : 3 * half * half, :half, :half]
    return rearrange(kernels, "z (c p q) P Q -> z (c P p Q q)", p=half, q=half), code.bias.detach()[:CHANNELS]


def _set_linear_encoder(vae: AutoencoderKL, mean: Tensor, components: Tensor) -> None:
    """Write weights such that encoding multiplies each block by `components`.

    Residual branches end in zeros. Two strided convolutions gather 2x2 and then 4x4 pixels.
    """
    encoder = vae.encoder
    for module in encoder.modules():
        if isinstance(module, ResnetBlock2D):
            zero(module.conv2)
        if isinstance(module, Attention):
            zero(module.to_out[0])
    _gather(encoder, mean, components)
    _spread(encoder)


def _gather(encoder: Encoder, mean: Tensor, components: Tensor) -> None:
    """Down to a cell: its values in the first channels, a carrier of either sign after them."""
    gather, code = (block.downsamplers[0].conv for block in encoder.down_blocks[:2])
    widen, half = encoder.down_blocks[1].resnets[0].conv_shortcut, BLOCK // 2
    zero(encoder.conv_in, gather, widen, code)
    carrier = 3 * half * half
    for c in range(3):
        encoder.conv_in.weight[c, c, 1, 1] = 1
        for p in range(half):
            for q in range(half):
                gather.weight[c * half * half + p * half + q, c, p, q] = 1
    code.weight[:CHANNELS, :carrier, :half, :half] = rearrange(
        components, "z (c P p Q q) -> z (c p q) P Q", c=3, P=half, p=half, Q=half, q=half
    )
    code.bias[:CHANNELS] = -components @ mean
    for i, sign in enumerate((1, -1)):
        encoder.conv_in.bias[3 + i] = sign * CARRIER
        gather.weight[carrier + i, 3 + i, 0, 0] = 1
        code.weight[CHANNELS + i, carrier + i, 0, 0] = 1
    for i in range(carrier + 2):
        widen.weight[i, i] = 1


def _spread(encoder: Encoder) -> None:
    """Through the norm and the SiLU: in each group its share of the values with both signs, and both carriers."""
    spread = encoder.down_blocks[2].resnets[0].conv_shortcut
    zero(spread, encoder.conv_out)
    width, own = WIDTHS[-1] // GROUPS, CHANNELS // GROUPS
    gain = CARRIER * (2 / width) ** 0.5
    for z in range(CHANNELS):
        place = z // own * width + z % own
        for channel, sign in ((place, 1), (place + own, -1)):
            spread.weight[channel, z] = sign
            encoder.conv_out.weight[z, channel, 1, 1] = sign * gain
    for group in range(GROUPS):
        for i in range(2):
            spread.weight[group * width + 2 * own + i, CHANNELS + i] = 1
    encoder.conv_out.bias[CHANNELS:] = LOG_VARIANCE
