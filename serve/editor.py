"""The deployment that paints: one base, several adapters, one denoise loop at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from ray.serve.handle import DeploymentHandle

from serve.api import ServedModel
from serve.arguments import AppArgs
from serve.edit import Done, EditAnswer, EditRequest, Event
from serve.line import Line, Work
from serve.moderation import Moderated, load_moderator
from viral.data.images import decode

if TYPE_CHECKING:
    from serve.painter import Pictures


class EditorReplica:
    """Paints settled requests for one base. The same request gives the same bytes on every replica (see `Line`)."""

    def __init__(self, args: AppArgs, base: str, judge: DeploymentHandle | None = None) -> None:
        # Here, not above: building the application needs no torch.
        import torch

        from serve.adapters import Adapters
        from serve.remote_judge import RemoteJudge

        self._args, self._base = args, base
        self._moderator = load_moderator(args.moderation)
        self._vlm = RemoteJudge(judge, args.judge or "") if judge else None
        device, dtype = ("cuda", torch.bfloat16) if args.gpus else ("cpu", torch.float32)
        self._adapters = Adapters(args.bases()[base], args.model, device, dtype, args.adapters_in_memory)
        self._folder = _default_folder(args, base)
        self._models = tuple(self._own_models())
        self._fetched: dict[str, Path] = {}
        # In a thread of its own: the event loop stays free for health checks.
        self._line = Line(self._answer, args.batch)

    async def models(self) -> tuple[ServedModel, ...]:
        """The base, and the adapter folder that is its default, if it has one."""
        return self._models

    async def edit(self, request: EditRequest) -> EditAnswer:
        """Paint one request; a cancelled one leaves the loop within one step. `ValueError` for what cannot be done."""
        return await self._paint(request, lambda event: None)

    async def stream(self, request: EditRequest) -> AsyncIterator[Event]:
        """What happens while one request is painted, `Done` last; closing it cancels the edit."""
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        work = loop.create_task(self._paint(request, tell))
        work.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield Done(work.result())
        finally:
            work.cancel()

    def _own_models(self) -> Iterator[ServedModel]:
        yield ServedModel(id=self._base, kind="base", sha256=self._adapters.base_sha256, base=self._base)
        if self._folder is not None:
            editor = self._adapters.editor(self._folder)
            assert editor.card is not None and editor.sha256 is not None
            yield ServedModel(
                id=self._folder.name, kind="adapter", sha256=editor.sha256, base=self._base, size=editor.card.size
            )

    async def _paint(self, request: EditRequest, tell: Callable[[Event], None]) -> EditAnswer:
        address = self._address(request)
        if address is None:
            folder = None if request.adapter is None else self._folder
        elif (folder := self._fetched.get(address)) is None:
            folder = await asyncio.to_thread(self._fetch, address)
        return await self._line.painted(Work(request, folder, tell))

    def _address(self, request: EditRequest) -> str | None:
        """Where the registry has the adapter of a request; None for the bare base and for its own folder."""
        if request.adapter is None or request.version is None:
            return None
        return f"models:/{request.adapter.partition('@')[0]}/{request.version}"

    def _fetch(self, address: str) -> Path:
        """This machine's copy of an adapter, fetched while another edit is painted."""
        from viral.tracking import resolve

        self._fetched[address] = resolve(address, self._args.tracking)[0]
        return self._fetched[address]

    def _answer(self, works: list[Work]) -> None:
        """Paint works that may stand in one batch, and answer each."""
        from serve.painter import answer, paint, paint_together

        editor = self._adapters.editor(works[0].folder)
        ready = [(work, pictures) for work in works if (pictures := self._pictures(work)) is not None]
        if len(ready) > 1:
            edits = paint_together(editor, ready)
        else:
            edits = [paint(editor, work.request, pictures, self._vlm, work.report) for work, pictures in ready]
        for (work, _), edit in zip(ready, edits, strict=True):
            if reason := self._moderator([edit.image], work.request.instruction):
                work.answer.set_exception(Moderated(reason))
            else:
                work.answer.set_result(answer(edit, work.request, self._adapters.base_sha256, editor.sha256))

    def _pictures(self, work: Work) -> "Pictures | None":
        """The decoded images of a work; of a bad one None, and it has its answer."""
        try:
            examples = [
                (self._open(a, "example_source"), self._open(a2, "example_target")) for a, a2 in work.request.examples
            ]
            query = self._open(work.request.query, "query")
            if reason := self._moderator([*chain(*examples), query], work.request.instruction):
                raise Moderated(reason)
        except ValueError as error:
            work.answer.set_exception(error)
            return None
        return examples, query

    def _open(self, data: bytes, name: str) -> Image.Image:
        return decode(data, name, self._args.max_pixels, self._args.max_side_ratio)


def _default_folder(args: AppArgs, base: str) -> Path | None:
    source = args.default_adapter(base)
    return None if source is None or source.startswith("models:/") else Path(source)
