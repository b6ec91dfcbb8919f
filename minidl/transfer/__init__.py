"""Transfer: reuse a trained network by finetuning, features, distillation and few-shot learning."""

from types import ModuleType

from minidl.engine.instead import submodule
from minidl.transfer.backbone import SOURCE_SHAPES, TARGET_SHAPES, pretrained_shapes, shapes_cnn
from minidl.transfer.contrastive import ProjectionHead, nt_xent, same_or_not, train_simclr, two_views
from minidl.transfer.distill_loss import (
    class_similarity,
    distillation_loss,
    logit_matching_loss,
    soft_targets,
)
from minidl.transfer.features import (
    extract_features,
    linear_probe,
    pca_projection,
    photograph_features,
    standardise,
)
from minidl.transfer.finetune import (
    freeze,
    frozen_report,
    gradual_unfreeze,
    lr_sweep,
    param_groups,
    replace_head,
    unfreeze,
)

__all__ = [
    "ProjectionHead",
    "SOURCE_SHAPES",
    "TARGET_SHAPES",
    "class_similarity",
    "distillation_loss",
    "extract_features",
    "freeze",
    "frozen_report",
    "gradual_unfreeze",
    "linear_probe",
    "logit_matching_loss",
    "lr_sweep",
    "nt_xent",
    "param_groups",
    "pca_projection",
    "photograph_features",
    "pretrained_shapes",
    "replace_head",
    "same_or_not",
    "shapes_cnn",
    "soft_targets",
    "standardise",
    "train_simclr",
    "two_views",
    "unfreeze",
]


def __getattr__(name: str) -> ModuleType:
    return submodule(__name__, name)
