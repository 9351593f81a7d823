"""The small VAE: an encoder that computes the best linear code by construction, and a decoder trained to invert it.

Trained from scratch on two cores the pair reaches 22.5 dB in the time in which the principal components of 4x4
blocks, which the same layers can compute exactly, keep 33 dB. So the encoder is set, not trained, and the edit DiT
can train on its latents at once while the decoder still learns.
"""

import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageAttentionBlock, QwenImageResidualBlock
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from viral.model.frame_conv import use_frame_convs
from viral.pretrain import edits
from viral.pretrain.pictures import Pictures

CHANNELS, BLOCK = 16, 4
LOG_VARIANCE = -8.0
BATCH, LEARNING_RATE = 16, 2e-3
CARRIER = 64.0
"""A constant channel, large beside the signal, so that the norms scale the signal by nearly a constant."""


def batch(pictures: Pictures, count: int, rng: np.random.Generator) -> Float[Tensor, "b 3 y x"]:
    """Pictures before or after a random edit, in -1..1."""
    found = []
    while len(found) < count:
        edited = edits.edit(pictures, rng)(rng)
        found.append(edited.before if rng.random() < 0.5 else edited.after)
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() * 2 - 1


def build(pictures: Pictures, seed: int = 0) -> AutoencoderKLQwenImage:
    """A VAE of 16 channels at a quarter of the side: a linear encoder of `pictures`, an untrained decoder."""
    torch.manual_seed(seed)
    vae = AutoencoderKLQwenImage(
        base_dim=16, z_dim=CHANNELS, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, False],
        latents_mean=[0.0] * CHANNELS, latents_std=[1.0] * CHANNELS,
    )  # fmt: skip
    mean, components = principal_components(batch(pictures, 2000, np.random.default_rng(seed)))
    with torch.no_grad():
        _set_linear_encoder(vae, mean, components)
        round_as_stored(vae.encoder, vae.quant_conv)
    use_frame_convs(vae)
    _set_latent_scale(vae, batch(pictures, 256, np.random.default_rng(seed + 1)))
    return vae


def principal_components(x: Float[Tensor, "b 3 y x"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "z n"]]:
    """Mean and leading components of 4x4 RGB blocks, values ordered (channel, row, column)."""
    blocks = rearrange(x, "b c (h p) (w q) -> (b h w) (c p q)", p=BLOCK, q=BLOCK)
    mean = blocks.mean(0)
    covariance = torch.cov((blocks - mean).T)
    return mean, torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :CHANNELS].T


def _set_linear_encoder(vae: AutoencoderKLQwenImage, mean: Tensor, components: Tensor) -> None:
    """Write weights such that encoding multiplies each block by `components`.

    Residual branches end in zeros. Two strided convolutions gather 2x2 and then 4x4 pixels. Before the last SiLU every
    value stands with both signs, since silu(x) - silu(-x) = x.
    """
    encoder = vae.encoder
    for module in encoder.modules():
        if isinstance(module, QwenImageResidualBlock):
            zero(module.conv2)
        if isinstance(module, QwenImageAttentionBlock):
            zero(module.proj)
    first, down1, widen, down2, last = encoder.down_blocks
    half, carrier = BLOCK // 2, 3 * (BLOCK // 2) ** 2
    zero(
        encoder.conv_in, down1.resample[1], down2.resample[1], widen.conv_shortcut, last.conv_shortcut, encoder.conv_out
    )
    for c in range(3):
        encoder.conv_in.weight[c, c, -1, 1, 1] = 1
        for p in range(half):
            for q in range(half):
                down1.resample[1].weight[c * half * half + p * half + q, c, p, q] = 1
    encoder.conv_in.bias[3] = CARRIER
    down1.resample[1].weight[carrier, 3, 0, 0] = 1
    for i in range(carrier + 1):
        widen.conv_shortcut.weight[i, i] = 1
    kernels = rearrange(components, "z (c P p Q q) -> z (c p q) P Q", c=3, P=half, p=half, Q=half, q=half)
    down2.resample[1].weight[:CHANNELS, :carrier, :half, :half] = kernels
    down2.resample[1].bias[:CHANNELS] = -components @ mean
    down2.resample[1].weight[CHANNELS, carrier, 0, 0] = 1
    gain = CARRIER / last.out_dim**0.5
    for z in range(CHANNELS):
        last.conv_shortcut.weight[z, z] = 1
        last.conv_shortcut.weight[CHANNELS + z, z] = -1
        encoder.conv_out.weight[z, z, -1, 1, 1] = gain
        encoder.conv_out.weight[z, CHANNELS + z, -1, 1, 1] = -gain
    last.conv_shortcut.weight[2 * CHANNELS, CHANNELS] = 1
    encoder.conv_out.bias[CHANNELS:] = LOG_VARIANCE
    zero(vae.quant_conv)
    vae.quant_conv.weight[:, :, 0, 0, 0] = torch.eye(2 * CHANNELS)


def round_as_stored(*layers: nn.Module) -> None:
    """Round to what is stored, so that the decoder learns to invert the encoder that ships."""
    for layer in layers:
        for parameter in layer.parameters():
            parameter.copy_(parameter.bfloat16())


def zero(*layers: nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            parameter.zero_()


def _set_latent_scale(vae: AutoencoderKLQwenImage, x: Float[Tensor, "b 3 y x"]) -> None:
    """Configure the statistics by which the pipeline divides: half way to white.

    Fully white latents would spend most of the loss on faint detail, unscaled ones none of it.
    """
    with torch.no_grad():
        z = vae.encode(x.unsqueeze(2)).latent_dist.mode().transpose(0, 1).flatten(1)
    vae.register_to_config(latents_mean=z.mean(1).tolist(), latents_std=half_white(z.std(1)).tolist())


def half_white(std: Float[Tensor, " z"]) -> Float[Tensor, " z"]:
    """What each channel is divided by, of a standard deviation."""
    return (std * std.max()).sqrt()


def train_decoder(
    vae: AutoencoderKLQwenImage | AutoencoderKL, pictures: Pictures, seconds: float, state_file: Path, seed: int = 0
) -> dict[str, float]:
    """Train the decoder until `seconds` of processor time are spent in all, resuming from `state_file`.

    Leaves its averaged weights in place and returns what it took.
    """
    vae.requires_grad_(False)
    for part in (vae.decoder, vae.post_quant_conv):
        if part is not None:
            part.requires_grad_(True)
    trained = {name: p for name, p in vae.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0)
    average, seen, spent = {name: p.detach().clone() for name, p in trained.items()}, 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        vae.load_state_dict({**vae.state_dict(), **state["decoder"]})
        optimizer.load_state_dict(state["optimizer"])
        average, seen, spent = state["average"], state["seen"], state["spent"]
    rng, saved = np.random.default_rng([seed, seen]), spent
    while spent < seconds:
        start = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (seen + BATCH) / 2000, max(0.02, (1 - spent / seconds) / 0.6))
        loss = _decoder_loss(vae, batch(pictures, BATCH, rng))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        seen, spent = seen + BATCH, spent + time.process_time() - start
        with torch.no_grad():
            for name, p in trained.items():
                average[name].lerp_(p, max(0.005, 1 / (1 + seen / BATCH)))
        if spent - saved > 60 or spent >= seconds:
            saved = spent
            state = {"decoder": {n: p.detach() for n, p in trained.items()}, "optimizer": optimizer.state_dict()}
            temporary = state_file.with_suffix(".tmp")
            torch.save({**state, "average": average, "seen": seen, "spent": spent}, temporary)
            temporary.replace(state_file)
            print(f"decoder {spent:6.0f} s {seen} images loss {loss.item():.5f}", flush=True)
    vae.load_state_dict({**vae.state_dict(), **average})
    return {"images": float(seen), "seconds": spent}


def _decoder_loss(
    vae: AutoencoderKLQwenImage | AutoencoderKL, x: Float[Tensor, "b 3 y x"]
) -> Float[Tensor, ""]:  # fmt: skip
    """Mean squared and a little absolute error, with faint noise on the latents as a painted image has."""
    noise = torch.tensor(0.03)
    if isinstance(vae, AutoencoderKLQwenImage):
        x, noise = x.unsqueeze(2), torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1) * 0.03
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            z = vae.encode(x).latent_dist.mode().float()
        y = vae.decode(z + noise * torch.randn_like(z)).sample.float()
    return (x - y).square().mean() + 0.05 * (x - y).abs().mean()
