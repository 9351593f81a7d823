"""The whole making of the small base: VAE, decoder, editor, folder and model card; resumable at every minute."""

import json
from pathlib import Path

from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel

from viral.model.frame_conv import use_frame_convs
from viral.model.velocity import ContextMode
from viral.pretrain import editor, edits, exam, folder, tokenizer, vae
from viral.pretrain.lessons import PhotographEdits, SceneEdits
from viral.pretrain.pictures import Photograph, Pictures, photographs
from viral.pretrain.team import first_alone, team
from viral.pretrain.told_scenes import KINDS, MAPS, ToldScenes, told_scenes

COUPLES = 20_480
"""Couples of scenes; each is met some eight times."""
PAINTING_SHIFT = 12.0
"""Of the steps towards noise. Ending at 0.02, as Qwen-Image's do, two steps are one; the adapter's best by a little, on
unseen scenes, of 5, 9, 12 and 20, and what its own training takes."""


def make_base(
    photos: Path, state: Path, out: Path, decoder_seconds: float, editor_seconds: float, scene_seconds: float
) -> None:
    """Train what is left to train and write the base to `out`; `state` keeps the progress between calls.

    Processes that `torchrun` started share the two lessons of the editor; the first of them does the rest.
    """
    state.mkdir(parents=True, exist_ok=True)
    with first_alone():
        pictures, scenes = Pictures(photographs(photos)), told_scenes(state / "scenes", COUPLES)
        autoencoder = _vae(pictures, state)
        decoder = vae.train_decoder(autoencoder, pictures, decoder_seconds, state / "decoder.pt")
        words = tokenizer.build_tokenizer(_phrases(pictures, scenes, state))
    transformer, text_encoder = folder.build_transformer(), folder.build_text_encoder(words)
    told = editor.Words(text_encoder, folder.build_processor(words))
    linear = editor.LinearEncoder(autoencoder)
    first = editor.train(transformer, told, linear, PhotographEdits(pictures), editor_seconds, state / "editor.pt")
    second = teach_scenes(transformer, told, linear, SceneEdits(pictures, scenes), scene_seconds, state)
    if team()[0] == 0:
        marks = exam.exam(linear, exam.unseen_scenes(state / "exam"), exam.editor_ways(transformer, told, linear))
        folder.save_base(out, transformer, autoencoder, text_encoder, words, scheduler())
        (out / "README.md").write_text(card(pictures.photos, decoder, first, second, marks))


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Qwen-Image's schedule for few steps: nearly all is decided near noise."""
    return folder.towards_noise(folder.build_scheduler(), PAINTING_SHIFT)


def teach_scenes(
    transformer: QwenImageTransformer2DModel, told: editor.Words, encode: editor.LinearEncoder, lesson: SceneEdits,
    seconds: float, state: Path,
) -> dict[str, float]:  # fmt: skip
    """The second lesson, in both modes of the context, so that neither is strange to an adapter."""
    modes: tuple[ContextMode, ...] = ("full", "stationary")
    return editor.train(transformer, told, encode, lesson, seconds, state / "scenes.pt", seed=1, modes=modes)


def _vae(pictures: Pictures, state: Path) -> AutoencoderKLQwenImage:
    """The VAE with its linear encoder, built once: the editor's latents depend on its every bit."""
    if not (state / "vae" / "config.json").is_file():
        vae.build(pictures).save_pretrained(state / "vae")
    loaded = AutoencoderKLQwenImage.from_pretrained(state / "vae")
    use_frame_convs(loaded)
    return loaded


def _phrases(pictures: Pictures, scenes: ToldScenes, state: Path) -> list[str]:
    path = state / "phrases.json"
    if not path.is_file():
        path.write_text(json.dumps(edits.phrases(pictures) + scenes.phrases()))
    return json.loads(path.read_text())


def card(
    photos: list[Photograph], decoder: dict[str, float], first: dict[str, float], second: dict[str, float],
    marks: str,
) -> str:  # fmt: skip
    """The model card: what it is, what it was made from and what that cost."""
    seen = f"{decoder['images']:.0f} images, {decoder['seconds'] / 3600:.1f} processor hours"
    edited, told = (f"{t['samples']:.0f} samples, {t['seconds'] / 3600:.1f} processor hours" for t in (first, second))
    spacing = f"{PAINTING_SHIFT:g}t / (1 + {PAINTING_SHIFT - 1:g}t)"
    return f"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-image
---
# A small base for VIRAL

An image model that edits as told in words, in the layout and of the classes of Qwen-Image-Edit-2511
(`QwenImageEditPlusPipeline.from_pretrained` opens it), small enough to ship with the package and to run on two cores.
It is a stand-in for trying the platform, not a product: pictures of 64 x 64 pixels, the
{len(set(edits.PHOTO_EDITS)) + 2} kinds of edit of `viral/pretrain/edits.py`, {len(set(MAPS))} maps and {len(KINDS)}
kinds of edit of scenes, and nothing else. Beside an example the words may leave a parameter or the kind of edit open.

| part | class | how it was made | cost |
|---|---|---|---|
| vae | AutoencoderKLQwenImage, 16 channels at a quarter of the side | linear encoder set, decoder trained | {seen} |
| transformer | QwenImageTransformer2DModel, 6 layers of 128 | flow on edits of photographs, told in words | {edited} |
| | | then of scenes as well, with their maps, in both modes of the context | {told} |
| text_encoder | Qwen2_5_VLForConditionalGeneration, 2 layers of 64 | trained with the transformer | |
| tokenizer | Qwen2Tokenizer, byte-level BPE of our own | trained on the template and the edits' words | |

Remake it with `make pretrain PHOTOS=dir`. To edit with diffusers alone, set the pipeline's reference size to what it
was trained on: `diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus.VAE_IMAGE_SIZE = 64 * 64`, and ask for
`height=64, width=64, true_cfg_scale=1.0`.

Its scheduler is for few steps: times t become {spacing}, and none is set at the end, where Qwen-Image has
0.02, which makes one step of two.

## Scenes
`viral/scenes`, CC0-1.0. Kept out: the kinds of edit and the combinations that
`viral/data/sources/combinations.py` names, and line drawings.

## What it has learnt
Errors in two steps on scenes that it never saw, as `viral/pretrain/exam.py` takes them: 1 is the best answer that costs
nothing, the picture as it is, the example's answer or the mean of the others'.

{marks}

## Photographs
Only photographs whose licence allows it; the demo's are not among them. Crops of them, and shapes drawn by ourselves,
were all it saw besides.

{photograph_rows(photos)}
"""


def photograph_rows(photos: list[Photograph]) -> str:
    """What a card says of the photographs: a Markdown table."""
    rows = [f"| {p.name} | {p.sha256[:16]} | {p.licence} | {p.origin} |" for p in photos]
    return "\n".join(["| name | sha256 | licence | origin |", "|---|---|---|---|", *rows])
