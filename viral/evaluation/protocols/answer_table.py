"""The answers of all methods of a protocol as a table, found by method and shard of cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow.parquet as pq

from viral.config import RunConfig, fingerprint
from viral.data.images import encode_png, pixels_of
from viral.data.shards import MadeShard, Pool, ShardWork, make_shards
from viral.evaluation.peers.peer import Peer
from viral.evaluation.protocols.case import Image
from viral.evaluation.protocols.case_table import CaseTable, parquet
from viral.evaluation.protocols.method import Method
from viral.evaluation.protocols.rows import Row
from viral.schema import ANSWERS
from viral.storage import Manifest, Shard, Storage

RECIPE = 1
"""Raised when the same methods shall give other answers."""


@dataclass(frozen=True)
class AnswerTable:
    """The answers at `storage`, in `schema.ANSWERS`: a shard of answers for each method and shard of cases."""

    storage: Storage
    shards: dict[tuple[str, str], Shard]
    """By method and name of the shard of cases."""

    def read(self, method: str, cases: Shard) -> dict[str, Image | None]:
        """The pictures of a method by case, verified by their sha256."""
        return read_answers(self.storage, self.shards[method, cases.name])


def read_answers(storage: Storage, shard: Shard) -> dict[str, Image | None]:
    """The pictures of one shard by case; none where the method had nothing to say."""
    rows = pq.read_table(storage.local(shard.name, shard.sha256), schema=ANSWERS).to_pylist()
    return {row["case_id"]: None if row["answer"] is None else pixels_of(row["answer"]) for row in rows}


def answer_cases(config: RunConfig, cases: CaseTable, rows: Sequence[Row], storage: Storage, pool: Pool) -> AnswerTable:
    """Let every method answer every case; what is there already from the same method and cases stays. Needs Ray."""
    plan = {
        (row.name, shard.name): ShardWork(_name(row, shard), shard.rows, Asked(row.name, row.peer, shard))
        for row in rows
        if row.peer is not None
        for shard in cases.manifest.shards
    }
    wanted = Manifest(fingerprint=fingerprint("answers", RECIPE), counts_in={"cases": len(plan)})
    maker = partial(Answerer, cases, config, "cuda" if config.train.gpus else "cpu")
    manifest = make_shards("answering", storage, wanted, list(plan.values()), maker, pool)
    found = {shard.name: shard for shard in manifest.shards}
    return AnswerTable(storage, {key: found[work.name] for key, work in plan.items()})


@dataclass(frozen=True)
class Asked:
    """A shard of cases that a method is asked."""

    method: str
    peer: Peer
    cases: Shard


class Answerer:
    """Makes the shard of answers to an `Asked`; keeps the method it used last."""

    def __init__(self, cases: CaseTable, config: RunConfig, device: str) -> None:
        self._cases, self._config, self._device = cases, config, device
        self._method: Method | None = None

    def __call__(self, work: Asked) -> MadeShard:
        cases = self._cases.read(work.cases)
        answers = self._load(work).answer(cases)
        rows = [
            {"case_id": case.case_id, "answer": None if answer is None else encode_png(answer)}
            for case, answer in zip(cases, answers, strict=True)
        ]
        return MadeShard(parquet(rows, ANSWERS), len(rows), {})

    def _load(self, work: Asked) -> Method:
        if self._method is None or self._method.name != work.method:
            self._method = None  # two large models would not fit beside each other
            self._method = work.peer.load(work.method, self._config, self._device)
        return self._method


def _name(row: Row, cases: Shard) -> str:
    """Of the shard of answers: says what it was made from, so that no other is taken for it."""
    return f"shard-{row.name}-{fingerprint(row.key, cases.sha256)}.parquet"
