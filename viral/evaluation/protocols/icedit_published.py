"""Rows that ICEdit's paper printed; measured on MagicBrush's and Emu Edit's own pictures."""

from collections.abc import Mapping, Sequence

from viral.evaluation.protocols.protocol import PublishedRow


def _rows(columns: str, figures: Mapping[str, Sequence[float | None]]) -> tuple[PublishedRow, ...]:
    keys = columns.split()
    return tuple(
        PublishedRow(method, {key: value for key, value in zip(keys, values, strict=True) if value is not None})
        for method, values in figures.items()
    )


TABLE1 = _rows(
    "magicbrush/l1 magicbrush/clip_i magicbrush/dino",
    {
        "InstructPix2Pix": (0.114, 0.851, 0.744),
        "MagicBrush": (0.074, 0.908, 0.847),
        "UltraEdit": (0.066, 0.904, 0.852),
        "FluxEdit": (0.114, 0.779, 0.663),
        "FLUX.1 Fill": (0.192, 0.795, 0.669),
        "RF-Solver Edit, told the output's caption": (0.112, 0.766, 0.675),
        "ACE++": (0.195, 0.741, 0.591),
        "ICEdit": (0.060, 0.928, 0.853),
    },
)
TABLE2 = _rows(
    "emu/clip_i_source emu/clip_out emu/dino_source emu/verdict",
    {
        "InstructPix2Pix": (0.856, 0.292, 0.773, 0.36),
        "MagicBrush": (0.877, 0.298, 0.807, 0.48),
        "Emu Edit": (0.877, 0.306, 0.844, 0.72),
        "UltraEdit": (0.880, 0.304, 0.847, 0.54),
        "FluxEdit": (0.852, 0.282, 0.760, 0.22),
        "FLUX.1 Fill": (0.794, 0.273, 0.659, 0.24),
        "RF-Solver Edit, told the output's caption": (0.797, 0.309, 0.683, 0.32),
        "ACE++": (0.791, 0.280, 0.687, 0.24),
        "ICEdit": (0.907, 0.305, 0.866, 0.68),
    },
)
TABLE3 = _rows(
    "emu/clip_i_source emu/clip_out emu/verdict",
    {
        "Training-free without the in-context prompt": (0.681, 0.258, 0.14),
        "Training-free with the in-context prompt": (0.794, 0.273, 0.24),
        "MoE alone, 130 M": (0.929, 0.300, 0.51),
        "LoRA of rank 64, 240 M": (0.911, 0.301, 0.60),
        "ICEdit without the in-context prompt, 214 M": (0.896, 0.300, 0.62),
        "ICEdit, 214 M": (0.907, 0.305, 0.68),
    },
)
