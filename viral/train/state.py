"""What training has learnt, whole and by name: what a checkpoint holds."""

from dataclasses import dataclass, field

from torch import Tensor

ADAPTER, AVERAGE, SCALAR = "adapter", "average", "scalar"

Named = dict[str, Tensor]


@dataclass(frozen=True)
class TrainingTensors:
    """Everything by parameter name, on the CPU: independent of how many workers share it."""

    adapter: Named
    moments: dict[str, Named]
    """The optimizer's tensors of every parameter, such as AdamW's `exp_avg` and `exp_avg_sq`."""
    average: Named = field(default_factory=dict)
    """The running average of the adapter, where there is one."""
    scalars: Named = field(default_factory=dict)
    """The optimizer's numbers of the whole run, in float64."""

    @property
    def result(self) -> Named:
        """The adapter that is validated and kept: the average, where there is one."""
        return self.average or self.adapter

    def flat(self) -> Named:
        """All tensors in one dictionary, as `grouped` reads them."""
        groups = {ADAPTER: self.adapter, **self.moments, AVERAGE: self.average, SCALAR: self.scalars}
        return {
            f"{group}/{name}": tensor.contiguous() for group, named in groups.items() for name, tensor in named.items()
        }


def grouped(flat: Named) -> TrainingTensors:
    """Inverse of `TrainingTensors.flat`."""
    groups: dict[str, Named] = {ADAPTER: {}, AVERAGE: {}, SCALAR: {}}
    for key, tensor in flat.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = tensor
    adapter, average, scalars = (groups.pop(group) for group in (ADAPTER, AVERAGE, SCALAR))
    return TrainingTensors(adapter, groups, average, scalars)
