"""Edits by instruction alone, over HTTP, on a server that has a Fill base beside the one of analogies."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import torch
from PIL import Image
from ray import serve

from serve.app import build_app
from serve.arguments import AppArgs
from tests.serve.asking import ask, decoded, error, events
from viral.config import AdapterConfig
from viral.model.adapter import AdapterCard, adapter_parameters, adapter_sha256, add_adapter, save_adapter
from viral.model.backbone import base_hash
from viral.model.flux import load_flux
from viral.provenance import read_trace
from viral.sampling.instruct import InstructEditor

PATH, STEPS, PROMPT = "/v1/images/edits", 2, "make the red circle darker"


@pytest.fixture(scope="module")
def icedit(fill_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an adapter of random weights for `fill_base`."""
    folder, config = tmp_path_factory.mktemp("fill-adapters") / "icedit", AdapterConfig(rank=2, expert_rank=2)
    transformer = load_flux(str(fill_base), parts=("transformer",)).transformer
    assert transformer is not None
    add_adapter(transformer, config, seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in adapter_parameters(transformer).values():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    sha256 = base_hash(str(fill_base))
    card = AdapterCard(adapter=config, base="fill", base_sha256=sha256, size=32, steps=0, text="instruction")
    save_adapter(transformer, folder, card)
    return folder


@pytest.fixture(scope="module")
def filling(
    server: httpx.Client, tiny_base: Path, adapter: Path, fill_base: Path, icedit: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:  # fmt: skip
    """A second application beside the one of `server`, with both bases."""
    storage = str(tmp_path_factory.mktemp("filling"))
    args = AppArgs(
        storage=storage, base=str(tiny_base), adapter=str(adapter), fill=str(fill_base), fill_adapter=str(icedit),
        steps=STEPS,
    )  # fmt: skip
    serve.run(build_app(args), name="filling", route_prefix="/filling", logging_config={"log_level": "WARNING"})
    with httpx.Client(base_url=f"{server.base_url}/filling", timeout=60) as client:
        yield client
    serve.delete("filling")


def test_instruction_edit_goes_to_the_fill_base_with_its_adapter(filling, parts, fill_base, icedit):
    client = openai.OpenAI(base_url=f"{filling.base_url}v1", api_key="none needed here", max_retries=0)
    answer = client.images.edit(image=parts["query"], prompt=PROMPT, extra_body={"seed": 4})
    trace = answer.viral[0]
    assert (trace["base"], trace["adapter"], trace["instruction"]) == (fill_base.name, icedit.name, PROMPT)
    assert (trace["base_sha256"], trace["sha256"]) == (base_hash(str(fill_base)), adapter_sha256(icedit))
    png = decoded(ask(filling, {"image": parts["query"]}, path=PATH, prompt=PROMPT, seed="4"))
    query = Image.open(io.BytesIO(parts["query"])).convert("RGB")
    alone = InstructEditor.load(str(fill_base), icedit)(query, PROMPT, steps=STEPS, seed=4).image
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), np.asarray(alone))


def test_bare_fill_base_can_be_named(filling, parts, fill_base):
    both = [
        decoded(ask(filling, {"image": parts["query"]}, path=PATH, prompt=PROMPT, **choice))
        for choice in ({}, {"model": fill_base.name})
    ]
    traces = [read_trace(png) for png in both]
    assert both[0] != both[1]
    assert (traces[1]["base"], traces[1]["adapter"], traces[1]["sha256"]) == (fill_base.name, None, None)


def test_analogy_goes_to_its_own_base_beside_it(filling, server, parts, tiny_base, adapter):
    answer = ask(filling, parts, seed="3")
    trace = answer.json()["viral"]
    assert (trace["base"], trace["adapter"]) == (tiny_base.name, adapter.name)
    served = Image.open(io.BytesIO(decoded(ask(server, parts, seed="3"))))
    assert Image.open(io.BytesIO(decoded(answer))).tobytes() == served.tobytes()


def test_instruction_edit_goes_to_the_base_of_analogies_where_there_is_no_other(server, parts, tiny_base):
    trace = read_trace(decoded(ask(server, {"image": parts["query"]}, path=PATH, prompt=PROMPT)))
    assert (trace["base"], trace["adapter"]) == (tiny_base.name, None)


def test_both_bases_and_their_adapters_are_listed(filling, tiny_base, fill_base, adapter, icedit):
    models = filling.get("/v1/models").json()["data"]
    assert [(model["id"], model["kind"], model["base"]) for model in models] == [
        (tiny_base.name, "base", tiny_base.name),
        (fill_base.name, "base", fill_base.name),
        (adapter.name, "adapter", tiny_base.name),
        (icedit.name, "adapter", fill_base.name),
    ]
    assert models[1]["sha256"] == base_hash(str(fill_base))


def test_fill_base_is_not_asked_for_what_it_cannot_do(filling, parts, icedit):
    assert "leave the examples out" in error(ask(filling, parts, model=icedit.name), 400)["message"]
    judged = {"steps": "3", "candidates": "2", "preview_steps": "1"}
    for judge in ("cycle", "vlm"):
        asked = ask(filling, {"image": parts["query"]}, path=PATH, prompt=PROMPT, judge=judge, **judged)
        assert "judge" in error(asked, 400)["message"]


def test_instruction_edit_is_streamed(filling, parts):
    form = {"prompt": PROMPT, "stream": "true", "partial_images": "1"}
    told = events(ask(filling, {"image": parts["query"]}, path=PATH, **form))
    assert told[-1][0] == "image_edit.completed"
    assert (
        told[-1][1]["b64_json"]
        == ask(filling, {"image": parts["query"]}, path=PATH, prompt=PROMPT).json()["data"][0]["b64_json"]
    )
