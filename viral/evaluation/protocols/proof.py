"""The proof of the embedded adapter: what it must show on scenes and photographs that nothing was trained on."""

from functools import partial

from viral.data.sources.combinations import APART, KEPT_OUT
from viral.evaluation.protocols.proof_error import FREE, told_errors
from viral.evaluation.protocols.proof_exchange import (
    EXCHANGED,
    FOLLOWS,
    FOLLOWS_OWN,
    conclude_exchange,
    exchange_cases,
    follows,
    follows_own,
)
from viral.evaluation.protocols.proof_filter import ASKED, FILTERED, conclude_filter, filter_cases
from viral.evaluation.protocols.proof_identity import IDENTITY, conclude_identity, identity_cases
from viral.evaluation.protocols.proof_lineart import DRAWN, EDGES, conclude_lineart, lineart_cases
from viral.evaluation.protocols.proof_parameters import GUIDED, VARIED, conclude_parameters, nearer_own, parameter_cases
from viral.evaluation.protocols.proof_photographs import PHOTOGRAPH_TASKS, photograph_cases
from viral.evaluation.protocols.proof_scenes import PAPER_TASKS, kept_out_cases, scene_cases
from viral.evaluation.protocols.protocol import Column, Protocol
from viral.tasks import TASKS

TABLE = "Proof of the embedded adapter"
ERROR = (
    "The error of a task is (its metric - the VAE's own) / (the best free answer's - the VAE's own), of means over "
    "cases: 0 is what the VAE itself loses, 1 what the best answer gives that costs nothing. The frozen base, shown "
    "the query alone, counts among those."
)
ALL = ("ours", *FREE, "vae")


def _task_columns(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, TASKS[name].metric) for name in names)


SCENES = Protocol(
    name="proof_scenes",
    title="Tasks on unseen scenes",
    table=TABLE,
    cases=scene_cases,
    columns=_task_columns(*PAPER_TASKS, "negative"),
    methods=ALL,
    notes=(ERROR,),
    conclude=partial(told_errors, limit=0.7, wanted="nine; five where two cores trained it"),
)
PHOTOGRAPHS = Protocol(
    name="proof_photographs",
    title="Tasks on photographs kept from training",
    table=TABLE,
    cases=photograph_cases,
    columns=_task_columns(*PHOTOGRAPH_TASKS),
    methods=ALL,
    notes=(
        ERROR,
        "Tasks with fewer than 30 real pairs are enlarged by our degradations of photographs of the proof part.",
        "Sparse depth (KITTI) is left out: at this size single points are no picture of depth.",
    ),
    conclude=partial(told_errors, limit=1.0, wanted="five; two where two cores trained it"),
)
EXCHANGE = Protocol(
    name="proof_exchange",
    title="The example exchanged for one of another task",
    table=TABLE,
    cases=exchange_cases,
    columns=tuple(
        Column(task, name, score=score, higher_is_better=True)
        for name, score in ((FOLLOWS, follows), (FOLLOWS_OWN, follows_own))
        for task in EXCHANGED
    ),
    methods=("ours", "copy_query", "base"),
    notes=(
        "An output matches the task whose error, relative to that of the task's best free answer, is the least; the "
        "error is the root mean square of pixels, one measure for all, or each task's own metric. The latter do not "
        "compare: the F-score of lines gives any picture with texture a part of the lines.",
        f"All {len(EXCHANGED)} tasks are asked of the same pictures, so nothing but the example tells them apart.",
    ),
    conclude=conclude_exchange,
)
PARAMETERS = Protocol(
    name="proof_parameters",
    title="Within one kind of edit: two examples, one picture",
    table=TABLE,
    cases=parameter_cases,
    columns=tuple(Column(name, "own example", score=nearer_own, higher_is_better=True) for name in VARIED),
    methods=("ours", GUIDED, "copy_query", "copy_example", "base"),
    notes=(
        f"One combination in {APART} was kept from training, and no other is asked for: an edit's words, or, of edits "
        "with one parameter, its words in scenes with this backdrop.",
        "Chance is 50 %. Methods that do not look at the example give both questions the same answer: 50 % at most.",
    ),
    conclude=conclude_parameters,
)
KINDS = Protocol(
    name="proof_kinds",
    title="Kinds of edit that were kept from training",
    table=TABLE,
    cases=kept_out_cases,
    columns=tuple(Column(name, "psnr") for name in KEPT_OUT),
    methods=ALL,
    notes=(ERROR, "Reported, not asked for."),
    conclude=partial(told_errors, limit=1.0, wanted="none"),
)
UNCHANGED = Protocol(
    name="proof_identity",
    title="Examples that change nothing",
    table=TABLE,
    cases=identity_cases,
    columns=(Column(IDENTITY, "psnr"),),
    methods=("ours", "copy_query", "base", "vae"),
    conclude=conclude_identity,
)
LINEART = Protocol(
    name="proof_lineart",
    title="Line drawing, never trained",
    table=TABLE,
    cases=lineart_cases,
    columns=(Column(DRAWN, "psnr"), Column(EDGES, "psnr")),
    methods=ALL,
    notes=("The truth of both groups of columns is the line drawing.",),
    conclude=conclude_lineart,
)
FILTER = Protocol(
    name="proof_filter",
    title="The early filter against one seed",
    table=TABLE,
    cases=filter_cases,
    columns=tuple(Column(name, "psnr") for name in ASKED),
    methods=("ours", *FILTERED),
    notes=("Eight seeds, four steps each, on the same pictures; the first seed is that of the plain row.",),
    conclude=conclude_filter,
)
PROOF = (SCENES, PHOTOGRAPHS, EXCHANGE, PARAMETERS, KINDS, UNCHANGED, LINEART, FILTER)
