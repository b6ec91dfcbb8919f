"""Training: optimizers, schedules, the training loop, metrics and confidence intervals."""

from types import ModuleType

from minidl.engine.instead import TRAIN, submodule
from minidl.train import calibration, checkpoint, intervals, metrics, schedules
from minidl.train.adam import Adam, AdamW
from minidl.train.calibration import expected_calibration_error, fit_temperature, reliability
from minidl.train.evaluation import Evaluation, History, evaluate
from minidl.train.loop import fit, supervised
from minidl.train.metrics import (
    accuracy,
    confusion_matrix,
    per_class_accuracy,
    predict,
    roc_auc,
)
from minidl.train.optim import SGD, Optimizer, clip_grad_norm
from minidl.train.rmsprop import RMSprop
from minidl.train.statistics import match_statistics, reestimate_statistics

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Evaluation",
    "History",
    "Optimizer",
    "RMSprop",
    "accuracy",
    "calibration",
    "checkpoint",
    "clip_grad_norm",
    "confusion_matrix",
    "evaluate",
    "expected_calibration_error",
    "fit",
    "fit_temperature",
    "intervals",
    "match_statistics",
    "metrics",
    "per_class_accuracy",
    "predict",
    "reestimate_statistics",
    "reliability",
    "roc_auc",
    "schedules",
    "supervised",
]


def __getattr__(name: str) -> ModuleType:
    return submodule(__name__, name, TRAIN)
