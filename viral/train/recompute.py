"""What gradient checkpointing keeps: the input of each block, and if asked what its attention gave."""

from functools import partial

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from viral.train.loss import Transformer

ATTENTION = (
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
)
"""The kernels that torch's attention runs as; a matrix of scores, where none of them does, is computed again."""


def checkpoint_blocks(transformer: Transformer, keep_attention: bool) -> None:
    """Compute the blocks of a Qwen or Flux transformer again in the backward pass; the gradients are the same bits."""
    if not keep_attention:
        transformer.enable_gradient_checkpointing()
        return
    contexts = partial(create_selective_checkpoint_contexts, _policy)
    transformer.enable_gradient_checkpointing(partial(checkpoint, use_reentrant=False, context_fn=contexts))


def _policy(context: object, operation: object, *args: object, **options: object) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in ATTENTION else CheckpointPolicy.PREFER_RECOMPUTE
