"""Rows that VIRAL's paper printed, by protocol; measured on its own data, so not comparable with any other."""

from collections.abc import Mapping, Sequence

from viral.evaluation.protocols.protocol import PublishedRow


def _rows(columns: str, figures: Mapping[str, Sequence[float | str | None]]) -> tuple[PublishedRow, ...]:
    keys = columns.split()
    return tuple(
        PublishedRow(method, {k.replace("+", " "): v for k, v in zip(keys, values, strict=True) if v is not None})
        for method, values in figures.items()
    )


_DEPTH, _NORMAL = "depth/abs_rel depth/delta1", "normal/normal_median normal/normal_error"
_RESTORED = "deraining/psnr deraining/ssim low_light/psnr low_light/ssim"

TABLE1 = _rows(
    "interactive/iou detection/box_iou edge/rmse edge/lpips colorization/fid colorization/lpips "
    f"{_DEPTH} {_NORMAL} {_RESTORED}",
    {
        "IMProv": (0.178, 0.337, 99.36, 0.682, 210.89, 0.714, 0.175, 0.711, 56.08, 52.77, 15.29, 0.330, 15.14, 0.353),
        "VisualPrompt": (
            0.191, 0.347, 63.23, 0.585, 214.90, 0.707, 0.173, 0.732, 48.52, 46.03, 15.08, 0.329, 15.30, 0.444,
        ),
        "PromptDiff": (
            0.178, 0.324, 35.88, 0.255, 179.21, 0.598, 0.160, 0.714, 97.27, 105.92, 8.67, 0.128, 8.75, 0.323,
        ),
        "Painter": (
            0.348, 0.387, 94.93, 0.632, 176.71, 0.624, 0.167, 0.732, 116.01, 119.87, 19.13, 0.634, 16.39, 0.712,
        ),
        "VIRAL": (0.795, 0.562, 28.59, 0.133, 43.75, 0.126, 0.138, 0.812, 17.582, 20.187, 29.67, 0.889, 25.24, 0.878),
    },
)  # fmt: skip
TABLE2 = _rows(
    f"{_RESTORED} watermark/psnr watermark/ssim",
    {
        "CSUD": (33.31, 0.957, None, None, None, None),
        "CHVI": (None, None, 24.797, 0.919, None, None),
        "SLBR": (None, None, None, None, 30.972, 0.934),
        "VIRAL": (29.67, 0.889, 25.248, 0.878, 36.958, 0.959),
    },
)
TABLE3 = _rows(
    f"{_DEPTH} {_NORMAL}",
    {
        "Depth Anything": (0.154, 0.775, None, None),
        "StableNormal": (None, None, 21.352, 25.845),
        "VIRAL, trained on one task": (0.145, 0.796, 18.295, 21.913),
        "VIRAL": (0.138, 0.812, 17.582, 20.187),
    },
)
TABLE4 = _rows(
    "edit/clip_i edit/lpips edit/dinov2 style/clip_i style/lpips style/dinov2",
    {
        "Qwen-Image-Edit": (0.845, 0.652, 0.734, 0.701, 0.814, 0.598),
        "ICEdit": (0.823, 0.621, 0.717, 0.710, 0.813, 0.653),
        "VIRAL": (0.880, 0.517, 0.798, 0.832, 0.718, 0.757),
    },
)
TABLE5 = _rows(
    "detection/box_iou lineart/rmse lineart/lpips",
    {
        "IMProv": (0.251, 80.25, 0.726),
        "VisualPrompt": (0.318, 50.81, 0.645),
        "PromptDiff": (0.326, 189.89, 0.780),
        "Painter": (0.458, 82.22, 0.650),
        "VIRAL": (0.721, 34.82, 0.339),
    },
)
TABLE6 = _rows(
    f"{_DEPTH} {_NORMAL} interactive/iou",
    {
        "VIRAL, standard LoRA": (0.143, 0.803, 17.580, 21.127, 0.714),
        "VIRAL, MoE-LoRA": (0.138, 0.812, 17.582, 20.187, 0.795),
    },
)
TABLE7 = _rows(
    "depth+curated/abs_rel depth+curated/delta1 depth+random/abs_rel depth+random/delta1 "
    "normal+curated/normal_median normal+curated/normal_error "
    "normal+random/normal_median normal+random/normal_error",
    {
        "VIRAL": (
            0.1408, 0.7944, "0.1409 ± 0.0004", "0.8085 ± 0.0012", 20.643, 18.028, "20.925 ± 0.0496", "18.195 ± 0.0202",
        ),
    },
)  # fmt: skip
JOINT = tuple(row for row in TABLE3 if row.method.startswith("VIRAL"))
