"""Hands edits to the editors; what an editor's death interrupts is painted again by another."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from ray.exceptions import ObjectLostError, RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve.admission import FULL, Admission
from serve.edit import EditAnswer, EditRequest, Event

log = logging.getLogger("ray.serve")
DEATHS = 4
"""Editors that one edit may outlive, so that an edit that kills its editors does not kill all of them."""
PAUSE_S = 0.2
_LOST = (RayActorError, ObjectLostError, DeploymentUnavailableError)
_AGAIN = (*_LOST, BackPressureError)


class Busy(RuntimeError):
    """All editors are at work and their queue is full."""


class Unavailable(RuntimeError):
    """Nobody can do this now, whoever waits: the server goes down, or every editor that tried died."""


class Dispatcher:
    """Edits on the editor of each base, by its name. An edit is a pure function of its request, so it may run again.

    Its methods raise `Busy` when the queue is full, unless the edit was `accepted` before and so waits its turn;
    `ValueError` for what the editor refuses; `TimeoutError` when one attempt takes longer than `timeout_s`, waiting
    included; `Unavailable` after too many deaths. A caller that is cancelled, or closes the stream, cancels the edit.
    """

    def __init__(self, editors: dict[str, DeploymentHandle], timeout_s: float) -> None:
        self.admission = Admission()
        self._editors, self._timeout_s = editors, timeout_s
        self._under_way, self._closed, self._idle = 0, False, asyncio.Event()

    async def drain(self) -> None:
        """Refuse new edits from now on, and return when those that were taken have their answers."""
        self._closed = True
        while self._under_way:
            self._idle.clear()
            await self._idle.wait()

    async def edit(self, request: EditRequest, *, accepted: bool = False) -> EditAnswer:
        """The answer to a settled request."""
        patience = _Patience(accepted)
        with self._taken():
            while True:
                try:
                    return await self._ask(request)
                except _AGAIN as error:
                    await patience.after(error)

    async def stream(self, request: EditRequest, *, accepted: bool = False) -> AsyncGenerator[Event]:
        """What happens while a settled request is painted, `Done` last; after an editor's death all of it again."""
        patience = _Patience(accepted)
        with self._taken():
            while True:
                try:
                    async with aclosing(self._follow(request)) as events:
                        async for event in events:
                            yield event
                    return
                except _AGAIN as error:
                    await patience.after(error)

    @contextmanager
    def _taken(self) -> Iterator[None]:
        if self._closed:
            raise Unavailable("the server is going down; send it again soon")
        self._under_way += 1
        try:
            yield
            self.admission.ended()
        except Busy:
            self.admission.refused()
            raise
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _ask(self, request: EditRequest) -> EditAnswer:
        response = self._editors[_base(request)].edit.remote(request)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await response
        except RayTaskError as error:
            raise _told(error) from None
        except TimeoutError:
            response.cancel()
            raise self._too_late() from None
        except asyncio.CancelledError:
            response.cancel()
            raise

    async def _follow(self, request: EditRequest) -> AsyncGenerator[Event]:
        response = self._editors[_base(request)].options(stream=True).stream.remote(request)
        end = asyncio.get_running_loop().time() + self._timeout_s
        try:
            while True:
                async with asyncio.timeout_at(end):
                    event = await anext(response)
                yield event
        except StopAsyncIteration:
            return
        except RayTaskError as error:
            raise _told(error) from None
        except TimeoutError:
            raise self._too_late() from None
        finally:
            response.cancel()

    def _too_late(self) -> TimeoutError:
        return TimeoutError(f"no answer within {self._timeout_s:g} s; ask for fewer steps or later")


class _Patience:
    """What to do after an attempt that was not answered: wait for the next one, or give up by raising."""

    def __init__(self, accepted: bool) -> None:
        self._accepted, self._deaths = accepted, 0

    async def after(self, error: Exception) -> None:
        if isinstance(error, BackPressureError) and not self._accepted:
            raise Busy(FULL) from None
        if isinstance(error, DeploymentUnavailableError) and not self._accepted:
            raise Unavailable("no editor could be started; its log says why") from None
        if isinstance(error, (RayActorError, ObjectLostError)):
            self._accepted = True
            self._deaths += 1
            if self._deaths == DEATHS:
                raise Unavailable(f"{DEATHS} editors stopped at work on this; send it again later") from None
            log.warning("an editor died at work (%s); its edit is painted again", type(error).__name__)
        await asyncio.sleep(PAUSE_S)


def _told(error: RayTaskError) -> Exception:
    """What the editor raised; that it could not fetch an adapter is none of the request's fault."""
    cause = error.cause
    return Unavailable(str(cause)) if isinstance(cause, ConnectionError) else cause


def _base(request: EditRequest) -> str:
    assert request.base is not None, "settle a request before it is dispatched"
    return request.base
