"""SegGPT and specialists: transformers' own classes with small random weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SegGptForImageSegmentation, SegGptImageProcessor

from tests.data.annotators.checkpoints import save_depth_anything
from tests.evaluation.peers.conftest import HEIGHT, WIDTH, differ, loaded, make_case, picture
from tests.evaluation.peers.folders import SEGGPT_SIDE, save_seggpt
from viral.config import RunConfig
from viral.data.annotators.registry import build_annotators
from viral.evaluation.peers.registry import build_peer
from viral.tasks import TASKS, Labelled


@pytest.fixture(scope="module")
def seggpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seggpt")
    save_seggpt(folder)
    return folder


def test_seggpt_paints_what_its_own_postprocessing_reads(run_config: RunConfig, seggpt: Path) -> None:
    case = make_case(0, query=picture(3, SEGGPT_SIDE, SEGGPT_SIDE))
    (answer,) = loaded(run_config, kind="seggpt", model=str(seggpt)).answer([case])
    processor = SegGptImageProcessor.from_pretrained(seggpt)
    (a, a2), how = case.examples[0], {"do_convert_rgb": False, "return_tensors": "pt"}
    inputs = processor(images=case.query, prompt_images=a, prompt_masks=a2, **how)
    with torch.inference_mode():
        outputs = SegGptForImageSegmentation.from_pretrained(seggpt)(**inputs)
    (theirs,) = processor.post_process_semantic_segmentation(outputs)  # the mean of the channels
    assert answer is not None and np.abs(answer.mean(axis=2) - theirs.numpy()).max() < 1.5  # two roundings


def test_seggpt_follows_its_example_and_takes_several(run_config: RunConfig, seggpt: Path) -> None:
    one, other, two, none = loaded(run_config, kind="seggpt", model=str(seggpt)).answer(
        [make_case(0), replace(make_case(0), examples=((picture(5), picture(6)),)), make_case(0, 2), make_case(0, 0)]
    )
    assert differ(one, other) > 0 and differ(one, two) > 0 and none is None
    assert one is not None and one.shape == (HEIGHT, WIDTH, 3)


def test_depth_anything_answers_depth_as_its_annotator_paints_it_and_nothing_else(
    run_config: RunConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    save_depth_anything(tmp_path)
    network = {"kind": "depth_anything", "model": str(tmp_path)}
    case = make_case(0, task="depth")
    answer, none = loaded(run_config, kind="specialist", task="depth", annotator=network).answer([case, make_case(0)])
    labelled = build_annotators({"it": network})["it"].labeller("cpu")(Labelled(case.query))
    assert differ(answer, TASKS["depth"].pair(labelled, np.random.default_rng(0)).target) == 0 and none is None


def test_the_larger_depth_anything_is_not_for_commerce_and_says_so(run_config: RunConfig) -> None:
    network = {"kind": "depth_anything", "model": "depth-anything/Depth-Anything-V2-Large-hf"}
    peer = build_peer("it", kind="specialist", task="depth", annotator=network)
    with pytest.raises(ValueError, match=r"no commercial use.*accept_licences=\[cc-by-nc-4.0\]"):
        peer.load("it", run_config, "cpu")
    accepted = run_config.model_copy(
        update={"model": run_config.model.model_copy(update={"accept_licences": ("cc-by-nc-4.0",)})}
    )
    assert [licence.name for licence in peer.licences(accepted)] == ["cc-by-nc-4.0"]
