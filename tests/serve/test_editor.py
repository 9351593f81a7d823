"""The editor as a replica runs it, without Serve around it."""

import asyncio
import io
import sys
import threading
import types
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve.arguments import AppArgs
from serve.edit import Done, EditAnswer, EditRequest, Event, Judged, Preview, Step
from serve.editor import EditorReplica
from serve.line import Line, Work
from serve.moderation import Moderated
from viral.provenance import read_trace

STEPS = 8


@pytest.fixture(scope="module")
def make(tiny_base: Path, adapter: Path) -> Callable[..., EditorReplica]:
    """An editor of `tiny_base` with the arguments given."""

    def build(**arguments: object) -> EditorReplica:
        args = AppArgs(base=str(tiny_base), adapter=str(adapter), **arguments)
        return EditorReplica(args, tiny_base.name)

    return build


@pytest.fixture(scope="module")
def editor(make: Callable[..., EditorReplica]) -> EditorReplica:
    return make()


@pytest.fixture(scope="module")
def request_(picture: Callable[..., bytes], tiny_base: Path, adapter: Path) -> EditRequest:
    """A settled analogy."""
    images = [picture(seed, 16, 16) for seed in range(3)]
    example = (images[0], images[1])
    return EditRequest((example,), images[2], seed=3, steps=STEPS, adapter=adapter.name, base=tiny_base.name)


def pixels(answer: EditAnswer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(answer.png)), dtype=int)


async def events_of(stream: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in stream]


def test_stream_tells_every_step_and_ends_with_the_answer_of_edit(editor, request_):
    *steps, done = asyncio.run(events_of(editor.stream(request_)))
    assert steps == [Step(None, i + 1, STEPS) for i in range(STEPS)]
    assert done == Done(asyncio.run(editor.edit(request_)))


def test_trace_says_what_was_used_and_lies_in_the_image(editor, request_):
    answer: EditAnswer = asyncio.run(editor.edit(request_))
    assert (answer.trace.seed, answer.trace.steps, answer.trace.evaluations) == (3, STEPS, STEPS)
    assert (answer.trace.adapter, answer.trace.base) == (request_.adapter, request_.base)
    assert EditAnswer.of(answer.png) == answer
    assert read_trace(answer.png)["sha256"] == answer.trace.sha256


@pytest.mark.parametrize("judge", ["cycle", "direction", "consensus"])
def test_candidates_are_shown_and_judged_and_the_winner_is_the_image_of_its_seed(editor, request_, judge):
    asked = replace(request_, candidates=3, preview_steps=2, judge=judge, previews=True)
    *events, done = asyncio.run(events_of(editor.stream(asked)))
    previews = [event for event in events if isinstance(event, Preview)]
    assert [event.candidate for event in previews[:3]] == [0, 1, 2]
    verdicts = [event for event in events if isinstance(event, Judged)]
    trace = done.answer.trace
    assert [(v.first, v.second, v.verdict) for v in verdicts] == [
        (v.first, v.second, v.verdict) for v in trace.verdicts
    ]
    assert trace.candidates == (3, 4, 5) and trace.evaluations == 3 * 2 + STEPS
    assert {event.candidate for event in previews[3:]} == {trace.seed - 3}, "the winner sharpens"
    alone = asyncio.run(editor.edit(replace(request_, seed=trace.seed)))
    assert (pixels(alone) == pixels(done.answer)).all()


def test_cancelled_edit_leaves_the_loop_within_one_step(editor, request_):
    asked = replace(request_, steps=100)
    transformer = editor._adapters.editor(editor._folder).backbone.transformer
    closed, taken = threading.Event(), count()

    def evaluated(*_: object) -> None:
        if next(taken) == 3:
            assert closed.wait(60), "the fourth step ends when nobody waits any more"

    async def cancelled() -> None:
        async with aclosing(editor.stream(asked)) as stream:
            assert [(await anext(stream)).step for _ in range(3)] == [1, 2, 3]
        await asyncio.sleep(0)  # the painting task hears of it
        closed.set()
        await editor.edit(replace(request_, steps=1))

    hook = transformer.proj_out.register_forward_hook(evaluated)
    try:
        asyncio.run(cancelled())
    finally:
        hook.remove()
    assert next(taken) == 4 + 1, "100 steps were ahead"


def test_bad_request_is_a_value_error_and_the_editor_goes_on(editor, request_):
    with pytest.raises(ValueError, match="query: not an image"):
        asyncio.run(editor.edit(replace(request_, query=b"GIF")))
    with pytest.raises(ValueError, match="no vision-language model"):
        asyncio.run(editor.edit(replace(request_, candidates=2, judge="vlm")))
    asyncio.run(editor.edit(replace(request_, steps=1)))


def test_requests_beside_each_other_have_the_bytes_they_have_alone(editor, request_):
    asked = [replace(request_, seed=seed, steps=2) for seed in range(4)]
    alone = [asyncio.run(editor.edit(request)) for request in asked]

    async def together() -> list[EditAnswer]:
        return await asyncio.gather(*map(editor.edit, asked))

    assert asyncio.run(together()) == alone


def test_batches_paint_the_same_picture_up_to_rounding(make, editor, request_):
    asked = [replace(request_, seed=seed, steps=2) for seed in range(5)]

    async def together(editor: EditorReplica) -> list[EditAnswer]:
        return await asyncio.gather(*map(editor.edit, asked))

    alone, batched = (asyncio.run(together(each)) for each in (editor, make(batch=4)))
    for one, other in zip(alone, batched, strict=True):
        assert abs(pixels(one) - pixels(other)).max() <= 1
        assert one.trace == other.trace


def test_moderation_hook_refuses_by_its_own_reason(make, request_, monkeypatch):
    module = types.ModuleType("house_rules")
    module.check = lambda images, words: "two pictures too many" if len(images) > 1 else None
    monkeypatch.setitem(sys.modules, "house_rules", module)
    with pytest.raises(Moderated, match="two pictures too many"):
        asyncio.run(make(moderation="house_rules:check").edit(request_))


def test_moderation_that_cannot_be_imported_is_named(make):
    with pytest.raises(ValueError, match="module:function"):
        make(moderation="no_such_module:check")


def test_line_takes_along_only_what_joins(request_):
    taken: list[list[int]] = []

    def paint(works: list[Work]) -> None:
        taken.append([work.request.seed for work in works])
        for work in works:
            work.answer.set_result(None)

    async def run() -> None:
        line = Line(paint, at_once=3)
        asked = [replace(request_, seed=i, steps=2 if i == 1 else 4) for i in range(5)]
        works = [Work(request, None, lambda event: None) for request in asked]
        gate = line._thread.submit(asyncio.run, asyncio.sleep(0.05))
        await asyncio.gather(*map(line.painted, works))
        gate.result()

    asyncio.run(run())
    assert taken == [[0, 2, 3], [1], [4]]
