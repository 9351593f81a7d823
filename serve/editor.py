"""The deployment that paints: one base, one adapter, one denoise loop at a time."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from serve.api import ServedModel, Trace
from serve.arguments import AppArgs
from viral.data.images import decode
from viral.provenance import encode_png


@dataclass(frozen=True)
class EditRequest:
    """One analogy: example pairs and a query as encoded images, which travel smaller than pixels."""

    examples: tuple[tuple[bytes, bytes], ...]
    query: bytes
    seed: int
    steps: int


@dataclass(frozen=True)
class EditAnswer:
    png: bytes
    trace: Trace


class EditorReplica:
    """Paints analogies with the adapter that its user configuration names."""

    def __init__(self, args: AppArgs) -> None:
        self._args = args
        # One thread: the event loop stays free for health checks, and edits run one after another, so that an image
        # never depends on what is painted beside it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="edit")

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Load the adapter named `config["adapter"]`, between two edits; Serve calls this at start and on change."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load, config["adapter"])

    def _load(self, source: str) -> None:
        # Here, not above: building the application and the ingress need no torch.
        import torch

        from viral.sampling.editor import Editor

        folder, name, version = _resolve(source, self._args.tracking)
        device, dtype = ("cuda", torch.bfloat16) if self._args.gpus else ("cpu", torch.float32)
        self._editor = Editor.load(self._args.base_folder(), folder, device, dtype)
        card, base = self._editor.card, self._args.base_name()
        assert card is not None and self._editor.sha256 is not None
        # The editor has checked that this is the hash of its base.
        self._base = ServedModel(id=base, kind="base", sha256=card.base_sha256, base=base)
        self._adapter = ServedModel(
            id=name, kind="adapter", sha256=self._editor.sha256, base=base, version=version, size=card.size
        )

    async def models(self) -> tuple[ServedModel, ...]:
        """The base and the adapter in use."""
        return self._base, self._adapter

    async def edit(self, request: EditRequest) -> EditAnswer:
        """Paint one analogy; a cancelled request leaves the loop within one step."""
        cancelled = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._paint, request, cancelled)
        finally:
            cancelled.set()

    def _paint(self, request: EditRequest, cancelled: threading.Event) -> EditAnswer:
        def on_step(*_: Any) -> None:
            if cancelled.is_set():
                raise asyncio.CancelledError

        examples = [
            (self._open(source, "example_source"), self._open(target, "example_target"))
            for source, target in request.examples
        ]
        edit = self._editor(
            examples, self._open(request.query, "query"), steps=request.steps, seed=request.seed, on_step=on_step
        )
        trace = Trace(
            seed=request.seed,
            steps=request.steps,
            size=edit.image.size,
            evaluations=edit.trace["evaluations"],
            base=self._base.id,
            base_sha256=self._base.sha256,
            adapter=self._adapter.id,
            version=self._adapter.version,
            sha256=self._adapter.sha256,
        )
        return EditAnswer(encode_png(edit.image, trace.model_dump()), trace)

    def _open(self, data: bytes, name: str) -> Image.Image:
        return decode(data, name, self._args.max_pixels, self._args.max_side_ratio)


def _resolve(source: str, tracking: str | None) -> tuple[Path, str, str | None]:
    """Folder, name and version of `models:/name@alias` or of an adapter folder."""
    if not source.startswith("models:/"):
        return Path(source), Path(source).name, None
    from viral.tracking import resolve

    folder, version = resolve(source, tracking)
    return folder, source.removeprefix("models:/"), version
