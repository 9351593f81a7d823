"""Qwen-Image-Edit as diffusers loads it: a folder or hub id in diffusers' layout, whatever its size."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from huggingface_hub import snapshot_download
from jaxtyping import Float
from torch import Tensor
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration, Qwen2VLProcessor

from viral.model.frame_conv import use_frame_convs
from viral.model.roles import use_role_rope

PARTS = ("transformer", "vae", "text")


@dataclass(frozen=True)
class Backbone:
    """The frozen parts of an edit model; a part that was not asked for is None."""

    folder: Path
    scheduler: FlowMatchEulerDiscreteScheduler
    transformer: QwenImageTransformer2DModel | None = None
    vae: AutoencoderKLQwenImage | None = None
    texts: QwenImageEditPlusPipeline | None = None
    """The pipeline with text encoder, tokenizer and processor alone, for its prompt template."""

    @property
    def scale(self) -> int:
        """Pixels per latent cell along a side; images need sides that are multiples of twice this."""
        return 2 ** len(self._vae().config.temperal_downsample)

    @torch.no_grad()
    def encode_images(self, images: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b z h w"]:
        """Normalised latents (z - mean) / std of RGB images in -1..1, taking the posterior's mode."""
        vae, step = self._vae(), 2 * self.scale
        if images.shape[2] % step or images.shape[3] % step:
            raise ValueError(
                f"image sides {tuple(images.shape[2:])} are not multiples of {step}; resize before encoding"
            )
        latents = vae.encode(images.to(vae.dtype).unsqueeze(2)).latent_dist.mode()[:, :, 0]
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    @torch.no_grad()
    def decode_latents(self, latents: Float[Tensor, "b z h w"]) -> Float[Tensor, "b 3 y x"]:
        """RGB images in -1..1 of normalised latents."""
        mean, std = self._statistics(latents)
        return (
            self._vae().decode((latents * std + mean).to(self._vae().dtype).unsqueeze(2)).sample[:, :, 0].clamp(-1, 1)
        )

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Float[Tensor, "b n d"]:
        """Embeddings of prompts without images, zero padded to the longest."""
        if self.texts is None:
            raise ValueError("the text encoder is not loaded; ask load_backbone for the part 'text'")
        return self.texts.encode_prompt(prompts)[0]

    def _vae(self) -> AutoencoderKLQwenImage:
        if self.vae is None:
            raise ValueError("the VAE is not loaded; ask load_backbone for the part 'vae'")
        return self.vae

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self._vae().config
        mean, std = (
            torch.tensor(v, device=like.device, dtype=like.dtype) for v in (config.latents_mean, config.latents_std)
        )
        return mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)


def load_backbone(
    base: str, parts: tuple[str, ...] = PARTS, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Backbone:
    """Load the asked `parts` of a folder or hub id, in eval mode and without gradients."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise ValueError(f"unknown parts {sorted(unknown)}; there are {PARTS}")
    folder = base_path(base)
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    loaded: dict = {}
    if "transformer" in parts:
        model = QwenImageTransformer2DModel.from_pretrained(folder, subfolder="transformer", torch_dtype=dtype)
        use_role_rope(model)
        loaded["transformer"] = model.to(device).eval().requires_grad_(False)
    if "vae" in parts:
        vae = AutoencoderKLQwenImage.from_pretrained(folder, subfolder="vae", torch_dtype=dtype)
        use_frame_convs(vae)
        loaded["vae"] = vae.to(device).eval().requires_grad_(False)
    if "text" in parts:
        loaded["texts"] = _text_pipeline(folder, scheduler, device, dtype)
    return Backbone(folder, scheduler, **loaded)


def _text_pipeline(
    folder: Path, scheduler: FlowMatchEulerDiscreteScheduler, device: str, dtype: torch.dtype
) -> QwenImageEditPlusPipeline:
    encoder = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, subfolder="text_encoder", dtype=dtype)
    return QwenImageEditPlusPipeline(
        scheduler=scheduler, vae=None, transformer=None,
        text_encoder=encoder.to(device).eval().requires_grad_(False),
        tokenizer=AutoTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        processor=Qwen2VLProcessor.from_pretrained(folder, subfolder="processor"),
    )  # fmt: skip


def base_path(base: str) -> Path:
    """The local folder of a base: itself, or the hub's snapshot of it."""
    if Path(base).is_dir():
        return Path(base)
    if base.count("/") != 1:
        raise ValueError(f"base {base!r} is neither a folder nor a hub id like 'Qwen/Qwen-Image-Edit-2511'")
    return Path(snapshot_download(base))


def base_hash(base: str) -> str:
    """sha256 over the names and bytes of a base's weight files and configurations."""
    digest = hashlib.sha256()
    folder = base_path(base)
    for path in sorted(p for p in folder.rglob("*") if p.suffix in {".safetensors", ".json", ".txt"}):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
