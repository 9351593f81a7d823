"""What `mlflow.pyfunc.load_model` makes of an adapter folder: a model that answers (A, A', B) or edits as told.

model = mlflow.pyfunc.load_model("models:/viral-adapter@champion")
png = model.predict(pandas.DataFrame({"example_source": [a], "example_target": [a2], "query": [b]}))[0]
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from viral.config import ModelConfig
from viral.data.images import decode, encode_png
from viral.model.adapter_files import AdapterCard, read_card
from viral.sampling.editor import Editor
from viral.sampling.instruct import InstructEditor
from viral.shipped import SHIPPED_BASES

EXAMPLES, QUERY, INSTRUCTION = ("example_source", "example_target"), "query", "instruction"
SETTINGS = {"base": None, "device": "cpu", "accept_licences": []}
"""What `load_model(…, model_config={…})` may set: another place of the base, `cuda`, licences that restrict use."""
PARAMS: dict[str, tuple[str, int | float]] = {"steps": ("integer", 12), "seed": ("integer", 0)}


def params_of(card: AdapterCard) -> dict[str, tuple[str, int | float]]:
    """What `predict(…, params={…})` may set: MLflow's type and what it is unless set."""
    return PARAMS if card.prompt is not None else PARAMS | {"example_guidance": ("double", 1.0)}


def inputs_of(card: AdapterCard) -> dict[str, str]:
    """Columns of a request, with MLflow's types; images are encoded, PNG for one."""
    images = dict.fromkeys((QUERY,) if card.prompt is not None else (*EXAMPLES, QUERY), "binary")
    return images if card.text == "none" else {**images, INSTRUCTION: "string"}


class AdapterModel:
    """An adapter on its base; `predict` gives a PNG per row."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.card = read_card(folder)
        base = settings["base"] or str(SHIPPED_BASES.get(self.card.base, self.card.base))
        config = ModelConfig(accept_licences=settings["accept_licences"], revision=self.card.base_revision)
        kind = Editor if self.card.prompt is None else InstructEditor
        self.editor = kind.load(base, folder, device=settings["device"], config=config)

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> list[bytes]:
        """PNG of what each row asks for; the same request gives the same bytes."""
        chosen = {name: value for name, (_, value) in params_of(self.card).items()} | (params or {})
        return [self._answer(row, chosen) for row in rows.to_dict("records")]

    def _answer(self, row: dict[str, Any], params: dict[str, Any]) -> bytes:
        images = {name: decode(row[name], name) for name, kind in inputs_of(self.card).items() if kind == "binary"}
        if isinstance(self.editor, InstructEditor):
            edit = self.editor(images[QUERY], row[INSTRUCTION], **params)
        else:
            example = (images[EXAMPLES[0]], images[EXAMPLES[1]])
            edit = self.editor([example], images[QUERY], row.get(INSTRUCTION), **params)
        return encode_png(np.asarray(edit.image))


def _load_pyfunc(path: str, settings: dict[str, Any]) -> AdapterModel:
    """For MLflow, which calls it by this name."""
    return AdapterModel(Path(path), settings)
