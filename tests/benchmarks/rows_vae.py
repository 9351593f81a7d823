"""V1: single frames through Qwen's video VAE."""

import torch
from diffusers import AutoencoderKLQwenImage
from timing import Peer, Race, Result

from viral.model.frame_conv import use_frame_convs


def encode_frames() -> Race:
    torch.manual_seed(0)
    stock = AutoencoderKLQwenImage(
        base_dim=16, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, False]
    )
    ours = AutoencoderKLQwenImage.from_config(stock.config)
    ours.load_state_dict(stock.state_dict())
    use_frame_convs(ours)
    images = torch.randn(4, 3, 1, 64, 64)

    @torch.no_grad()
    def encode(vae: AutoencoderKLQwenImage) -> Result:
        return {"latents": vae.encode(images).latent_dist.mode()}

    peer = Peer("V1", "diffusers' AutoencoderKLQwenImage", 1.5, 3.0, lambda: encode(stock))
    return Race("Qwen VAE encode of four single frames of 64x64", lambda: encode(ours), (peer,))
