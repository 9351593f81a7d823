"""Qwen's VAE on single frames at a third of the work.

Its causal 3D convolutions pad one frame with two frames of zeros in front, so only the last slice of each kernel
meets data: on one frame they equal a 2D convolution with that slice.
"""

import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from torch import Tensor


class FrameConv(QwenImageCausalConv3d):
    """The same parameters and result; takes the 2D way when the input is a single first frame."""

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        if cache_x is not None or x.shape[2] != 1:
            return super().forward(x, cache_x)
        padding = (self._padding[2], self._padding[0])
        return F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, self.stride[1:], padding).unsqueeze(2)


def use_frame_convs(vae: AutoencoderKLQwenImage) -> None:
    """Turn the causal convolutions of `vae` into `FrameConv`s, in place; parameters and their names stay."""
    for module in vae.modules():
        if type(module) is QwenImageCausalConv3d:
            module.__class__ = FrameConv
