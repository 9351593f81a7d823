from typing import Any

import pytest
from huggingface_hub import constants

from tests.evaluation.perceptual.cases import case, noise
from viral.config import PerceptualConfig
from viral.data_config import EMBEDDED_CLIP
from viral.evaluation.perceptual import PERCEPTUAL, STAND_IN, load_measures

CASES, OUTPUTS = [case(1), case(2), case(3)], [noise(7), noise(8), noise(9)]


def test_without_weights_the_embedded_embedder_measures_under_its_own_name() -> None:
    for name, loaded in load_measures(PERCEPTUAL, PerceptualConfig()).items():
        assert loaded.absent == f"perceptual.{PERCEPTUAL[name].network} names no weights"
        rows = loaded.measure(CASES, OUTPUTS)
        assert loaded.record["model"] == STAND_IN and len(rows) == 3 and rows.all(), name


def test_weights_in_a_folder_measure_themselves() -> None:
    names = ("clip_i", "clip_i_source", "clip_out")
    own = load_measures(names, PerceptualConfig(clip=str(EMBEDDED_CLIP)))
    stand_ins = load_measures(names, PerceptualConfig())
    for name in names:
        assert own[name].absent is None and own[name].record["sha256"]
        assert (own[name].measure(CASES, OUTPUTS) == stand_ins[name].measure(CASES, OUTPUTS)).all()


def test_columns_of_one_network_share_it() -> None:
    own = load_measures(("clip_i", "clip_out"), PerceptualConfig(clip=str(EMBEDDED_CLIP)))
    assert own["clip_i"].measure._embed is own["clip_out"].measure._embedder


def test_a_hub_id_out_of_reach_is_absent_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    loaded = load_measures(("dino",), PerceptualConfig(dino="facebook/dino-vits16"))["dino"]
    assert "facebook/dino-vits16" in loaded.absent and loaded.record["model"] == STAND_IN


def test_what_is_neither_a_metric_nor_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="perceptual metrics are lpips"):
        load_measures(("beauty",), PerceptualConfig())
    with pytest.raises(ValueError, match="neither a folder nor a hub id"):
        load_measures(("dino",), PerceptualConfig(dino="/no/such/folder"))


def test_an_endpoint_gives_verdicts(chat_server: Any) -> None:
    chat_server.reply = lambda words, images: '{"success": true}' if "success" in words else '{"score": [9, 4]}'
    config = PerceptualConfig(vlm={"url": chat_server.url, "name": "some-vlm"})
    loaded = load_measures(("verdict", "vie_sc"), config)
    assert (loaded["verdict"].measure(CASES, OUTPUTS) == 1).all() and (
        loaded["vie_sc"].measure(CASES, OUTPUTS) == 4
    ).all()
    assert loaded["verdict"].record["endpoint"] == chat_server.url
