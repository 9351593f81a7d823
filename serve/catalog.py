"""Which models requests may name: bases and the registry's adapters, and what a name means at this moment."""

import asyncio
import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve.api import ServedModel
from serve.arguments import AppArgs
from serve.edit import EditRequest

if TYPE_CHECKING:
    from viral.tracking import Registered

log = logging.getLogger("ray.serve")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9][a-z0-9._-]{0,63})?")
"""`adapter@alias` or `adapter@version`."""
RETRY_S = 1.0


class NoSuchModel(LookupError):
    """A name that no base or adapter served here has."""


class Catalog:
    """Resolves names once, when a request is accepted, so that a repetition paints with the same version.

    Looks at the registry every `refresh_s`: a new champion is served from the next look on. While the registry is away
    its last answer stands. Lives in one event loop.
    """

    def __init__(self, args: AppArgs, editors: dict[str, DeploymentHandle]) -> None:
        self._args, self._editors = args, editors
        self._own: dict[str, tuple[ServedModel, ...]] = {}
        self._registered: dict[str, ServedModel] = {}
        self._cards: dict[str, tuple[str, int]] = {}
        self._looked = asyncio.Event()
        self._watch = asyncio.get_running_loop().create_task(self._keep_looking())

    async def models(self) -> tuple[ServedModel, ...]:
        """All bases, then all adapters that belong to one of them."""
        await self._ready()
        own = [model for models in self._own.values() for model in models]
        bases, folders = ([m for m in own if m.kind == kind] for kind in ("base", "adapter"))
        return (*bases, *folders, *self._registered.values())

    async def settle(self, request: EditRequest) -> EditRequest:
        """The request with its base, adapter and version written out; an adapter of None is then the bare base.

        `NoSuchModel` for a name that is not served, `ValueError` where the model cannot do what is asked.
        """
        await self._ready()
        model = await self._find(request.adapter) if request.adapter else self._default(bool(request.examples))
        fill = model.base == self._fill()
        if fill and request.examples:
            raise ValueError(f"model: {model.id} edits one image as told; leave the examples out or choose another")
        if model.kind == "adapter" and not fill and not request.examples:
            raise ValueError(f"model: {model.id} paints by example; give example pairs, or name the base {model.base}")
        adapter = model.id if model.kind == "adapter" else None
        return replace(request, base=model.base, adapter=adapter, version=model.version)

    async def _ready(self) -> None:
        looked = asyncio.ensure_future(self._looked.wait())
        try:
            await asyncio.wait((looked, self._watch), return_when=asyncio.FIRST_COMPLETED)
        finally:
            looked.cancel()
        if self._watch.done():
            self._watch.result()  # raises what ended it

    def _fill(self) -> str | None:
        return list(self._own)[-1] if self._args.fill is not None else None

    def _default(self, examples: bool) -> ServedModel:
        base = next(iter(self._own)) if examples else list(self._own)[-1]
        if not examples and base != self._fill():
            return self._own[base][0]
        source = self._args.default_adapter(base)
        if source is None or not source.startswith("models:/"):
            return self._own[base][-1]
        name = source.removeprefix("models:/")
        if name not in self._registered:
            raise NoSuchModel(f"model: the default {name} is not in the registry or not for base {base}")
        return self._registered[name]

    async def _find(self, name: str) -> ServedModel:
        known = {model.id: model for model in await self.models()}
        if name in known:
            return known[name]
        if NAME.fullmatch(name) and self._args.tracking:
            found = await asyncio.to_thread(self._version, name) if "@" in name else None
            if found is not None:
                return found
        raise NoSuchModel(f"model: there is no {name!r}; GET /v1/models lists what there is")

    async def _keep_looking(self) -> None:
        while len(self._own) < len(self._editors):
            self._own = await self._ask_editors()
            await asyncio.sleep(0 if self._own else RETRY_S)
        while True:
            if self._args.tracking is not None:
                await self._look()
            self._looked.set()
            await asyncio.sleep(self._args.refresh_s)

    async def _ask_editors(self) -> dict[str, tuple[ServedModel, ...]]:
        """What each editor has without the registry; nothing while one of them cannot say."""
        try:
            answers = await asyncio.gather(*(editor.models.remote() for editor in self._editors.values()))
        except (RayActorError, RayTaskError, BackPressureError, DeploymentUnavailableError) as error:
            log.warning("an editor did not say what it serves (%s); it is asked again", type(error).__name__)
            return {}
        return dict(zip(self._editors, answers, strict=True))

    async def _look(self) -> None:
        try:
            self._registered = await asyncio.to_thread(self._registry)
        except ConnectionError as error:
            log.warning("the registry is away, its last answer stands: %s", error)

    def _registry(self) -> dict[str, ServedModel]:
        from viral.tracking import registered_adapters

        assert self._args.tracking is not None
        found = registered_adapters(self._args.tracking)
        served = (self._served(adapter, f"{adapter.name}@{adapter.alias}") for adapter in found)
        return {model.id: model for model in served if model is not None}

    def _version(self, name: str) -> ServedModel | None:
        """`adapter@3`: a version by its number, as answers tell it."""
        from viral.tracking import registered_version

        assert self._args.tracking is not None
        adapter, _, version = name.partition("@")
        found = registered_version(self._args.tracking, adapter, version) if version.isdigit() else None
        return None if found is None else self._served(found, name)

    def _served(self, found: "Registered", id: str) -> ServedModel | None:
        """A registered adapter as it is listed, or None where its base is not served here."""
        from viral.tracking import adapter_card

        if found.sha256 not in self._cards:
            assert self._args.tracking is not None
            try:
                card = adapter_card(self._args.tracking, found)
                self._cards[found.sha256] = card["base_sha256"], card["size"]
            except (ConnectionError, ValueError, KeyError) as error:
                log.warning("%s cannot be read from the registry and is not served: %s", id, error)
                return None
        base_sha256, size = self._cards[found.sha256]
        base = next((models[0].id for models in self._own.values() if models[0].sha256 == base_sha256), None)
        if base is None or not NAME.fullmatch(id):
            return None
        return ServedModel(id=id, kind="adapter", sha256=found.sha256, base=base, version=found.version, size=size)
