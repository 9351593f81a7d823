"""DeepSpeed ZeRO 0 to 3 as an engine of the loop: the only file that imports deepspeed."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from diffusers import QwenImageTransformer2DModel
from jaxtyping import Float
from torch import Tensor, nn

from viral.config import TrainConfig
from viral.model.adapter import adapter_parameters
from viral.train.loss import Losses, Objective
from viral.train.sampler import Batch
from viral.train.torch_engine import MOMENTS, TrainingTensors, adamw, fill, whole


def deepspeed_config(config: TrainConfig) -> dict[str, Any]:
    """DeepSpeed's own configuration of a run; `platform/deepspeed/` holds the same for people to read.

    There is no bf16 section: the frozen base comes in bf16 on GPUs and stays so, the adapter is trained in float32.
    """
    zero: dict[str, Any] = {"stage": config.zero_stage}
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
        self._deepspeed, self._objective, self._stage = deepspeed, objective, config.zero_stage
        self._parameters = adapter_parameters(objective.transformer)
        self._engine, *_ = deepspeed.initialize(
            model=objective,
            optimizer=adamw(self._parameters, config),
            model_parameters=list(self._parameters.values()),
            config=deepspeed_config(config),
            dist_init_required=False,
        )

    def losses(self, batch: Batch) -> Losses:
        return Losses(*self._engine(batch.to(self._engine.device)))

    def accumulate(self, loss: Float[Tensor, ""]) -> None:
        self._engine.backward(loss)
        # A step inside the batch only counts the micro batch; `step` takes the one that closes it.
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()

    def step(self, learning_rate: float) -> float:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        if self._stage == 0:
            # Without ZeRO the engine clips but does not tell the norm; the gradients are already averaged here.
            norm = nn.utils.get_total_norm([p.grad for p in self._parameters.values() if p.grad is not None])
            self._engine.step()
        else:
            self._engine.step()
            norm = self._engine.get_global_grad_norm()
        return float(norm)

    def sum(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        total = values.to(self._engine.device)
        dist.all_reduce(total)
        return total.cpu()

    def state(self) -> TrainingTensors:
        if self._stage == 0:
            return whole(self._parameters, self._engine.optimizer)
        get = self._deepspeed.utils
        adapter = {name: get.safe_get_full_fp32_param(p).cpu() for name, p in self._parameters.items()}
        moments = {
            moment: {name: get.safe_get_full_optimizer_state(p, moment).cpu() for name, p in self._parameters.items()}
            for moment in MOMENTS
        }
        return TrainingTensors(adapter, moments)

    @torch.no_grad()
    def restore(self, tensors: TrainingTensors, steps: int) -> None:
        optimizer = self._engine.optimizer
        if self._stage == 0:
            return fill(self._parameters, optimizer, tensors, steps)
        # ZeRO makes the moments of its flat partitions at the first step; a resumed run needs them before it.
        shards = (
            optimizer.fp32_partitioned_groups_flat if self._stage == 3 else optimizer.single_partition_of_fp32_groups
        )
        for shard in shards:
            zeros = {moment: torch.zeros_like(shard) for moment in MOMENTS}
            optimizer.optimizer.state[shard] = {"step": torch.tensor(float(steps)), **zeros}
        if self._stage < 3:
            optimizer._lazy_init_hp_params_optimizer_state()
        for moment, values in tensors.moments.items():
            for name, parameter in self._parameters.items():
                self._set_moment(parameter, values[name], moment)

    def _set_moment(self, parameter: nn.Parameter, value: Tensor, moment: str) -> None:
        if self._stage < 3:
            return self._deepspeed.utils.safe_set_full_optimizer_state(parameter, value, moment)
        # safe_set_full_optimizer_state runs over the end of a tensor that does not divide by the number of workers.
        size = parameter.ds_tensor.numel()
        padded = torch.zeros(size * dist.get_world_size())
        padded[: value.numel()] = value.flatten()
        mine = padded.narrow(0, size * dist.get_rank(), size).to(parameter.ds_tensor.device)
        self._deepspeed.utils.safe_set_local_optimizer_state(parameter, mine, moment)

    @contextmanager
    def gathered(self) -> Iterator[QwenImageTransformer2DModel]:
        """The transformer with its adapter whole on every worker; all of them must enter."""
        with self._deepspeed.zero.GatheredParameters(list(self._parameters.values())):
            yield self._objective.transformer


def _import_deepspeed(gpus: bool) -> Any:
    if not gpus:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    if not gpus:
        # An all-reduce through shared memory that would be compiled on the spot; gloo does.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
