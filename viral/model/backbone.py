"""Qwen-Image-Edit as diffusers loads it: a folder or hub id in diffusers' layout, whatever its size."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from jaxtyping import Float
from torch import Tensor
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration, Qwen2VLProcessor

from viral.config import ModelConfig
from viral.model.frame_conv import use_frame_convs
from viral.model.licences import UNDECLARED, Licence
from viral.model.loading import PARTS, OpenedBase, base_path, check_part, open_base, use_offload
from viral.model.modulation import use_modulation_table
from viral.model.roles import use_role_rope
from viral.storage import file_sha256


@dataclass(frozen=True)
class Backbone:
    """The frozen parts of an edit model; a part that was not asked for is None."""

    folder: Path
    scheduler: FlowMatchEulerDiscreteScheduler
    transformer: QwenImageTransformer2DModel | None = None
    vae: AutoencoderKLQwenImage | None = None
    texts: QwenImageEditPlusPipeline | None = None
    """The pipeline with text encoder, tokenizer and processor alone, for its prompt template."""
    licence: Licence = UNDECLARED
    """What the weights are under, for callers to print."""
    config: ModelConfig = ModelConfig()
    """How the parts are held."""

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

    def offload(self, config: ModelConfig, device: str) -> None:
        """Let the networks come to `device` only while they work, if `config.offload` asks; adapters come first."""
        pipeline = QwenImageEditPlusPipeline(
            scheduler=self.scheduler, vae=self.vae, transformer=self.transformer, tokenizer=None, processor=None,
            text_encoder=self.texts.text_encoder if self.texts else None,
        )  # fmt: skip
        use_offload(pipeline, config, device)

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
    base: str,
    parts: tuple[str, ...] = PARTS,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    config: ModelConfig = ModelConfig(),
) -> Backbone:
    """Load the asked `parts` of a folder or hub id, in eval mode and without gradients, held as `config` says.

    `dtype` overrides the configured one. A part whose output is cached need not be there. `ValueError` names a part
    that is missing, a licence that is not accepted, a package that quantisation needs, and how to reach the hub.
    """
    opened = open_base(base, parts, device, dtype, config)
    loaded: dict = {}
    if "transformer" in parts:
        model = opened.network(QwenImageTransformer2DModel, "transformer")
        use_role_rope(model)
        if config.modulation == "table":
            _use_table(model, opened)
        loaded["transformer"] = model
    if "vae" in parts:
        loaded["vae"] = opened.network(AutoencoderKLQwenImage, "vae")
        use_frame_convs(loaded["vae"])
    if "text" in parts:
        loaded["texts"] = _text_pipeline(opened)
    return Backbone(opened.folder, opened.scheduler, licence=opened.licence, config=config, **loaded)


def _use_table(transformer: QwenImageTransformer2DModel, opened: OpenedBase) -> None:
    if opened.dtype is not torch.bfloat16:
        raise ValueError(
            "model.modulation=table holds the times that bfloat16 tells apart, but the model computes in "
            f"{opened.dtype}; set model.dtype=bfloat16 or model.modulation=weights"
        )
    use_modulation_table(transformer, opened.dtype, opened.device)


def _text_pipeline(opened: OpenedBase) -> QwenImageEditPlusPipeline:
    for part in ("tokenizer", "processor"):
        check_part(opened.folder, part)
    return QwenImageEditPlusPipeline(
        scheduler=opened.scheduler, vae=None, transformer=None,
        text_encoder=opened.network(Qwen2_5_VLForConditionalGeneration, "text_encoder"),
        tokenizer=AutoTokenizer.from_pretrained(opened.folder, subfolder="tokenizer"),
        processor=Qwen2VLProcessor.from_pretrained(opened.folder, subfolder="processor"),
    )  # fmt: skip


def base_hash(base: str, config: ModelConfig = ModelConfig()) -> str:
    """sha256 over the names and bytes of a base's weight files and configurations."""
    digest = hashlib.sha256()
    folder = base_path(base, config)
    for path in sorted(p for p in folder.rglob("*") if p.suffix in {".safetensors", ".json", ".txt"}):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(_file_hash(path, path.stat().st_size, path.stat().st_mtime_ns))
    return digest.hexdigest()


@cache
def _file_hash(path: Path, size: int, changed: int) -> bytes:
    """Read once in a process as long as size and time of change stay: a full base takes a minute."""
    return bytes.fromhex(file_sha256(path))
