"""Takes checked requests in and gets them painted: at once, as a stream, or as a job in the journal."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Header, Request

from serve.api import ServedModel
from serve.arguments import AppArgs
from serve.catalog import Catalog
from serve.dispatch import Dispatcher
from serve.edit import EditAnswer, EditRequest, Event
from serve.errors import Refusal, failed, refusing
from serve.journal import Job, Journal
from serve.keys import owner

T = TypeVar("T")
STARTUP_S = 30.0
"""How long a request waits for editors that are still loading."""


@dataclass(frozen=True)
class Terms:
    """Whose request it is, and what its headers ask."""

    owner: str
    key: str | None
    later: bool

    def refuse_stream(self) -> None:
        """`Refusal` where a stream is asked for together with what only an answer can have."""
        if self.key is not None:
            raise Refusal(
                422, "a stream cannot be repeated; ask for it without Idempotency-Key", param="Idempotency-Key"
            )


async def terms(
    request: Request,
    prefer: Annotated[str, Header(description="`respond-async` answers 202 with a job.")] = "",
    idempotency_key: Annotated[
        str | None,
        Header(pattern=r"^[\x21-\x7e]{1,255}$", description="The same key with the same request is painted once."),
    ] = None,
) -> Terms:
    """The terms of a request. Async, as FastAPI would call it in a thread else."""
    preferences = [preference.partition(";")[0].strip().lower() for preference in prefer.split(",")]
    return Terms(owner(request), idempotency_key, "respond-async" in preferences)


class Desk:
    """Raises a `Refusal` wherever an edit cannot be had."""

    def __init__(self, args: AppArgs, catalog: Catalog, dispatcher: Dispatcher, journal: Journal) -> None:
        self._args, self._catalog, self._dispatcher, self._journal = args, catalog, dispatcher, journal

    async def models(self) -> tuple[ServedModel, ...]:
        """All that a request may name."""
        with refusing():
            return await self._loaded(self._catalog.models())

    async def paint(self, wishes: list[EditRequest], terms: Terms) -> list[EditAnswer]:
        """The answers, one after another. With an idempotency key they are those of jobs, which outlive this call."""
        try:
            # A single one has its own time, whose end is told better.
            async with asyncio.timeout(self._args.timeout_s if len(wishes) > 1 else None):
                return [await self._paint(wish, image, terms) for image, wish in enumerate(wishes)]
        except TimeoutError:
            raise Refusal(504, f"no answer within {self._args.timeout_s:g} s; ask for fewer images or steps") from None

    async def accept(self, wish: EditRequest, terms: Terms) -> Job:
        """A job that will be done, whoever dies."""
        with refusing():
            return await self._journal.job(await self._begin(wish, terms.key, terms), terms.owner)

    async def stream(self, wishes: list[EditRequest]) -> AsyncIterator[Event]:
        """What happens while they are painted, one after another; closing it cancels the edit."""
        with refusing():
            for wish in wishes:
                async with aclosing(self._dispatcher.stream(await self._settle(wish))) as events:
                    async for event in events:
                        yield event

    async def job(self, id: str, terms: Terms) -> Job:
        """A job of this owner."""
        with refusing():
            return await self._journal.job(id, terms.owner)

    async def cancel(self, id: str, terms: Terms) -> Job:
        """A job of this owner, over now."""
        with refusing():
            return await self._journal.cancel(id, terms.owner)

    async def _paint(self, wish: EditRequest, image: int, terms: Terms) -> EditAnswer:
        with refusing():
            if terms.key is None:
                return await self._dispatcher.edit(await self._settle(wish))
            # A job paints one image: the first has the key itself, the others have keys that no header can hold.
            key = f"{terms.key} {image}" if image else terms.key
            job = await self._begin(wish, key, terms)
            return answer_of(await self._journal.wait(job, self._args.timeout_s, terms.owner))

    async def _begin(self, wish: EditRequest, key: str | None, terms: Terms) -> str:
        return (await self._journal.begin(await self._settle(wish), key, terms.owner)).job

    async def _settle(self, wish: EditRequest) -> EditRequest:
        return await self._loaded(self._catalog.settle(wish))

    async def _loaded(self, question: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(question, STARTUP_S)
        except TimeoutError:
            raise Refusal(503, "the editors are still loading; ask again soon", retry_after=5) from None


def answer_of(job: Job) -> EditAnswer:
    """The answer of a job that is done; `Refusal` for every other."""
    if job.state == "done":
        assert job.answer is not None
        return EditAnswer.of(job.answer)
    if job.state == "failed":
        body = failed(job.status or 500, job.error or "")
        raise Refusal(job.status or 500, body.message, code=body.code)
    if job.state == "cancelled":
        raise Refusal(400, f"job {job.id} was cancelled", code="cancelled")
    raise Refusal(504, f"job {job.id} is not done yet; it goes on, GET /v1/jobs/{job.id} tells how far it is")
