"""A complete small base in diffusers' layout: small configurations of Qwen-Image-Edit-2511's own classes."""

import math
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

TEXT_WIDTH = 64


def build_transformer(layers: int = 6, heads: int = 4, seed: int = 0) -> QwenImageTransformer2DModel:
    """An edit DiT of width 32 x heads on 2x2 patches of 16-channel latents, with 2511's `zero_cond_t`."""
    torch.manual_seed(seed)
    return QwenImageTransformer2DModel(
        patch_size=2, in_channels=64, out_channels=16, num_layers=layers, attention_head_dim=32,
        num_attention_heads=heads, joint_attention_dim=TEXT_WIDTH, axes_dims_rope=(8, 12, 12), zero_cond_t=True,
    )  # fmt: skip


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Qwen-Image's schedule: shifted by resolution, ending at 0.02."""
    return FlowMatchEulerDiscreteScheduler(
        base_image_seq_len=256, base_shift=0.5, max_image_seq_len=8192, max_shift=0.9, num_train_timesteps=1000,
        shift=1.0, shift_terminal=0.02, time_shift_type="exponential", use_dynamic_shifting=True,
    )  # fmt: skip


def towards_noise(scheduler: FlowMatchEulerDiscreteScheduler, shift: float) -> FlowMatchEulerDiscreteScheduler:
    """A schedule whose steps t lie at shift t / (1 + (shift - 1) t) at every resolution, ending at no other time."""
    own = {"base_shift": math.log(shift), "max_shift": math.log(shift), "shift_terminal": None}
    return FlowMatchEulerDiscreteScheduler.from_config({**scheduler.config, **own})


def build_processor(tokenizer: Qwen2Tokenizer) -> Qwen2VLProcessor:
    """A processor that sees each image as at most 4x4 tokens."""
    pixels = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pixels),
    )


def build_text_encoder(tokenizer: Qwen2Tokenizer, seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """A two-layer language model with a two-layer vision tower."""
    torch.manual_seed(seed)
    ids = {
        name: tokenizer.convert_tokens_to_ids(f"<|{name}|>")
        for name in ("image_pad", "video_pad", "vision_start", "vision_end")
    }
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": TEXT_WIDTH, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            "bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 4, "out_hidden_size": TEXT_WIDTH,
            "fullatt_block_indexes": [1], "window_size": 112,
        },
        image_token_id=ids["image_pad"], video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"], vision_end_token_id=ids["vision_end"], tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config)


def save_base(
    folder: Path,
    transformer: QwenImageTransformer2DModel,
    vae: AutoencoderKLQwenImage,
    text_encoder: Qwen2_5_VLForConditionalGeneration,
    tokenizer: Qwen2Tokenizer,
    scheduler: FlowMatchEulerDiscreteScheduler,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write a folder that `QwenImageEditPlusPipeline.from_pretrained` opens, weights rounded to `dtype`."""
    vae.register_to_config(_name_or_path="")  # where it was loaded from is nobody's concern
    QwenImageEditPlusPipeline(
        scheduler=scheduler, vae=vae.to(dtype), text_encoder=text_encoder.to(dtype), tokenizer=tokenizer,
        processor=build_processor(tokenizer), transformer=transformer.to(dtype),
    ).save_pretrained(folder)  # fmt: skip
