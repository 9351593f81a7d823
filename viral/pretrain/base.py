"""The whole making of the small base: VAE, decoder, editor, folder and model card; resumable at every minute."""

import json
from pathlib import Path

from diffusers import AutoencoderKLQwenImage

from viral.model.frame_conv import use_frame_convs
from viral.pretrain import editor, edits, folder, tokenizer, vae
from viral.pretrain.pictures import Photograph, Pictures, photographs


def make_base(photos: Path, state: Path, out: Path, decoder_seconds: float, editor_seconds: float) -> None:
    """Train what is left to train and write the base to `out`; `state` keeps the progress between calls."""
    state.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(photographs(photos))
    autoencoder = _vae(pictures, state)
    words = tokenizer.build_tokenizer(_phrases(pictures, state))
    decoder = vae.train_decoder(autoencoder, pictures, decoder_seconds, state / "decoder.pt")
    transformer, text_encoder = folder.build_transformer(), folder.build_text_encoder(words)
    told = editor.Words(text_encoder, folder.build_processor(words))
    linear = editor.LinearEncoder(autoencoder)
    took = editor.train(transformer, told, linear, pictures, editor_seconds, state / "editor.pt")
    folder.save_base(out, transformer, autoencoder, text_encoder, words)
    (out / "README.md").write_text(card(pictures.photos, decoder, took))


def _vae(pictures: Pictures, state: Path) -> AutoencoderKLQwenImage:
    """The VAE with its linear encoder, built once: the editor's latents depend on its every bit."""
    if not (state / "vae" / "config.json").is_file():
        vae.build(pictures).save_pretrained(state / "vae")
    loaded = AutoencoderKLQwenImage.from_pretrained(state / "vae")
    use_frame_convs(loaded)
    return loaded


def _phrases(pictures: Pictures, state: Path) -> list[str]:
    path = state / "phrases.json"
    if not path.is_file():
        path.write_text(json.dumps(edits.phrases(pictures)))
    return json.loads(path.read_text())


def card(photos: list[Photograph], decoder: dict[str, float], took: dict[str, float]) -> str:
    """The model card: what it is, what it was made from and what that cost."""
    seen = f"{decoder['images']:.0f} images, {decoder['seconds'] / 3600:.1f} processor hours"
    drawn = f"{took['samples']:.0f} samples, {took['seconds'] / 3600:.1f} processor hours"
    rows = "\n".join(f"| {p.name} | {p.sha256[:16]} | {p.licence} | {p.origin} |" for p in photos)
    return f"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-image
---
# A small base for VIRAL

An image model that edits as told in words, in the layout and of the classes of Qwen-Image-Edit-2511
(`QwenImageEditPlusPipeline.from_pretrained` opens it), small enough to ship with the package and to run on two cores.
It is a stand-in for trying the platform, not a product: pictures of 64 x 64 pixels, the
{len(set(edits.PHOTO_EDITS)) + 2} kinds of edit of `viral/pretrain/edits.py`, and nothing else.

| part | class | how it was made | cost |
|---|---|---|---|
| vae | AutoencoderKLQwenImage, 16 channels at a quarter of the side | linear encoder set, decoder trained | {seen} |
| transformer | QwenImageTransformer2DModel, 6 layers of 128, `zero_cond_t` | flow on edits in words | {drawn} |
| text_encoder | Qwen2_5_VLForConditionalGeneration, 2 layers of 64 | trained with the transformer | |
| tokenizer | Qwen2Tokenizer, byte-level BPE of our own | trained on the template and the edits' words | |

Remake it with `make pretrain PHOTOS=dir`. To edit with diffusers alone, set the pipeline's reference size to what it
was trained on: `diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus.VAE_IMAGE_SIZE = 64 * 64`, and ask for
`height=64, width=64, true_cfg_scale=1.0`.

## Photographs
Only photographs whose licence allows it; the demo's are not among them. Crops of them, and shapes drawn by ourselves,
were all it saw.

| name | sha256 | licence | origin |
|---|---|---|---|
{rows}
"""
