"""DeepSpeed ZeRO 0 to 3 as an engine of the loop: the only file that imports deepspeed."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from viral.config import TrainConfig
from viral.model.adapter import adapter_parameters, experts_of
from viral.train.average import Average, replaced
from viral.train.batch import AnyBatch
from viral.train.loss import Losses, Objective, Transformer
from viral.train.optimizer import MOMENTS, build_optimizer, copy, read_state, write_state
from viral.train.state import Named, TrainingTensors

BUCKET = 6_250_000
"""Numbers in one message between workers: 25 MB of float32, as torch's DDP. DeepSpeed takes a new buffer of this size
at every step, 2 GB if left to it, whose used pages the machine clears each time."""


def deepspeed_config(config: TrainConfig) -> dict[str, Any]:
    """DeepSpeed's own configuration of a run; `platform/deepspeed/` holds the same for people to read.

    There is no bf16 section: the frozen base comes in bf16 on GPUs and stays so, the adapter is trained in float32.
    """
    zero: dict[str, Any] = {
        "stage": config.zero_stage,
        "reduce_bucket_size": BUCKET,
        "allgather_bucket_size": BUCKET,
    }
    return {
        "train_batch_size": config.batch_size,
        "train_micro_batch_size_per_gpu": config.micro_batch,
        "gradient_accumulation_steps": config.batch_size // (config.workers * config.micro_batch),
        "gradient_clipping": config.clip,
        "zero_optimization": zero,
        # torch's AdamW, on CPU too: DeepSpeed's own would be compiled on the spot.
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31,
    }


class DeepSpeedEngine:
    """One worker of a DeepSpeed engine over the process group that is already there."""

    def __init__(self, objective: Objective, config: TrainConfig) -> None:
        deepspeed = _import_deepspeed(config.gpus)
        self._deepspeed, self._objective, self._config = deepspeed, objective, config
        self._stage = config.zero_stage
        self._parameters = adapter_parameters(objective.transformer)
        self.layers = len(experts_of(objective.transformer))
        self._engine, *_ = deepspeed.initialize(
            model=objective,
            optimizer=build_optimizer(list(self._parameters.values()), config),
            model_parameters=list(self._parameters.values()),
            config=deepspeed_config(config),
            dist_init_required=False,
        )
        # What this worker holds of every parameter: a shard of it at stage 3, else all.
        own = [p.ds_tensor if self._stage == 3 else p for p in self._parameters.values()]
        self._average = Average(own, config.ema) if config.ema else None

    def losses(self, batch: AnyBatch) -> Losses:
        return Losses(*self._engine(batch.to(self._engine.device)))

    def accumulate(self, loss: Float[Tensor, ""]) -> None:
        self._engine.backward(loss)
        # A step inside the batch only counts the micro batch; `step` takes the one that closes it.
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()

    def step(self, step: int, learning_rate: float) -> float:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        if self._stage == 0:
            # Without ZeRO the engine clips but does not tell the norm; the gradients are already averaged here.
            norm = nn.utils.get_total_norm([p.grad for p in self._parameters.values() if p.grad is not None])
            self._engine.step()
        else:
            self._engine.step()
            norm = self._engine.get_global_grad_norm()
        if self._average is not None:
            self._average.update(step + 1)
        return float(norm)

    def sum(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        total = values.to(self._engine.device)
        dist.all_reduce(total)
        return total.cpu()

    def state(self) -> TrainingTensors:
        average = self._whole_average()
        if self._stage == 0:
            found = read_state(self._parameters, self._engine.optimizer, self._config.optimizer)
            return TrainingTensors(found.adapter, found.moments, average, found.scalars)
        get = self._deepspeed.utils
        adapter = {name: get.safe_get_full_fp32_param(p).cpu() for name, p in self._parameters.items()}
        moments = {
            moment: {name: get.safe_get_full_optimizer_state(p, moment).cpu() for name, p in self._parameters.items()}
            for moment in MOMENTS[self._config.optimizer]
        }
        return TrainingTensors(adapter, moments, average)

    @torch.no_grad()
    def restore(self, tensors: TrainingTensors, steps: int) -> None:
        if self._average is not None:
            for average, name in zip(self._average.tensors, self._parameters, strict=True):
                average.copy_(self._own_part(average, tensors.average[name]))
        optimizer = self._engine.optimizer
        if self._stage == 0:
            return write_state(self._parameters, optimizer, tensors, steps)
        # ZeRO makes the moments of its flat partitions at the first step; a resumed run needs them before it.
        shards = (
            optimizer.fp32_partitioned_groups_flat if self._stage == 3 else optimizer.single_partition_of_fp32_groups
        )
        for shard in shards:
            zeros = {moment: torch.zeros_like(shard) for moment in tensors.moments}
            optimizer.optimizer.state[shard] = {"step": torch.tensor(float(steps)), **zeros}
        if self._stage < 3:
            optimizer._lazy_init_hp_params_optimizer_state()
        for moment, values in tensors.moments.items():
            for name, parameter in self._parameters.items():
                self._set_moment(parameter, values[name], moment)

    @contextmanager
    def result(self) -> Iterator[Transformer]:
        """The transformer with the adapter that is kept, whole on every worker; all of them must enter."""
        parameters, average = list(self._parameters.values()), self._whole_average().values()
        with self._deepspeed.zero.GatheredParameters(parameters), replaced(parameters, average or parameters):
            yield self._objective.transformer

    def _whole_average(self) -> Named:
        if self._average is None:
            return {}
        each = zip(self._parameters.items(), self._average.tensors, strict=True)
        return {name: self._gather(parameter, own) for (name, parameter), own in each}

    def _gather(self, parameter: nn.Parameter, own: Tensor) -> Tensor:
        """The whole of what this worker holds a part of, on the CPU."""
        if self._stage < 3:
            return copy(own)
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        return copy(torch.cat(parts)[: parameter.ds_numel].view(parameter.ds_shape))

    def _set_moment(self, parameter: nn.Parameter, value: Tensor, moment: str) -> None:
        if self._stage < 3:
            return self._deepspeed.utils.safe_set_full_optimizer_state(parameter, value, moment)
        # safe_set_full_optimizer_state runs over the end of a tensor that does not divide by the number of workers.
        mine = self._own_part(parameter.ds_tensor, value)
        self._deepspeed.utils.safe_set_local_optimizer_state(parameter, mine, moment)

    def _own_part(self, like: Tensor, value: Tensor) -> Tensor:
        """What this worker holds of a whole tensor: at stage 3 its slice of the values, padded at their end."""
        if self._stage < 3:
            return value.to(like.device)
        size = like.numel()
        padded = torch.zeros(size * dist.get_world_size())
        padded[: value.numel()] = value.flatten()
        return padded.narrow(0, size * dist.get_rank(), size).to(like.device)


def _import_deepspeed(gpus: bool) -> Any:
    if not gpus:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    if not gpus:
        # An all-reduce through shared memory that would be compiled on the spot; gloo does.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
