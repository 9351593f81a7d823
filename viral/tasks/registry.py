"""All tasks by name: the paper's, their inverse directions, and those that a configuration adds."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from viral.data_config import TaskConfig
from viral.tasks.editing import EDIT, NEGATIVE, STYLE
from viral.tasks.geometry import DEPTH, NORMAL
from viral.tasks.labelled import LABELS, Labelled
from viral.tasks.lines import EDGE, LINEART
from viral.tasks.objects import DETECTION, ENTITY, INTERACTIVE
from viral.tasks.pose import POSE
from viral.tasks.restoration import COLORIZATION, DERAINING, LOW_LIGHT, WATERMARK
from viral.tasks.task import Rendering, Task, given, inverse

_FORWARD = (
    EDGE, COLORIZATION, LOW_LIGHT, WATERMARK, NEGATIVE, DEPTH, NORMAL, DETECTION, POSE, INTERACTIVE, ENTITY, DERAINING,
    LINEART, STYLE, EDIT,
)  # fmt: skip
_INVERTIBLE = (EDGE, DEPTH, NORMAL, POSE, ENTITY, LINEART, COLORIZATION, LOW_LIGHT, DERAINING)
"""Not those whose target keeps too little (a box, a mask), whose source was drawn at random (a mark), or that are
their own inverse; an edit backwards is an edit of its own, with other words."""

TASKS: dict[str, Task] = {task.name: task for task in (*_FORWARD, *map(inverse, _INVERTIBLE))}


def all_tasks(own: Mapping[str, TaskConfig] | None = None) -> dict[str, Task]:
    """`TASKS` and a configuration's own; `ValueError` where one of these takes a name that is there, or is no task."""
    added = {name: own_task(name, config) for name, config in (own or {}).items()}
    if taken := sorted(set(added) & set(TASKS)):
        raise ValueError(f"tasks: {', '.join(taken)} are there already; give yours other names")
    return {**TASKS, **added}


def own_task(name: str, config: TaskConfig) -> Task:
    """The task that a few lines of configuration and one function make."""
    if unknown := sorted(set(config.needs) - set(LABELS)):
        raise ValueError(f"tasks.{name}.needs: there is no label {', '.join(unknown)}; choose from {', '.join(LABELS)}")
    return Task(
        name, config.title or _title(name), _OwnRender(name, config.render), config.metric, config.higher_is_better,
        config.weight, config.trains, config.needs, config.meets, config.instruction,
    )  # fmt: skip


def find_tasks(names: tuple[str, ...], own: Mapping[str, TaskConfig] | None = None) -> tuple[Task, ...]:
    """The tasks of these names, in their order; `ValueError` names one that does not exist or comes twice."""
    tasks = all_tasks(own)
    for name in names:
        if name not in tasks:
            raise ValueError(f"data.tasks: there is no task {name!r}; choose from {', '.join(tasks)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"data.tasks: got {list(names)}, expected at least one task and each only once")
    return tuple(tasks[name] for name in names)


def describe_task(name: str, own: Mapping[str, TaskConfig] | None = None) -> Task:
    """The task of this name; one of your own pairs that has no entry is scored by PSNR."""
    if own and name in own:
        return own_task(name, own[name])
    return TASKS.get(name) or Task(name, _title(name), given, "psnr", higher_is_better=True)


def own_key(own: Mapping[str, TaskConfig]) -> list[Any]:
    """What the pairs of a configuration's own tasks depend on: their settings, and the files their functions are in."""
    return [[name, config.model_dump(mode="json"), _file_sha256(config.render)] for name, config in sorted(own.items())]


class _OwnRender:
    """A function of yours as `Task.render`: takes the picture (a `Labelled`) and a generator, gives a `Rendering` or
    the target alone."""

    def __init__(self, name: str, address: str) -> None:
        self._name, self._function = name, load_function(address, f"tasks.{name}.render")

    def __call__(self, labelled: Labelled, rng: np.random.Generator) -> Rendering:
        made = self._function(labelled, rng)
        if isinstance(made, Rendering):
            return made
        if isinstance(made, np.ndarray) and made.dtype == np.uint8 and made.shape == labelled.image.shape:
            return Rendering(labelled.image, made)
        raise ValueError(
            f"{self._name}: the function gave {type(made).__name__}, expected a Rendering or a target of uint8 and "
            f"shape {labelled.image.shape}"
        )


def load_function(address: str, key: str) -> Callable[..., Any]:
    """The function at `module:name` or `folder/file.py:name`; `ValueError`, beginning with `key`, if there is none."""
    place, colon, name = address.rpartition(":")
    if not colon:
        raise ValueError(f"{key}: got {address!r}, expected module:function or folder/file.py:function")
    module = _file_module(Path(place), key) if place.endswith(".py") else _module(place, key)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{key}: {place} has no function {name!r}")
    return function


def _module(name: str, key: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, name.partition(".")[0]):
            raise
        raise ValueError(
            f"{key}: there is no module {name!r}; install it, or give its file: folder/file.py:name"
        ) from None


def _file_module(path: Path, key: str) -> Any:
    if not path.is_file():
        raise ValueError(f"{key}: {path} is not a file under {Path.cwd()}")
    name = f"viral_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _file_sha256(address: str) -> str | None:
    path = Path(address.rpartition(":")[0])
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".py" and path.is_file() else None


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
