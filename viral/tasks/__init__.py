"""The task registry: how a task's source and target are rendered, how two pairs may meet, and what measures it.

A task of your own needs no change here: a few lines of configuration name a function that takes a `Labelled` picture
and a generator and gives the target.
"""

from viral.tasks.labelled import JOINTS, LABELS, Image, Instance, Labelled, Mask, fit
from viral.tasks.registry import TASKS, all_tasks, describe_task, find_tasks, load_function, own_key
from viral.tasks.task import Rendering, Task, inverse

__all__ = [
    "JOINTS",
    "LABELS",
    "TASKS",
    "Image",
    "Instance",
    "Labelled",
    "Mask",
    "Rendering",
    "Task",
    "all_tasks",
    "describe_task",
    "find_tasks",
    "fit",
    "inverse",
    "load_function",
    "own_key",
]
