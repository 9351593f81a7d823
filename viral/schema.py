"""Every table that jobs exchange: column names and Arrow types, in one place.

`pairs` is for people: Parquet whose images Hugging Face `datasets` decodes. `latents` is for training: Arrow
IPC, memory-mapped, read at random. `labelled` holds pictures with what is known of them, before tasks make pairs.
"""

import json
from typing import Any

import pyarrow as pa

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""Storage type of `datasets.Image`: encoded bytes and an optional file name."""


def _table(fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    """A schema whose image columns Hugging Face `datasets` decodes."""
    features = {name: {"_type": "Image"} if kind == IMAGE else _feature(kind) for name, kind in fields}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> Any:
    """A plain column as `datasets` describes it."""
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {kind.field(i).name: _feature(kind.field(i).type) for i in range(kind.num_fields)}
    return {"dtype": {"float": "float32", "double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


PAIRS = _table(
    [
        ("pair_id", pa.string()),  # sha256 of what made it: photograph, crop, task, seed
        ("task", pa.string()),
        ("split", pa.string()),  # "train" or "test", by photograph
        ("source_id", pa.string()),  # the photograph; two views of one scene share it
        ("licence", pa.string()),
        ("params", pa.string()),  # JSON: crop box, parameters of the rendering
        ("source", IMAGE),
        ("target", IMAGE),
        ("mask", IMAGE),  # where source and target differ, for tasks that know it; else null
        ("error", pa.string()),  # why the row has no images; null for a good row
        ("group", pa.string()),  # pairs of one task meet only within a group (a category, an edit); null: any two meet
        ("instruction", pa.string()),  # the change in words, where somebody said it
        ("provenance", pa.string()),  # JSON: source and its parameters, annotators with revision and sha256
        ("doubts", pa.string()),  # what can be seen to be wrong with a good row; null where nothing is
    ]
)

INSTANCE = pa.struct(
    [
        ("category", pa.string()),
        ("box", pa.list_(pa.float64())),  # left, top, right, bottom in pixels
        ("mask", pa.binary()),  # 1-bit PNG
        ("keypoints", pa.list_(pa.float32())),  # x, y, visibility of COCO's 17 joints
        ("crowd", pa.bool_()),
    ]
)
MAP = pa.struct([("task", pa.string()), ("picture", pa.binary())])

LABELLED = _table(
    [
        ("image_id", pa.string()),  # sha256 of what made it: source, item, size
        ("split", pa.string()),
        ("source_id", pa.string()),  # what all pictures of one photograph or scene share
        ("licence", pa.string()),
        ("image", IMAGE),  # null in a table of labels alone
        ("target", IMAGE),
        ("changed", IMAGE),
        ("depth", IMAGE),  # 16-bit PNG, inverse: near is large, 0 is not known
        ("normals", IMAGE),  # (n + 1) / 2: red right, green up, blue towards the viewer; black is not known
        ("entities", IMAGE),  # 16-bit PNG: a number for each, 0 is none
        ("instances", pa.list_(INSTANCE)),
        ("maps", pa.list_(MAP)),  # targets that an annotator painted
        ("instruction", pa.string()),
        ("caption", pa.string()),
        ("pixels", pa.string()),  # sha256 of the image's pixels
        ("look", pa.string()),  # its perceptual hash, hexadecimal: alike pictures differ in few bits
        ("about", pa.string()),  # JSON: parameters of the source, annotators with revision and sha256
        ("error", pa.string()),
    ]
)

EMBEDDINGS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),  # as in the pairs: the edit, where the source knows it
        ("instruction", pa.string()),
        ("source", pa.binary()),  # float16, of length 1
        ("target", pa.binary()),
        ("words", pa.binary()),  # the instruction's, in the same space
        ("shard", pa.int32()),  # where the pair lies: shard of the table of pairs, and row of it
        ("row", pa.int32()),
    ]
)

QUADRUPLETS = _table(
    [
        ("quadruplet_id", pa.string()),
        ("method", pa.string()),  # "mined" or "synthesised"
        ("split", pa.string()),  # of both source pictures
        ("a_source_id", pa.string()),
        ("b_source_id", pa.string()),
        ("licence", pa.string()),  # of both, joined where they differ
        ("a", IMAGE),
        ("a_prime", IMAGE),
        ("b", IMAGE),
        ("b_prime", IMAGE),
        ("a_instruction", pa.string()),
        ("b_instruction", pa.string()),
        ("scores", pa.string()),  # JSON: cosines of steps, sources, instructions; or what a check found
        ("provenance", pa.string()),  # JSON: pairs, models with revision and sha256, prompt's id and hash
        ("error", pa.string()),  # why the row has no images; null for a good row
    ]
)

LATENTS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("task", pa.string()),
        ("split", pa.string()),
        ("source_id", pa.string()),
        ("source", pa.binary()),  # float16, channels x height x width, normalised as the DiT reads it
        ("target", pa.binary()),
        ("channels", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("group", pa.string()),  # as in the pairs
        ("text", pa.binary()),  # float16, tokens x width: the instruction encoded; null where nothing is said
        ("pooled", pa.binary()),  # float16: its pooled vector, for bases that take one
    ]
)

SCORES = pa.schema(
    [
        ("pair_id", pa.string()),
        ("source_id", pa.string()),
        ("task", pa.string()),
        ("metric", pa.string()),
        ("method", pa.string()),  # "adapter", "before", a free answer, "vae"
        ("value", pa.float64()),
    ]
)

PICTURE = pa.struct([("name", pa.string()), ("png", pa.binary())])

CASES = pa.schema(
    [
        ("case_id", pa.string()),
        ("task", pa.string()),
        ("source_id", pa.string()),
        ("seed", pa.int64()),
        ("examples", pa.list_(pa.struct([("source", pa.binary()), ("target", pa.binary())]))),  # PNG, as all pictures
        ("query", pa.binary()),
        ("truth", pa.binary()),  # null where nobody knows it
        ("mask", pa.binary()),
        ("instruction", pa.string()),
        ("caption", pa.string()),  # of the output
        ("labels", pa.string()),  # JSON
        ("pictures", pa.list_(PICTURE)),  # labels that are pictures
    ]
)

ANSWERS = pa.schema(
    [
        ("case_id", pa.string()),
        ("answer", pa.binary()),  # PNG of the query's size; null where the method has nothing to say
    ]
)

MEASURES = pa.schema(
    [
        ("case_id", pa.string()),
        ("source_id", pa.string()),
        ("column", pa.string()),  # task and metric, as `Column.key` says
        ("draw", pa.string()),  # value of the label over which the column spreads, if it does
        ("values", pa.list_(pa.float64())),  # its figure, or what a metric of sets keeps; null where there is no answer
        ("absent", pa.string()),  # why the metric's own weights are not there and a stand-in measured
    ]
)

EDITS = pa.schema(
    [
        ("name", pa.string()),  # the picture, as its folder or table names it
        ("output", pa.string()),  # file below images/
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("seed", pa.int64()),  # of the image; with several candidates the winner's
        ("evaluations", pa.int64()),  # forward passes of the model that it took
        ("error", pa.string()),  # why there is no image; null for a good row
    ]
)
