"""The small Fill base that ships: diffusers opens it, it paints what words say, and fills what is cut out."""

import numpy as np
import pytest
import torch
from diffusers import FluxFillPipeline
from PIL import Image

from viral.config import RunConfig
from viral.evaluation.protocols.known_pairs import known_pairs
from viral.evaluation.protocols.proof_exchange import error_of
from viral.model.licences import accept
from viral.sampling.instruct import InstructEditor
from viral.shipped import SHIPPED_FILL
from viral.tasks import TASKS

CASES, STEPS, SIZE = 5, 4, 64


def test_it_is_small_rounded_and_free_to_use() -> None:
    assert accept(SHIPPED_FILL).name == "apache-2.0"
    files = list(SHIPPED_FILL.rglob("*.safetensors"))
    assert len(files) == 4 and max(file.stat().st_size for file in files) < 15e6
    shipped = sum(path.stat().st_size for path in SHIPPED_FILL.parent.rglob("*.safetensors"))
    assert shipped < 32e6, "all weights of the package together"


@pytest.mark.parametrize("task", ["negative", "low_light"])
def test_it_does_to_unseen_scenes_what_words_say(task: str) -> None:
    editor = InstructEditor.load(RunConfig(base="tiny-fill").base_folder())
    words = TASKS[task].instruction
    assert words is not None
    ours, copied = [], []
    for pair in (pair.rendering for pair in known_pairs(RunConfig(), task, CASES)):
        painted = editor(Image.fromarray(pair.source), words, steps=STEPS, width=SIZE).image
        ours.append(error_of(task, np.asarray(painted), pair.target))
        copied.append(error_of(task, pair.source, pair.target))
    assert np.mean(ours) < 0.8 * np.mean(copied)


def test_diffusers_pipeline_fills_a_hole_better_than_grey_does() -> None:
    pipeline = FluxFillPipeline.from_pretrained(SHIPPED_FILL, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    ours, grey = [], []
    hole = np.zeros((SIZE, SIZE), bool)
    hole[20:44, 20:44] = True
    for pair in (pair.rendering for pair in known_pairs(RunConfig(), "negative", CASES)):
        filled = pipeline(
            prompt="", image=Image.fromarray(pair.source), mask_image=Image.fromarray(hole), height=SIZE, width=SIZE,
            num_inference_steps=STEPS, generator=torch.Generator().manual_seed(0), output_type="np",
        ).images[0]  # fmt: skip
        truth = pair.source[hole] / 255
        ours.append(np.square(filled[hole] - truth).mean())
        grey.append(np.square(0.5 - truth).mean())
    assert np.mean(ours) < 0.7 * np.mean(grey)
