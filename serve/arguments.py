"""What a served application is made of: the keys of `serve run serve.app:build_app key=value` and serve/config.yaml."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from viral.config import ModelConfig, RunConfig, ServeConfig
from viral.model.architecture import is_fill
from viral.shipped import SHIPPED_ADAPTERS, SHIPPED_BASES, own_or_shipped_adapter

_DEFAULTS = ServeConfig()


class Limits(BaseModel):
    """Bounds on one upload."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_pixels: int = Field(_DEFAULTS.max_pixels, ge=1)
    """Largest decoded image."""
    max_side_ratio: float = Field(_DEFAULTS.max_side_ratio, ge=1)
    max_body_bytes: int = Field(_DEFAULTS.max_body_bytes, ge=1)
    max_examples: int = Field(4, ge=1)
    """Example pairs of one request."""
    max_prompt: int = Field(2000, ge=1)
    """Characters of an instruction."""
    max_output_pixels: int = Field(4_194_304, ge=1)
    """Largest image that is painted."""
    max_steps: int = Field(100, ge=1)
    max_candidates: int = Field(8, ge=1)


class AppArgs(Limits):
    """Arguments of `build_app`, closed and frozen."""

    storage: str = "runs/demo"
    """Folder of a run; its adapter/ is served unless `adapter` names another; where it has none, the shipped one."""
    base: str | None = "tiny"
    """Base of analogies, in diffusers' layout: `tiny` (shipped), a folder or a hub id; None serves `fill` alone."""
    adapter: str | None = None
    """Default of `base`: an adapter folder, or `models:/name@alias` in the registry at `tracking`."""
    fill: str | None = None
    """A FLUX.1 Fill base (`tiny-fill` ships) for edits by instruction alone; without one the bare `base` does them."""
    fill_adapter: str | None = None
    """Default of `fill`, likewise; without one `tiny-fill` has the adapter that ships, another base none."""
    judge: str | None = None
    """Folder or hub id of a Qwen2.5-VL, or `URL#MODEL` of an OpenAI-compatible endpoint, that requests call `vlm`."""
    tracking: str | None = None
    """MLflow address of the registry whose adapters requests may name."""
    refresh_s: float = Field(10, gt=0)
    """How often the registry's aliases are looked up."""
    model: ModelConfig = ModelConfig()
    """Accepted licences, types and quantisation of all bases."""
    adapters_in_memory: int = Field(4, ge=1)
    """Adapters that one editor keeps loaded; the one unused for longest makes room."""
    steps: int = Field(_DEFAULTS.steps, ge=1)
    """Denoising steps of a request that names none."""
    gpus: float = Field(0, ge=0)
    """GPUs of one editor; 0 paints on the CPU."""
    judge_gpus: float = Field(0, ge=0)
    """GPUs of one judge."""
    min_editors: int = Field(1, ge=1)
    max_editors: int = Field(1, ge=1)
    """Replicas of each base's editor, as many as keep about one request waiting for each."""
    max_judges: int = Field(1, ge=1)
    max_ingresses: int = Field(1, ge=1)
    batch: int = Field(1, ge=1)
    """Requests painted together where they fit one another. Above 1 throughput grows, and the same request no longer
    gives the same bytes: rounding depends on what is painted beside it."""
    queue: int = Field(16, ge=3)
    """Requests that one editor is given at a time, per ingress replica, that which it paints included; one more is
    answered 429 at once. Each further editor takes two more."""
    timeout_s: float = Field(600, gt=0)
    """Longest time from upload to answer; then 504. A shutdown waits as long for what was accepted."""
    journal: str | None = None
    """SQLite file of accepted jobs, on storage that every node shares; by default serve/journal.sqlite in `storage`."""
    max_jobs: int = Field(1000, ge=1)
    """Jobs that may wait; one more is answered 429."""
    jobs_at_once: int = Field(2, ge=1)
    """Jobs handed to the editors at a time."""
    keep_jobs_s: float = Field(86400, gt=0)
    """How long the answers of jobs, and idempotency keys, are kept."""
    moderation: str | None = None
    """`module:function` asked about every request's images and words and about the answer; see `serve.moderation`."""
    keys: str | None = None
    """File of API keys; needed as soon as the server listens on more than loopback. See `serve.keys`."""

    @model_validator(mode="after")
    def _check(self) -> "AppArgs":
        if self.max_editors < self.min_editors:
            raise ValueError(f"max_editors ({self.max_editors}) is below min_editors ({self.min_editors})")
        if self.model.offload is not None:
            raise ValueError(
                f"model.offload is {self.model.offload}, but adapters in memory share one base that has to stay where "
                "it is; use model.quantise for a base that does not fit"
            )
        if self.base is None and self.fill is None:
            raise ValueError("base and fill are both missing; name a base to serve")
        if self.base is not None and self.fill is not None and len(self.bases()) < 2:
            raise ValueError(f"base and fill are both called {next(iter(self.bases()))}; rename one of the folders")
        if self.journal is None and "://" in self.storage:
            raise ValueError(f"storage {self.storage} is no folder; name one for the jobs with journal=...")
        for adapter in (self.adapter, self.fill_adapter):
            if adapter and adapter.startswith("models:/") and "@" not in adapter:
                raise ValueError(f"{adapter} is fixed to a version; write models:/name@alias, which can move on")
        return self

    @classmethod
    def of(cls, config: RunConfig, adapter: str, tracking: str | None, **others: Any) -> "AppArgs":
        """The application that a run's configuration asks for, with `others` of its arguments.

        The base is sent by its name: a job's checkout and a replica's may lie at different places.
        """
        served = config.serve.model_dump(include={"steps", "max_pixels", "max_side_ratio", "max_body_bytes"})
        analogies = {"base": config.base, "adapter": adapter}
        told = {"base": None, "fill": config.base, "fill_adapter": adapter}
        paints = told if is_fill(config.base_folder(), config.model) else analogies
        return cls(storage=config.storage, tracking=tracking, model=config.model, **{**served, **paints, **others})

    def bases(self) -> dict[str, str]:
        """What each base that is served is loaded from, by its name for people; `fill` last."""
        folders = [RunConfig(base=base).base_folder() for base in (self.base, self.fill) if base is not None]
        return {_name(folder): folder for folder in folders}

    def default_adapter(self, base: str) -> str | None:
        """Folder or registry name of the adapter that a base has unless a request names another."""
        if self.fill is not None and base == list(self.bases())[-1]:
            shipped = SHIPPED_ADAPTERS.get(base)
            adapter = self.fill_adapter or (shipped and str(shipped))
            return adapter and _source(adapter)
        own = Path(self.storage, "adapter")
        return _source(self.adapter or str(own_or_shipped_adapter(own, base)))

    def journal_file(self) -> str:
        """The file of `journal`, absolute."""
        return str(Path(self.journal or Path(self.storage, "serve", "journal.sqlite")).expanduser().resolve())


def _source(adapter: str) -> str:
    return adapter if adapter.startswith("models:/") else str(Path(adapter).expanduser().resolve())


def _name(base: str) -> str:
    """Name of a base for people: that of one that ships, a folder's name or a hub id."""
    shipped = {str(folder): name for name, folder in SHIPPED_BASES.items()}
    return shipped.get(base) or (Path(base).name if Path(base).is_dir() else base)
