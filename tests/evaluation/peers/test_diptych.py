"""ICEdit under a protocol: with an adapter, training-free, and with the early filter."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.evaluation.peers.conftest import SIZE, differ, loaded, make_case
from viral.config import AdapterConfig, RunConfig
from viral.evaluation.peers.pictures import query_of
from viral.evaluation.peers.registry import build_peer
from viral.model.adapter import AdapterCard, add_adapter, save_adapter
from viral.model.backbone import base_hash
from viral.model.flux import load_flux
from viral.sampling.diptych import RELEASED_PROMPT
from viral.sampling.instruct import InstructEditor

TOLD = make_case(0, examples=0, instruction="tint it red")


@pytest.fixture(scope="module")
def fill(run_config: RunConfig, fill_base: Path) -> RunConfig:
    return run_config.model_copy(update={"base": str(fill_base)})


@pytest.fixture(scope="module")
def fill_adapter(fill_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, config = tmp_path_factory.mktemp("adapter"), AdapterConfig(rank=2, expert_rank=2)
    transformer = load_flux(str(fill_base), ("transformer",)).transformer
    assert transformer is not None
    add_adapter(transformer, config, seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    words = {"text": "instruction", "prompt": RELEASED_PROMPT}
    card = AdapterCard(adapter=config, base="test", base_sha256=base_hash(str(fill_base)), size=SIZE, steps=0, **words)
    save_adapter(transformer, folder, card)
    return folder


def test_the_answer_is_what_the_editor_paints(fill: RunConfig, fill_adapter: Path) -> None:
    painted = InstructEditor.load(fill.base, fill_adapter)(query_of(TOLD), "tint it red", steps=2, seed=TOLD.seed).image
    (answer,) = loaded(fill, kind="icedit", adapter=str(fill_adapter)).answer([TOLD])
    (bare,) = loaded(fill, kind="icedit", adapter=None).answer([TOLD])
    assert (answer == painted).all() and differ(answer, bare) > 0


def test_without_the_in_context_prompt_another_picture_comes(fill: RunConfig) -> None:
    prompted, plain = (
        loaded(fill, kind="icedit", adapter=None, template=template) for template in (None, "{instruction}")
    )
    assert differ(prompted.answer([TOLD])[0], plain.answer([TOLD])[0]) > 0


def test_a_case_of_a_task_is_told_the_task_in_words_and_one_without_words_nothing(fill: RunConfig) -> None:
    method = loaded(fill, kind="icedit", adapter=None)
    told, silent = method.answer([make_case(0), make_case(0, task="unheard of")])
    assert told is not None and told.shape == make_case(0).query.shape and silent is None


def test_the_early_filter_asks_its_judge_about_the_instruction(fill: RunConfig, chat_server: Any) -> None:
    asked = []

    def reply(words: str, images: list) -> str:
        asked.append(words)
        return '{"better": 2}' if len(asked) == 1 else '{"better": 1}'  # the second seed, in both orders

    chat_server.reply = reply
    early = {"candidates": 2, "preview_steps": 1, "judge": f"{chat_server.url}#some-vlm"}
    (answer,) = loaded(fill, kind="icedit", adapter=None, filter=early).answer([TOLD])
    own = make_case(0, examples=0, instruction="tint it red", seed=TOLD.seed + 1)
    (second,) = loaded(fill, kind="icedit", adapter=None).answer([own])
    assert differ(answer, second) <= 1 and len(asked) == 2 and "tint it red" in asked[0]


def test_fluxs_licence_is_refused_before_anything_is_fetched(run_config: RunConfig) -> None:
    peer = build_peer("it", kind="icedit", adapter=None, base="black-forest-labs/FLUX.1-Fill-dev")
    with pytest.raises(ValueError, match="no commercial use"):
        peer.load("it", run_config, "cpu")
