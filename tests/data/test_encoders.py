"""What the frozen networks of both bases make of pairs and words."""

from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange

from viral.config import ModelConfig, RunConfig, TrainConfig
from viral.data.encode import Words, words_of
from viral.data.encoders import AnalogyEncoder, DiptychEncoder
from viral.data_config import TaskConfig
from viral.model.flux import load_flux
from viral.sampling.diptych import RELEASED_PROMPT

ROW = {"pair_id": "p", "task": "colorization", "instruction": None}


def pictures(*sides: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, 3), np.uint8) for side in sides]


def test_a_diptych_is_seen_side_by_side_and_its_condition_is_grey_on_the_right(fill_base: Path) -> None:
    encoder = DiptychEncoder(str(fill_base), "cpu", ModelConfig(), ("vae", "text"))
    sources, targets = pictures(32, 32), pictures(32, 32, 32)[1:]
    masked, whole = encoder.pairs(sources, targets)
    vae = load_flux(str(fill_base), ("vae",), dtype=torch.float32)

    def latents(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.concatenate([left, right], 1))[None]
        return vae.encode_images(rearrange(pixels, "b y x c -> b c y x").float() / 127.5 - 1)[0].numpy()

    for i in range(2):
        assert np.abs(whole[i] - latents(sources[i], targets[i])).max() < 2e-2
        grey = np.full_like(targets[i], 127.5)
        assert np.abs(masked[i] - latents(sources[i], grey)).max() < 5e-2
    text, pooled = encoder.words("make it red")
    said = load_flux(str(fill_base), ("text",)).encode_text(["make it red"])
    assert np.array_equal(text, said.tokens[0].detach()) and np.array_equal(pooled, said.pooled[0].detach())


def test_pictures_of_several_sizes_keep_their_order(tiny_base: Path) -> None:
    encoder = AnalogyEncoder(str(tiny_base), "cpu", ModelConfig(), ("vae",))
    mixed = pictures(32, 32, 48, 32)
    found, _ = encoder.pairs(mixed, mixed)
    assert [latents.shape[1] for latents in found] == [8, 8, 12, 8]
    alone, _ = encoder.pairs(mixed[2:3], mixed[2:3])
    assert np.array_equal(found[2], alone[0])


def test_a_pair_says_its_own_instruction_or_its_tasks(fill_base: Path, tiny_base: Path) -> None:
    told = RunConfig(train=TrainConfig(text="instruction"), base=str(fill_base))
    words = words_of(told)
    assert words is not None
    assert words(ROW) == RELEASED_PROMPT.format(instruction="Give the black and white picture its colours")
    assert words({**ROW, "instruction": "make it red"}).endswith("but make it red")
    plain = words_of(told.model_copy(update={"base": str(tiny_base)}))
    assert plain is not None and plain({**ROW, "instruction": "make it red"}) == "make it red"
    own = Words("{instruction}", {"sepia": TaskConfig(render="a:b", instruction="Turn it brown.")})
    with pytest.raises(ValueError, match=r"pair p of task nothing_said has no instruction.*train\.text=none"):
        own({**ROW, "task": "nothing_said"})


def test_words_are_needed_by_diptychs_alone(fill_base: Path, tiny_base: Path) -> None:
    assert words_of(RunConfig(base=str(tiny_base))) is None
    with pytest.raises(ValueError, match=r"train\.text=instruction"):
        words_of(RunConfig(base=str(fill_base)))
