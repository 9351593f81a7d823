"""Every table that jobs exchange: column names and Arrow types, in one place.

`pairs` is for people: Parquet whose images Hugging Face `datasets` decodes. `latents` is for training: Arrow
IPC, memory-mapped, read at random.
"""

import json

import pyarrow as pa

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""Storage type of `datasets.Image`: encoded bytes and an optional file name."""

_PAIR_IMAGES = ("source", "target", "mask")

PAIRS = pa.schema(
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
    ],
    metadata={
        "huggingface": json.dumps(
            {
                "info": {
                    "features": {
                        name: {"_type": "Image"} if name in _PAIR_IMAGES else {"dtype": "string", "_type": "Value"}
                        for name in (
                            "pair_id",
                            "task",
                            "split",
                            "source_id",
                            "licence",
                            "params",
                            *_PAIR_IMAGES,
                            "error",
                        )
                    }
                }
            }
        )
    },
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
