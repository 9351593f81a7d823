"""An adapter with experts as a plain LoRA, for programs that know no router."""

import tempfile
from pathlib import Path
from typing import Any

import ray
from torch import Tensor

from viral.config import RunConfig
from viral.model.adapter import load_adapter
from viral.model.adapter_files import EXPERTS, read_card
from viral.model.dense_export import export_dense
from viral.model.roles import trained_roles
from viral.storage import Storage, local_folder
from viral.train.batch import AnyBatch, Batch
from viral.train.loss import Transformer, predict_analogies, predict_diptychs
from viral.train.worker import make_sampler, open_transformer

PLACE = "dense"
SAMPLES = 4
"""Samples on which the loss of the export is measured: the first of the run."""


def export_adapter(config: RunConfig) -> Storage:
    """Where the adapter of a finished run is a plain LoRA: made in a Ray task if it has experts, else as it is."""
    storage = Storage(config.storage)
    with local_folder(storage.join("adapter")) as folder:
        if EXPERTS not in read_card(folder).files:
            return storage.join("adapter")
    ray.get(ray.remote(**beside_training(config))(_export).remote(config))
    return storage.join(PLACE)


def beside_training(config: RunConfig) -> dict[str, Any]:
    """What a Ray task that needs the model takes: a GPU where training has them, and no processor of its own, as the
    workers hold them all.
    """
    place = {"num_cpus": 0, "num_gpus": int(config.train.gpus)}
    return {**place, "label_selector": config.nodes.train} if config.nodes.train else place


def _export(config: RunConfig) -> None:
    storage, transformer = Storage(config.storage), open_transformer(config)
    with local_folder(storage.join("adapter")) as folder:
        card = load_adapter(transformer, folder)
    sampler = make_sampler(config)
    batch = sampler.collate([sampler.draw(index) for index in range(SAMPLES)]).to(transformer.device)
    with tempfile.TemporaryDirectory() as folder:
        card = export_dense(transformer, Path(folder), card, lambda: _predict(transformer, batch, config))
        for name in (*card.files, "card.json"):
            storage.join(PLACE).write(name, (Path(folder) / name).read_bytes())


def _predict(transformer: Transformer, batch: AnyBatch, config: RunConfig) -> Tensor:
    if isinstance(batch, Batch):
        roles = trained_roles(config.train.roles)
        return predict_analogies(transformer, batch, batch.noise, config.train.context, roles)
    return predict_diptychs(transformer, batch, batch.noise)
