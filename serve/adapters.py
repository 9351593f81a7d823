"""Several adapters on one base in memory: each on a transformer of its own whose weights are the base's."""

import copy
from collections import OrderedDict
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from viral.config import ModelConfig
from viral.model.adapter import adapter_sha256, load_adapter
from viral.model.architecture import is_fill
from viral.model.attach import attach
from viral.model.backbone import base_hash
from viral.sampling.editor import RELEASED, Editor
from viral.sampling.instruct import RELEASED as RELEASED_FILL
from viral.sampling.instruct import InstructEditor

AnyEditor = Editor | InstructEditor


class Adapters:
    """The editors of one base, one for each adapter in use. Loading another one leaves those that are there alone."""

    def __init__(self, base: str, config: ModelConfig, device: str, dtype: torch.dtype | None, keep: int) -> None:
        """Load the base; at most `keep` adapters stay in memory, the one unused for longest goes."""
        self._base, self._config, self._keep = base, config, keep
        editor = InstructEditor if is_fill(base, config) else Editor
        self.bare = editor.load(base, device=device, dtype=dtype, config=config)
        self.base_sha256 = base_hash(base, config)
        self._loaded: OrderedDict[Path, AnyEditor] = OrderedDict()

    def editor(self, adapter: Path | None) -> AnyEditor:
        """The editor with an adapter (a folder of ours or a released file), or with none.

        `ValueError` for one that is damaged or belongs to another base; what is loaded goes on working.
        """
        if adapter is None:
            return self.bare
        if adapter not in self._loaded:
            self._loaded[adapter] = self._load(adapter)
            if len(self._loaded) > self._keep:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(adapter)
        return self._loaded[adapter]

    def _load(self, adapter: Path) -> AnyEditor:
        own = twin(self.bare.transformer)
        if adapter.suffix == ".safetensors":
            released = RELEASED_FILL if isinstance(self.bare, InstructEditor) else RELEASED
            attached = attach(own, self._base, self._config, adapter, **released)
            card, sha256 = attached.card, attached.sha256
        else:
            card, sha256 = load_adapter(own, adapter, self.base_sha256), adapter_sha256(adapter)
        backbone = replace(self.bare.backbone, transformer=own)
        if isinstance(self.bare, InstructEditor):
            return InstructEditor(backbone, card, sha256)
        return Editor(backbone, card, sha256, self.bare.device)


def twin(transformer: nn.Module) -> nn.Module:
    """A transformer with modules of its own around the very same tensors: what is put into one is not in the other."""
    shared = {id(tensor): tensor for tensor in chain(transformer.parameters(), transformer.buffers())}
    return copy.deepcopy(transformer, shared)
