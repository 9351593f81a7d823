"""VIRAL's tables: which tasks are asked, what measures them, who answers, and what the paper leaves open."""

from collections.abc import Callable, Iterator
from functools import partial

from viral.config import RunConfig
from viral.evaluation.layouts.omniconsistency import read_omniconsistency, write_omniconsistency
from viral.evaluation.layouts.pascal import read_pascal, write_pascal
from viral.evaluation.layouts.place import layout_of
from viral.evaluation.protocols import published
from viral.evaluation.protocols.analogies import analogies, crossed, exemplars
from viral.evaluation.protocols.case import Case
from viral.evaluation.protocols.protocol import Column, Protocol
from viral.evaluation.protocols.rows import FREE
from viral.scenes import EDITS
from viral.tasks import describe_task

BOUND = "vae"
STYLED = ("style",)
DEGRADED = ("deraining", "low_light")
INVERSES = ("edge_inverse", "depth_inverse", "normal_inverse")

_DEPTH_NOTE = (
    "Depth: the paper names neither alignment nor range. Here a picture's grey is inverse depth; the output's is "
    "brought to the truth's by the scale and shift that fit best, and depth counts from 1 to 10 times the nearest."
)
_BOX_NOTE = (
    "Detection: boxes are the rectangles round light regions of output and truth, matched one to one; one too many or "
    "too few counts as 0. The paper does not say how its IoU counts them."
)
_COLOUR_NOTE = "PSNR, SSIM and RMSE are taken over all channels of sRGB, 0 to 255; the paper does not say."
_BEYOND_NOTE = (
    "Pose, entities and watermarks are beyond the paper's table. Joints are looked for in their own colours: in small "
    "pictures the VAE blurs them, as its bound shows."
)
_PEERS_NOTE = "Specialists are rows of the configuration: protocol.methods.NAME.kind and its settings."
_DRAWN_NOTE = "Where protocol.layout names no folder, the benchmark's layout is drawn by the scene world, unseen seeds."
_FID_NOTE = "FID falls with the number of pictures: compare it within this table alone."


def _cases(*asked: Callable[[RunConfig], Iterator[Case]]) -> Callable[[RunConfig], Iterator[Case]]:
    """One group of cases after the other."""
    return lambda config: (case for group in asked for case in group(config))


def _of(*tasks: str) -> Callable[[RunConfig], Iterator[Case]]:
    """Analogies of these tasks."""
    return lambda config: (case for task in tasks for case in analogies(config, task))


def _columns(*described: str) -> tuple[Column, ...]:
    """`task: metric metric` as columns."""
    split = [text.split(": ") for text in described]
    return tuple(Column(task, metric) for task, metrics in split for metric in metrics.split())


_SEEN = ("interactive: iou", "detection: box_iou", "edge: rmse lpips", "colorization: fid lpips")
_DEPTH, _NORMAL = "depth: abs_rel delta1", "normal: normal_median normal_error"
_RESTORED = ("deraining: psnr ssim", "low_light: psnr ssim")
_BEYOND = ("pose: pck", "entity: entity_iou", "watermark: psnr ssim")


def _exemplar_columns(task: str, *metrics: str) -> tuple[Column, ...]:
    """Under the curated exemplar, then under the random ones."""
    title = describe_task(task).title
    curated = tuple(Column(f"{task} curated", metric, f"{title}, curated") for metric in metrics)
    return curated + tuple(Column(f"{task} random", metric, f"{title}, 5 random", spread="draw") for metric in metrics)


def _styles(config: RunConfig) -> Iterator[Case]:
    """Of OmniConsistency's layout."""
    place = layout_of(config, "omniconsistency", write_omniconsistency)
    return read_omniconsistency(place, config.protocol.cases, config.seed)


def _pascal(config: RunConfig) -> Iterator[Case]:
    """Of Pascal-5i's layout."""
    return read_pascal(layout_of(config, "pascal", write_pascal), config.protocol.cases, config.seed)


METHODS = ("ours", "base", *FREE, BOUND)

TABLE1 = Protocol(
    name="viral_table1",
    title="Visual in-context learning on the paper's tasks",
    table="VIRAL, Table 1",
    cases=_of(*(text.partition(":")[0] for text in (*_SEEN, _DEPTH, _NORMAL, *_RESTORED, *_BEYOND))),
    columns=_columns(*_SEEN, _DEPTH, _NORMAL, *_RESTORED, *_BEYOND),
    methods=METHODS,
    published=published.TABLE1,
    notes=(
        _DEPTH_NOTE,
        _BOX_NOTE,
        _COLOUR_NOTE,
        _FID_NOTE,
        "Pose, entities and watermarks are beyond the paper's table.",
    ),
)
TABLE2 = Protocol(
    name="viral_table2",
    title="Restoration, against specialists",
    table="VIRAL, Table 2",
    cases=_of("deraining", "low_light", "watermark"),
    columns=_columns(*_RESTORED, "watermark: psnr ssim"),
    methods=METHODS,
    published=published.TABLE2,
    notes=(_COLOUR_NOTE, _PEERS_NOTE),
)
TABLE3 = Protocol(
    name="viral_table3",
    title="Geometry, against specialists",
    table="VIRAL, Table 3",
    cases=_of("depth", "normal"),
    columns=_columns(_DEPTH, _NORMAL),
    methods=METHODS,
    published=published.TABLE3,
    notes=(_DEPTH_NOTE, _PEERS_NOTE),
)
TABLE4 = Protocol(
    name="viral_table4",
    title="Open-domain editing and style transfer",
    table="VIRAL, Table 4",
    cases=_cases(partial(analogies, task="edit", kinds=tuple(k for k in EDITS if k not in STYLED)), _styles),
    columns=_columns("edit: clip_i lpips dinov2", "style: clip_i lpips dinov2"),
    methods=("ours", "base_told", *METHODS[1:]),
    published=published.TABLE4,
    notes=(
        "Methods that read are told what a vision-language model sees in the example pair, as the paper does with "
        "Qwen2.5-VL-7B; where none is configured an embedder chooses among phrases.",
        "DINO is DINOv2 (Oquab et al.), which the paper cites; all three compare with the true target.",
        _DRAWN_NOTE,
    ),
)
TABLE5 = Protocol(
    name="viral_table5",
    title="Data and tasks that were never trained on",
    table="VIRAL, Table 5",
    cases=_cases(_pascal, _of("lineart")),
    columns=_columns("detection: box_iou", "lineart: rmse lpips"),
    methods=METHODS,
    published=published.TABLE5,
    notes=(_BOX_NOTE, _DRAWN_NOTE, "Lineart is XDoG, black on white, where the source gives no drawing of its own."),
)
TABLE6 = Protocol(
    name="viral_table6",
    title="MoE-LoRA against plain LoRA",
    table="VIRAL, Table 6",
    cases=_of("depth", "normal", "interactive"),
    columns=_columns(_DEPTH, _NORMAL, "interactive: iou"),
    methods=("ours", "plain", *METHODS[1:]),
    published=published.TABLE6,
    notes=(_DEPTH_NOTE, "Plain LoRA is the adapter that `adapters.plain` names."),
)
TABLE7 = Protocol(
    name="viral_table7",
    title="A curated exemplar against random ones",
    table="VIRAL, Table 7",
    cases=_cases(partial(exemplars, task="depth"), partial(exemplars, task="normal")),
    columns=_exemplar_columns("depth", "abs_rel", "delta1")
    + _exemplar_columns("normal", "normal_median", "normal_error"),
    methods=METHODS,
    published=published.TABLE7,
    notes=(
        _DEPTH_NOTE,
        "One exemplar serves all queries. The curated one has, of 16, the target of strongest contrast (the paper does "
        "not say how it was chosen); ± is the deviation of the means of five random exemplars, over n - 1.",
    ),
)
JOINT = Protocol(
    name="viral_joint",
    title="One adapter for all tasks against one for each",
    table="VIRAL, Appendix C.1 and Table 3",
    cases=_of("depth", "normal"),
    columns=_columns(_DEPTH, _NORMAL),
    methods=("ours", "single_depth", "single_normal", *METHODS[1:]),
    published=published.JOINT,
    notes=(
        _DEPTH_NOTE,
        "Adapters of one task are those that `adapters.single_depth` and `adapters.single_normal` name, trained for as "
        "many iterations on as many pairs of their task; on the other task they show what they were never taught.",
    ),
)
CROSS_TASK = Protocol(
    name="viral_cross_task",
    title="Depth of rainy and dark pictures, by an example on clear ones",
    table="VIRAL, Appendix C.4 and Figure 6",
    cases=_cases(_of("depth"), *(partial(crossed, task="depth", degradation=name) for name in DEGRADED)),
    columns=_columns(_DEPTH)
    + tuple(
        Column(f"depth on {name}", metric, f"Depth, {told}")
        for name, told in zip(DEGRADED, ("rainy", "dark"), strict=True)
        for metric in ("abs_rel", "delta1")
    ),
    methods=METHODS,
    notes=(_DEPTH_NOTE, "The truth is the depth of the clear picture; the paper shows pictures alone."),
)
INVERSE = Protocol(
    name="viral_inverse",
    title="From maps back to pictures",
    table="VIRAL, Appendix D and Figure 7",
    cases=_of(*INVERSES),
    columns=_columns(*(f"{name}: fid lpips clip_i psnr" for name in INVERSES)),
    methods=METHODS,
    notes=("The paper shows pictures only; many pictures have one map, so PSNR says little here.", _FID_NOTE),
)

VIRAL_TABLES = (TABLE1, TABLE2, TABLE3, TABLE4, TABLE5, TABLE6, TABLE7, JOINT, CROSS_TASK, INVERSE)
