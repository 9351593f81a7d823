from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model, ViTConfig, ViTImageProcessor, ViTModel

from tests.evaluation.perceptual.cases import noise
from viral.evaluation.perceptual.dino import DinoEmbedder
from viral.evaluation.perceptual.measure import pictures

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
KINDS = {
    "dino": lambda: (
        ViTModel(ViTConfig(**SMALL, intermediate_size=32)),
        ViTImageProcessor(size={"height": 32, "width": 32}),
    ),
    "dinov2": lambda: (
        Dinov2Model(Dinov2Config(**SMALL)),
        BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_its_class_token_whichever_dino_the_folder_holds(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, processor = KINDS[kind]()
    network.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    images = pictures([noise(1), noise(2)])
    found = DinoEmbedder.load(tmp_path)(images).numpy()
    with torch.no_grad():
        tokens = network.eval()(processor(images=images, return_tensors="pt")["pixel_values"]).last_hidden_state
    expected = tokens[:, 0].numpy() / np.linalg.norm(tokens[:, 0].numpy(), axis=1, keepdims=True)
    assert found == pytest.approx(expected, abs=1e-5)
    assert (found[0] != found[1]).any()
