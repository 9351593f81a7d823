"""Pairs that are given: two folders whose names match, or JSON lines that name the files.

Whatever label a task needs, a given pair has it in its target already.
"""

import json
import re
from typing import Any, Literal

from viral.data.sources.source import Item, Needs, Reader, Source, choose, read_picture
from viral.storage import Storage
from viral.tasks import LABELS, Labelled


class PairedFolders(Source):
    """Sources and targets whose names agree in `{id}`.

    Rain200L: source `train/input/norain-{id}x2.png`, target `train/target/norain-{id}.png`; LOLv2: source
    `Real_captured/Train/Low/low{id}.png`, target `Real_captured/Train/Normal/normal{id}.png`.
    """

    kind: Literal["paired"]
    path: str
    source: str
    target: str
    mask: str | None = None
    instruction: str | None = None
    """The change in words, the same for all."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset(LABELS)

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """Every source file; one without a target becomes a row that says so."""
        names = set(Storage(self.path).walk())
        before, _, after = map(re.escape, self._pattern(self.source).partition("{id}"))
        found = [match[1] for name in sorted(names) if (match := re.fullmatch(f"{before}(.+?){after}", name))]
        if not found:
            raise ValueError(f"{self.path} holds no file like {self.source}, of {len(names)} there are")
        return choose([self._item(key, names) for key in found], count, seed)

    def reader(self, device: str) -> Reader:
        """Reads both pictures, and the mask."""
        return _FileReader(self.path)

    def _item(self, key: str, names: set[str]) -> Item:
        data = {"source": self.source.replace("{id}", key), "target": self._pattern(self.target).replace("{id}", key)}
        mask = (self.mask or "").replace("{id}", key)
        data |= {"mask": mask} if mask in names else {}
        data |= {"instruction": self.instruction} if self.instruction else {}
        return Item(key, f"{self.path}/{data['target']}", data)

    def _pattern(self, pattern: str) -> str:
        if pattern.count("{id}") != 1:
            raise ValueError(f"{pattern!r} must hold {{id}} once, where the names of sources and targets agree")
        return pattern


class JsonLines(Source):
    """Pairs listed in a file of JSON objects, one a line: `source` and `target` are files beside it.

    Further keys that are read: `mask`, `instruction`, `licence`, `group`, `id`.
    """

    kind: Literal["jsonl"]
    path: str
    """Folder of the list and of the files it names."""
    file: str = "manifest.jsonl"
    where: dict[str, str | list[str]] = {}
    """Take only lines whose keys have these values, e.g. {task: depth}."""
    apart: Literal["source", "target"] = "source"
    """The picture that says which pairs are of one photograph; `target` where that is the clean one."""

    @property
    def gives(self) -> frozenset[str]:
        return frozenset(LABELS)

    def items(self, count: int, seed: int, needs: Needs) -> list[Item]:
        """Every line that has a target and the values asked for."""
        lines = self._lines()
        kept = [line for line in lines if line.get("target") and all(self._agrees(line, key) for key in self.where)]
        if not kept:
            raise ValueError(f"{self.path}/{self.file}: none of {len(lines)} lines has a target and {self.where}")
        return choose([self._item(number, line) for number, line in enumerate(kept)], count, seed)

    def reader(self, device: str) -> Reader:
        """Reads both pictures, and the mask."""
        return _FileReader(self.path)

    def _agrees(self, line: dict[str, Any], key: str) -> bool:
        wanted = self.where[key]
        return line.get(key) in ([wanted] if isinstance(wanted, str) else wanted)

    def _lines(self) -> list[dict[str, Any]]:
        lines = []
        for number, text in enumerate(Storage(self.path).read(self.file).decode().splitlines(), start=1):
            try:
                line = json.loads(text)
            except json.JSONDecodeError as error:
                raise ValueError(f"{self.path}/{self.file}, line {number} is no JSON ({error}); correct it") from None
            if not isinstance(line, dict) or "source" not in line:
                raise ValueError(
                    f"{self.path}/{self.file}, line {number} has no key source; expected an object with it"
                )
            lines.append(line)
        return lines

    def _item(self, number: int, line: dict[str, Any]) -> Item:
        data = {key: line[key] for key in ("source", "target", "mask", "instruction", "group") if line.get(key)}
        key = f"{line.get('task', '')}/{line.get('id', number)}"
        return Item(key, f"{self.path}/{line[self.apart]}", data, line.get("licence"))


class _FileReader:
    """Reads the files that an item's data names."""

    def __init__(self, path: str) -> None:
        self._folder = Storage(path)

    def __call__(self, item: Item, size: int) -> Labelled:
        data = item.data
        source, target = (read_picture(self._folder, data[key]) for key in ("source", "target"))
        if source.shape != target.shape:
            sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in (source, target))
            raise ValueError(f"source and target differ in size: {sizes}; they must lie pixel on pixel")
        changed = read_picture(self._folder, data["mask"]).max(axis=2) > 127 if "mask" in data else None
        about = {"group": data["group"]} if "group" in data else {}
        return Labelled(source, target=target, changed=changed, instruction=data.get("instruction"), about=about)
