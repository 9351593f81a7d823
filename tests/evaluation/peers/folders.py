"""Small random folders of the peers' own classes, in the layouts that their authors publish."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
from transformers import SegGptConfig, SegGptForImageSegmentation, SegGptImageProcessor

from viral.pretrain.fill_folder import build_clip, build_clip_tokenizer

SEGGPT_SIDE = 32


def save_stable_diffusion(folder: Path) -> None:
    """Stable Diffusion's inpainter: a U-Net that reads noise, the mask and the masked picture."""
    torch.manual_seed(0)
    tokenizer = build_clip_tokenizer(["invert the colours", "tint it red"] * 20)
    text = build_clip(tokenizer)
    unet = UNet2DConditionModel(
        in_channels=9, sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        cross_attention_dim=text.config.hidden_size, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4, norm_num_groups=4, latent_channels=4,
    )  # fmt: skip
    StableDiffusionInpaintPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def save_seggpt(folder: Path) -> None:
    """SegGPT of four layers on pictures of 32 x 32 pixels."""
    torch.manual_seed(0)
    config = SegGptConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_dim=32, patch_size=8, decoder_hidden_size=8,
        image_size=(2 * SEGGPT_SIDE, SEGGPT_SIDE), pretrain_image_size=SEGGPT_SIDE, merge_index=0,
        intermediate_hidden_state_indices=[1, 2, 3], initializer_range=0.2,
    )  # fmt: skip
    SegGptForImageSegmentation(config).save_pretrained(folder)
    SegGptImageProcessor(size={"height": SEGGPT_SIDE, "width": SEGGPT_SIDE}).save_pretrained(folder)
