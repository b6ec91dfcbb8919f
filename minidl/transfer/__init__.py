"""Reuse of what a network has learned: finetuning, features, few examples."""

from minidl.transfer.backbone import SOURCE_SHAPES, TARGET_SHAPES, pretrained_shapes, shapes_cnn
from minidl.transfer.features import pca_projection, standardise
from minidl.transfer.finetune import (
    extract_features,
    freeze,
    frozen_report,
    gradual_unfreeze,
    linear_probe,
    lr_sweep,
    param_groups,
    replace_head,
    unfreeze,
)

__all__ = [
    "SOURCE_SHAPES",
    "TARGET_SHAPES",
    "extract_features",
    "freeze",
    "frozen_report",
    "gradual_unfreeze",
    "linear_probe",
    "lr_sweep",
    "param_groups",
    "pca_projection",
    "pretrained_shapes",
    "replace_head",
    "shapes_cnn",
    "standardise",
    "unfreeze",
]
