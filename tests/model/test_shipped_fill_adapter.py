"""The adapter of the small Fill base that ships: it fits it, and does what words say better than the base alone."""

import numpy as np
import torch
from PIL import Image

from viral.config import RunConfig, resolve
from viral.evaluation.protocols.known_pairs import known_pairs
from viral.evaluation.protocols.proof_exchange import error_of
from viral.model.adapter_files import check_files, read_card, read_tensors
from viral.model.backbone import base_hash
from viral.sampling.instruct import InstructEditor
from viral.shipped import SHIPPED_FILL, SHIPPED_FILL_ADAPTER
from viral.tasks import TASKS

CASES, STEPS = 5, 4


def test_it_is_whole_rounded_and_of_the_base_that_ships() -> None:
    card = read_card(SHIPPED_FILL_ADAPTER)
    check_files(SHIPPED_FILL_ADAPTER, card)
    assert card.base == "tiny-fill" and card.base_sha256 == base_hash(str(SHIPPED_FILL))
    assert card.adapter == resolve("jobs/configs/embedded_fill.yaml", []).adapter
    tensors = [tensor for name in card.files for tensor in read_tensors(SHIPPED_FILL_ADAPTER / name)[0].values()]
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}


def test_it_inverts_unseen_scenes_as_told_better_than_the_base_alone() -> None:
    words = TASKS["negative"].instruction
    assert words is not None
    pairs = [known.rendering for known in known_pairs(RunConfig(), "negative", CASES)]
    means = {}
    for adapter in (None, SHIPPED_FILL_ADAPTER):
        editor = InstructEditor.load(str(SHIPPED_FILL), adapter)
        answers = [editor(Image.fromarray(pair.source), words, steps=STEPS, width=64).image for pair in pairs]
        errors = [error_of("negative", np.asarray(a), pair.target) for a, pair in zip(answers, pairs, strict=True)]
        means[adapter] = np.mean(errors)
    assert means[SHIPPED_FILL_ADAPTER] < means[None]
