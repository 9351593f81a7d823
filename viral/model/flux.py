"""FLUX.1 as diffusers loads it: a folder or hub id in diffusers' layout, whatever its size.

FLUX.1 Fill [dev] and FLUX.1 [dev] share every part but the transformer. Their weights are under the FLUX.1 [dev]
Non-Commercial License, which has to be accepted in the configuration before they load.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from viral.config import ModelConfig
from viral.model.licences import UNDECLARED, Licence
from viral.model.loading import PARTS, OpenedBase, check_part, open_base, use_offload
from viral.model.tokens import Latents, pack, unpack


@dataclass(frozen=True)
class FluxText:
    """An encoded prompt: T5's tokens and CLIP's pooled vector."""

    tokens: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b p"]


@dataclass(frozen=True)
class FluxBackbone:
    """The frozen parts of a FLUX.1 model; a part that was not asked for is None."""

    folder: Path
    scheduler: FlowMatchEulerDiscreteScheduler
    transformer: FluxTransformer2DModel | None = None
    vae: AutoencoderKL | None = None
    texts: FluxFillPipeline | None = None
    """The pipeline with both text encoders and tokenizers alone."""
    licence: Licence = UNDECLARED
    """What the weights are under, for callers to print."""
    config: ModelConfig = ModelConfig()
    """How the parts are held."""

    @property
    def scale(self) -> int:
        """Pixels per latent cell along a side; images need sides that are multiples of twice this."""
        return 2 ** (len(self._vae().config.block_out_channels) - 1)

    @torch.no_grad()
    def encode_images(self, images: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b z h w"]:
        """Normalised latents (z - shift) * scaling of RGB images in -1..1, taking the posterior's mode."""
        vae, step = self._vae(), 2 * self.scale
        if images.shape[2] % step or images.shape[3] % step:
            raise ValueError(
                f"image sides {tuple(images.shape[2:])} are not multiples of {step}; resize before encoding"
            )
        latents = vae.encode(images.to(vae.device, vae.dtype)).latent_dist.mode()
        return (latents - vae.config.shift_factor) * vae.config.scaling_factor

    @torch.no_grad()
    def decode_latents(self, latents: Float[Tensor, "b z h w"]) -> Float[Tensor, "b 3 y x"]:
        """RGB images in -1..1 of normalised latents."""
        vae = self._vae()
        plain = latents / vae.config.scaling_factor + vae.config.shift_factor
        return vae.decode(plain.to(vae.device, vae.dtype)).sample.clamp(-1, 1)

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> FluxText:
        """Both embeddings of each prompt, T5's padded to its tokenizer's full length, as FLUX.1 was trained.

        CLIP reads the first 77 tokens only. Raises `ValueError` where T5 would lose words, as the instruction may be
        among them.
        """
        texts = self._texts()
        limit, longest = self.tokenizer.model_max_length, max(map(len, self.tokenizer(prompts).input_ids))
        if longest > limit:
            raise ValueError(f"the prompt has {longest} tokens, T5 reads {limit}; shorten the instruction or caption")
        tokens, pooled, _ = texts.encode_prompt(prompts, max_sequence_length=limit)
        return FluxText(tokens, pooled)

    @property
    def tokenizer(self) -> T5TokenizerFast:
        """T5's, whose `model_max_length` (FLUX.1: 512) is that of every encoded prompt."""
        return self._texts().tokenizer_2

    def offload(self, config: ModelConfig, device: str) -> None:
        """Let the networks come to `device` only while they work, if `config.offload` asks; adapters come first."""
        texts = self._texts()
        pipeline = FluxFillPipeline(
            scheduler=self.scheduler, vae=self.vae, transformer=self.transformer, tokenizer=None, tokenizer_2=None,
            text_encoder=texts.text_encoder, text_encoder_2=texts.text_encoder_2,
        )  # fmt: skip
        use_offload(pipeline, config, device)

    def _vae(self) -> AutoencoderKL:
        if self.vae is None:
            raise ValueError("the VAE is not loaded; ask load_flux for the part 'vae'")
        return self.vae

    def _texts(self) -> FluxFillPipeline:
        if self.texts is None:
            raise ValueError("the text encoders are not loaded; ask load_flux for the part 'text'")
        return self.texts


def load_flux(
    base: str,
    parts: tuple[str, ...] = PARTS,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    config: ModelConfig = ModelConfig(),
) -> FluxBackbone:
    """Load the asked `parts` of a folder or hub id, in eval mode and without gradients, held as `config` says.

    `dtype` overrides the configured one. A part whose output is cached need not be there. `ValueError` names a part
    that is missing, a licence that is not accepted, a package that quantisation needs, and how to reach the hub.
    """
    if config.modulation == "table":
        raise ValueError(
            f"model.modulation=table, but the modulations of {base} follow from its prompt too, not from the time "
            "alone; set model.modulation=weights"
        )
    opened = open_base(base, parts, device, dtype, config)
    loaded: dict = {}
    if "transformer" in parts:
        loaded["transformer"] = opened.network(FluxTransformer2DModel, "transformer")
    if "vae" in parts:
        loaded["vae"] = opened.network(AutoencoderKL, "vae")
    if "text" in parts:
        loaded["texts"] = _text_pipeline(opened)
    return FluxBackbone(opened.folder, opened.scheduler, licence=opened.licence, config=config, **loaded)


def _text_pipeline(opened: OpenedBase) -> FluxFillPipeline:
    for part in ("tokenizer", "tokenizer_2"):
        check_part(opened.folder, part)
    return FluxFillPipeline(
        scheduler=opened.scheduler, vae=None, transformer=None,
        text_encoder=opened.network(CLIPTextModel, "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(opened.folder, subfolder="tokenizer"),
        text_encoder_2=opened.network(T5EncoderModel, "text_encoder_2"),
        tokenizer_2=T5TokenizerFast.from_pretrained(opened.folder, subfolder="tokenizer_2"),
    )  # fmt: skip


def predict_flux_velocity(
    transformer: FluxTransformer2DModel,
    noisy: Latents,
    condition: Float[Tensor, "#b t c"] | None,
    t: Float[Tensor, " b"],
    text: FluxText,
    guidance: float,
) -> Latents:
    """Velocity of the noisy picture at times t; `condition` is joined to its tokens along the channels.

    Positions are (0, y, x) over the whole grid and 0 for the text. `guidance` is FLUX's distilled one, an embedding;
    a transformer without it takes no notice. The answer has the type and place of `noisy`, whatever the model's.
    """
    (batch, _, height, width), place = noisy.shape, {"device": transformer.device, "dtype": transformer.dtype}
    tokens = pack(noisy)
    if condition is not None:
        tokens = torch.cat([tokens, condition.to(tokens).expand(batch, -1, -1)], dim=-1)
    velocity = transformer(
        hidden_states=tokens.to(**place),
        timestep=t.to(**place),
        guidance=torch.full((batch,), guidance, **place) if transformer.config.guidance_embeds else None,
        pooled_projections=text.pooled.to(**place).expand(batch, -1),
        encoder_hidden_states=text.tokens.to(**place).expand(batch, -1, -1),
        txt_ids=torch.zeros(text.tokens.shape[1], 3, device=transformer.device),
        img_ids=_positions(height // 2, width // 2).to(transformer.device),
        return_dict=False,
    )[0]
    return unpack(velocity, height, width).to(noisy)


AttentionProcessor = Callable[..., Any]
"""What runs an attention layer: (attn, image, text, mask, rope) -> image, text; in single blocks the two are one."""


@contextmanager
def attention_wrapped(
    transformer: FluxTransformer2DModel, wrap: Callable[[str, AttentionProcessor], AttentionProcessor]
) -> Iterator[None]:
    """Within the block, every attention layer is run by `wrap(name, processor)` of its own processor."""
    own = transformer.attn_processors
    transformer.set_attn_processor({name: wrap(name, processor) for name, processor in own.items()})
    try:
        yield
    finally:
        transformer.set_attn_processor(own)


def _positions(rows: int, columns: int) -> Float[Tensor, "t c"]:
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return rearrange(torch.stack([torch.zeros_like(y), y, x], dim=-1).float(), "y x c -> (y x) c")
