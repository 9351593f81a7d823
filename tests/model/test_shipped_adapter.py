"""The adapter that ships: it fits the base that ships, and does to a picture what it is shown."""

import numpy as np
import pytest
import torch
from PIL import Image

from viral.config import RunConfig, resolve
from viral.evaluation.protocols.known_pairs import known_pairs
from viral.evaluation.protocols.proof_exchange import error_of
from viral.model.adapter_files import check_files, read_card, read_tensors
from viral.model.backbone import base_hash
from viral.sampling.editor import Editor
from viral.shipped import SHIPPED_ADAPTER, SHIPPED_BASE

CASES, STEPS = 5, 4


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.load(str(SHIPPED_BASE), SHIPPED_ADAPTER)


def test_it_is_whole_small_and_of_the_base_that_ships() -> None:
    card = read_card(SHIPPED_ADAPTER)
    check_files(SHIPPED_ADAPTER, card)
    assert card.base == "tiny" and card.base_sha256 == base_hash(str(SHIPPED_BASE))
    tensors = [tensor for name in card.files for tensor in read_tensors(SHIPPED_ADAPTER / name)[0].values()]
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
    shipped = sum(path.stat().st_size for path in SHIPPED_BASE.parent.rglob("*.safetensors"))
    assert shipped < 32e6, "all weights of the package together"


def test_its_shape_is_that_of_the_configurations_that_go_on_from_it() -> None:
    shape = read_card(SHIPPED_ADAPTER).adapter
    assert resolve("jobs/configs/embedded.yaml", []).adapter == shape
    assert resolve("jobs/configs/tiny.yaml", []).adapter == shape


@pytest.mark.parametrize(("task", "examples"), [("negative", 1), ("negative", 3), ("low_light", 1), ("edge", 1)])
def test_it_follows_examples_on_scenes_that_it_never_saw(editor: Editor, task: str, examples: int) -> None:
    pairs = [pair.rendering for pair in known_pairs(RunConfig(), task, CASES + examples)]
    shown = [(Image.fromarray(pair.source), Image.fromarray(pair.target)) for pair in pairs[CASES:]]
    ours, copied, mean = [], [], []
    for i, pair in enumerate(pairs[:CASES]):
        others = np.mean([other.target for j, other in enumerate(pairs) if j != i], axis=0).astype(np.uint8)
        painted = np.asarray(editor(shown, Image.fromarray(pair.source), steps=STEPS).image)
        for errors, answer in ((ours, painted), (copied, pair.source), (mean, others)):
            errors.append(error_of(task, answer, pair.target))
    assert np.mean(ours) < 0.9 * min(np.mean(copied), np.mean(mean))
