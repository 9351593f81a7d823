"""What a served application is made of: the keys of `serve run serve.app:build_app key=value` and serve/config.yaml."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from viral.config import SHIPPED_BASE, RunConfig, ServeConfig

_DEFAULTS = ServeConfig()


class Limits(BaseModel):
    """Bounds on one upload."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_pixels: int = Field(_DEFAULTS.max_pixels, ge=1)
    """Largest decoded image."""
    max_side_ratio: float = Field(_DEFAULTS.max_side_ratio, ge=1)
    max_body_bytes: int = Field(_DEFAULTS.max_body_bytes, ge=1)


class AppArgs(Limits):
    """Arguments of `build_app`, closed and frozen."""

    storage: str = "runs/demo"
    """Folder of a run; its adapter/ is served unless `adapter` names another."""
    base: str = "tiny"
    """Base model in diffusers' layout: `tiny` (shipped), a folder or a hub id."""
    adapter: str | None = None
    """An adapter folder, or `models:/name@alias` in the registry at `tracking`."""
    tracking: str | None = None
    """MLflow address that resolves `models:/...`."""
    steps: int = Field(_DEFAULTS.steps, ge=1)
    """Denoising steps of a request that names none."""
    max_steps: int = Field(100, ge=1)
    gpus: float = Field(0, ge=0)
    """GPUs of one editor; 0 paints on the CPU."""
    queue: int = Field(16, ge=0)
    """Requests that may wait for an editor; one more is answered 429 at once."""
    timeout_s: float = Field(600, gt=0)
    """Longest time from upload to answer; then 504. A shutdown waits as long for what was accepted."""

    @classmethod
    def of(cls, config: RunConfig, adapter: str, tracking: str | None) -> "AppArgs":
        """The application that a run's configuration asks for."""
        served = config.serve.model_dump(include={"steps", "max_pixels", "max_side_ratio", "max_body_bytes"})
        return cls(storage=config.storage, base=config.base_folder(), adapter=adapter, tracking=tracking, **served)

    def adapter_source(self) -> str:
        """Folder or registry name of the adapter; `adapter` as given, else the run's own folder, absolute."""
        if self.adapter is not None and self.adapter.startswith("models:/"):
            return self.adapter
        return str(Path(self.adapter or Path(self.storage, "adapter")).expanduser().resolve())

    def base_folder(self) -> str:
        """Where `base` is loaded from."""
        return RunConfig(base=self.base).base_folder()

    def base_name(self) -> str:
        """Name of the base for people: `tiny`, a folder's name or a hub id."""
        if self.base == str(SHIPPED_BASE):
            return "tiny"
        return Path(self.base).name if Path(self.base).is_dir() else self.base
