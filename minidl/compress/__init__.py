"""Compression: smaller and faster networks, by fusion, quantization and pruning."""

from types import ModuleType

from minidl.compress.masks import (
    apply_masks,
    filter_mask,
    global_magnitude_masks,
    magnitude_mask,
    sparse_bytes,
    sparsity,
    threshold_mask,
)
from minidl.compress.prune import PruneResult, iterative_prune, sensitivity
from minidl.compress.removal import remove_filters, remove_masked_filters
from minidl.compress.scores import ablation_scores, filter_masks, filter_norms, random_scores, taylor_scores
from minidl.engine.instead import submodule

__all__ = [
    "PruneResult",
    "ablation_scores",
    "apply_masks",
    "filter_mask",
    "filter_masks",
    "filter_norms",
    "global_magnitude_masks",
    "iterative_prune",
    "magnitude_mask",
    "random_scores",
    "remove_filters",
    "remove_masked_filters",
    "sensitivity",
    "sparse_bytes",
    "sparsity",
    "taylor_scores",
    "threshold_mask",
]


def __getattr__(name: str) -> ModuleType:
    return submodule(__name__, name)
