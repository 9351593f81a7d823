"""One change, shown or told, applied to every picture of a folder or table with Ray Data, and what became of each."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from viral.config import ModelConfig, fingerprint
from viral.data.images import decode, short_reason
from viral.data.inputs import Batch, Inputs
from viral.data.shards import MadeShard, Pool, is_finished, make_shards
from viral.model.architecture import is_fill
from viral.model.attach import sha256_of
from viral.model.backbone import base_hash
from viral.provenance import encode_png, read_trace
from viral.sampling.editor import Edit, Editor, Pair
from viral.sampling.instruct import InstructEditor
from viral.sampling.judge_choice import choose_judge
from viral.sampling.judges import Judge
from viral.schema import EDITS
from viral.storage import Manifest, Storage

RECIPE = 1
"""Raised when the same picture and choices shall give another image."""
IMAGES, STRIPS = "images", "strips"
STRIP_HEIGHT = 160
"""Pixels of a picture of the contact sheet."""


@dataclass(frozen=True)
class Change:
    """What is done to every picture: the same examples and the same noise, so that none depends on the others."""

    examples: tuple[tuple[bytes, bytes], ...]
    """Pairs (A, A') as encoded images; none for a change that is told alone."""
    base: str
    """Folder or hub id."""
    adapter: str | None
    """Folder or released file that every node finds at this path, or `models:/name/version` in the registry at
    `tracking`; None leaves the base alone."""
    tracking: str | None = None
    instruction: str | None = None
    steps: int | None = None
    """Like `size` and both guidances, the editor's own where None."""
    seed: int = 0
    size: int | None = None
    guidance: float | None = None
    example_guidance: float | None = None
    candidates: int = 1
    preview_steps: int = 4
    judge: str = "consensus"
    model: ModelConfig = field(default_factory=ModelConfig)

    def folder(self) -> Path | None:
        """This machine's copy of the adapter; `ValueError` for one that the registry does not have."""
        if self.adapter is None or not self.adapter.startswith("models:/"):
            return self.adapter and Path(self.adapter)
        from viral.tracking import resolve

        return resolve(self.adapter, self.tracking)[0]

    def key(self) -> str:
        """Fingerprint of all that an image depends on besides its own picture."""
        shown = [[sha256(image).hexdigest() for image in pair] for pair in self.examples]
        folder = self.folder()
        weights = base_hash(self.base, self.model), folder and sha256_of(folder)
        judged = [self.candidates, self.preview_steps, self.judge] if self.candidates > 1 else []
        return fingerprint(
            "edits", RECIPE, shown, weights, self.instruction, self.steps, self.seed, self.size, self.guidance,
            self.example_guidance, judged, self.model,
        )  # fmt: skip

    def is_told(self) -> bool:
        """Whether a Fill base paints, by words alone; `ValueError` where one is shown examples or told nothing."""
        if not is_fill(self.base, self.model):
            return False
        if self.examples or self.instruction is None:
            raise ValueError(f"{self.base} edits as told; give an instruction and no examples")
        return True

    def editor(self, device: str) -> Editor | InstructEditor:
        """What paints."""
        kind = InstructEditor if self.is_told() else Editor
        return kind.load(self.base, self.folder(), device=device, config=self.model)


def edit_pictures(change: Change, inputs: Inputs, storage: Storage, pool: Pool) -> Manifest:
    """Paint every picture of `inputs` into `storage`/images, with a table of what became of each; needs Ray.

    Whatever is there already and was painted from the same is left as it is. A picture that cannot be painted stays
    in the table with its error. `ValueError` for examples that are no images or that the base does not take.
    """
    examples_of(change)
    change.is_told()
    key = change.key()
    wanted = Manifest(fingerprint=fingerprint(key, inputs.state), counts_in={"rows": inputs.rows})
    with storage.alone():
        if (manifest := is_finished(storage, wanted.fingerprint)) is None:
            maker = partial(EditMaker, change, key, storage, pool.gpus)
            manifest = make_shards("editing", storage, wanted, list(inputs.plan), maker, pool)
    return manifest


def examples_of(change: Change) -> list[Pair]:
    """The example pairs, decoded."""
    return [(decode(source, "A"), decode(target, "A'")) for source, target in change.examples]


class EditMaker:
    """Paints the pictures of a batch to files; its shard tells what became of them."""

    def __init__(self, change: Change, key: str, storage: Storage, gpus: float) -> None:
        self._change, self._key, self._storage = change, key, storage
        self._editor = change.editor("cuda" if gpus else "cpu")
        self._examples = examples_of(change)
        self._judge = _judge(change, self._editor)

    def __call__(self, work: Batch) -> MadeShard:
        rows = [self._row(picture.name, picture.output, data) for picture, data in work.read()]
        failures = Counter(short_reason(row["error"]) for row in rows if row["error"] is not None)
        return MadeShard(_parquet(rows), len(rows), dict(sorted(failures.items())))

    def _row(self, name: str, output: str, data: bytes) -> dict[str, Any]:
        try:
            query = decode(data, name)
            place, file = _place(self._storage, IMAGES, output)
            request = fingerprint(self._key, sha256(data).hexdigest())
            if (trace := _painted(place, file, request)) is None:
                edit = self._edit(query)
                trace = {**edit.trace, "request": request}
                strips, name_of_strip = _place(self._storage, STRIPS, strip_of(output))
                strips.write(name_of_strip, strip([query, edit.image]))
                place.write(file, encode_png(edit.image, trace))  # last: where it is, its strip is too
        except Exception as error:  # noqa: BLE001 - the wrapper that turns a row's failure into its error
            told = _told(error, name)
            return {**dict.fromkeys(EDITS.names), "name": name, "output": output, "error": told}
        width, height = trace["size"]
        about = {"name": name, "output": output, "width": width, "height": height}
        return {**about, "seed": trace["seed"], "evaluations": trace["evaluations"], "error": None}

    def _edit(self, query: Image.Image) -> Edit:
        change, told = self._change, isinstance(self._editor, InstructEditor)
        asked: tuple[Any, ...] = (query, change.instruction) if told else (self._examples, query, change.instruction)
        how = {
            "steps": change.steps, "guidance": change.guidance, "example_guidance": change.example_guidance,
            "width" if told else "size": change.size,
        }  # fmt: skip
        how = {name: value for name, value in how.items() if value is not None}
        if self._judge is None:
            return self._editor(*asked, seed=change.seed, **how)
        seeds = list(range(change.seed, change.seed + change.candidates))
        chosen = {"judge": self._judge, "seeds": seeds, "preview_steps": change.preview_steps}
        return self._editor.filtered(*asked, **chosen, **how)


def strip_of(output: str) -> str:
    """Name of the strip below `STRIPS` that shows an output beside its picture."""
    return output.removesuffix(".png") + ".jpg"


def read_edits(storage: Storage, manifest: Manifest) -> pa.Table:
    """The table of what became of each picture, in `schema.EDITS`."""
    shards = [pq.read_table(storage.local(shard.name, shard.sha256), schema=EDITS) for shard in manifest.shards]
    return pa.concat_tables(shards)


def _told(error: Exception, name: str) -> str:
    """What went wrong, without the picture's name, which stands beside it."""
    return str(error).removeprefix(f"{name}: ") if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _judge(change: Change, editor: Editor | InstructEditor) -> Judge | None:
    if change.candidates == 1:
        return None
    licences = change.model.accept_licences
    return choose_judge(change.judge, editor, change.instruction, size=change.size, accept_licences=licences)


def _place(storage: Storage, folder: str, output: str) -> tuple[Storage, str]:
    """Where a file lies below `folder`, and its own name."""
    path = PurePosixPath(output)
    return storage.join(folder, *path.parent.parts), path.name


def _painted(place: Storage, file: str, request: str) -> dict[str, Any] | None:
    """The trace of the image that is there, if it was painted for the same request."""
    if not place.exists(file):
        return None
    trace = read_trace(place.read(file))
    return trace if trace["request"] == request else None


def strip(pictures: Sequence[Image.Image]) -> bytes:
    """Pictures side by side at one height, for the contact sheet."""
    scaled = [image.resize((max(1, STRIP_HEIGHT * image.width // image.height), STRIP_HEIGHT)) for image in pictures]
    strip = Image.new("RGB", (sum(image.width for image in scaled), STRIP_HEIGHT))
    for i, image in enumerate(scaled):
        strip.paste(image, (sum(before.width for before in scaled[:i]), 0))
    buffer = io.BytesIO()
    strip.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=EDITS), sink)
    return sink.getvalue().to_pybytes()
