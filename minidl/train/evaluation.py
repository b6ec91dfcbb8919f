"""The results of a model on a set of images, and their history over the epochs of a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from minidl.data.loader import Pair
from minidl.engine.checks import array_pair, check_function, check_number, float_images, require, shown
from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.losses import CrossEntropyLoss, L1Loss, MSELoss, SmoothL1Loss
from minidl.nn.module import Module
from minidl.train.metrics import accuracy, has_accuracy, predict

Loss = Callable[[Tensor, np.ndarray], Tensor]
Metric = Callable[[np.ndarray, np.ndarray], float]


class Evaluation(NamedTuple):
    """The result of a model on some images: accuracy (None without classes) and mean loss."""

    accuracy: float | None
    loss: float


@dataclass
class History:
    """The numbers of a training, one per finished epoch in each list.

    The training numbers are means over the epoch's images, measured before each step. A list stays empty if
    nothing was measured: the test lists without a test set, the accuracies if the labels are no classes,
    ``test_metric`` without a metric.  lr: the rate of the epoch's last step.  steps: the number of steps of
    all finished epochs.  measured: the means of other numbers of the step, by name.

    >>> from minidl import train
    >>> history = train.History()
    >>> history.add({"loss": 0.7}, {"loss": 0.8}, lr=0.01, steps=5)  # as ``fit`` does after each epoch
    >>> history.test_loss
    [0.8]
    """

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    steps: int = 0
    test_metric: list[float] = field(default_factory=list)
    measured: dict[str, list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lr)  # lr is appended last, so an epoch counts when it is complete

    def add(self, trained: dict[str, float], tested: dict[str, float], lr: float, steps: int) -> None:
        """Add one epoch of ``steps`` steps: the means of training and of the test, by name."""
        for name, value in trained.items():
            own = name in ("loss", "accuracy")
            (getattr(self, f"train_{name}") if own else self.measured.setdefault(name, [])).append(value)
        for name, value in tested.items():
            getattr(self, f"test_{name}").append(value)
        self.steps += steps
        self.lr.append(lr)

    def names(self) -> list[str] | None:
        """The names of the other numbers of the finished epochs; None without a finished epoch."""
        return None if len(self) == 0 else [*self.measured, *(["accuracy"] if self.train_accuracy else [])]

    def drop_unfinished(self) -> None:
        """Remove the numbers of an epoch that was interrupted while it was added."""
        own = self.train_loss, self.train_accuracy, self.test_loss, self.test_accuracy, self.test_metric
        for numbers in (*own, *self.measured.values()):
            del numbers[len(self) :]


def evaluate(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int | None = None,
    *,
    loss: Loss = F.cross_entropy,
) -> Evaluation:
    """(accuracy, loss) on all images in eval mode, without a graph. Then the model has its old mode again.

    The accuracy is None if the labels are no classes. FloatingPointError if the model's logits are not
    finite.

    >>> from minidl import nn, train
    >>> logits = np.array([[2.0, 0.0], [0.0, 1.0]])  # nn.Identity gives them as they are
    >>> train.evaluate(nn.Identity(), logits, [0, 0]).accuracy
    0.5
    """
    images, labels = float_pair("images and labels", (images, labels))
    check_function("loss", loss, "logits and labels")
    found = measure(model, images, labels, loss, None, batch_size)
    return Evaluation(found.get("accuracy"), found["loss"])


def measure(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    loss: Loss,
    metric: Metric | None,
    batch_size: int | None = None,
) -> dict[str, float]:
    """A dict of the mean "loss", of "accuracy" if the labels are classes, and of "metric" if given."""
    logits = predict(model, images, batch_size)
    why = "the model's logits are not finite: it has diverged, or its input is not finite"
    require(bool(np.isfinite(logits).all()), why, FloatingPointError)
    found = {"accuracy": accuracy(logits, labels)} if names_classes(loss, logits, labels) else {}
    found["loss"] = loss_value(loss, logits, labels)
    if metric is not None:
        found["metric"] = check_number("the metric's value", metric(logits, labels), finite=False)
    return found


def names_classes(loss: Loss, logits: np.ndarray, labels: np.ndarray) -> bool:
    """Whether there is an accuracy. Regression has none, even if all targets are 0 or 1."""
    functions, modules = (F.mse_loss, F.l1_loss, F.smooth_l1_loss), (MSELoss, L1Loss, SmoothL1Loss)
    return loss not in functions and not isinstance(loss, modules) and has_accuracy(logits, labels)


def best_epoch(history: History) -> int:
    """The first epoch (from 0) with the highest test metric; without a metric, with the lowest test loss."""
    losses = [-metric for metric in history.test_metric] or history.test_loss
    return min(range(len(losses)), key=lambda epoch: (math.isnan(losses[epoch]), losses[epoch]))


def out_of_patience(history: History, patience: int | None) -> bool:
    """Whether the test result has not improved for ``patience`` epochs."""
    if patience is None or len(history) == 0:
        return False
    return len(history) - 1 - best_epoch(history) >= patience


def float_pair(name: str, pair: Pair) -> Pair:
    """(images, labels) as arrays of one length that is not 0, the images floats."""
    images, labels = array_pair(name, pair)
    return float_images(f"the images of {name}", images), labels


def loss_value(loss: Loss, logits: np.ndarray, labels: np.ndarray) -> float:
    """The loss of these logits, without a graph."""
    of_classes = loss is F.cross_entropy or isinstance(loss, CrossEntropyLoss)
    if of_classes and logits.shape[1:] == (1,):
        is_binary = np.all((labels == 0) | (labels == 1))
        mend = "binary_cross_entropy_with_logits" if is_binary else "mse_loss for regression"
        why = "the model gives one logit, and a softmax of one logit is always 1"
        raise ValueError(f"{why}: give loss=F.{mend}")
    with no_grad():
        return check_loss(loss(Tensor(logits), labels)).item()


def check_loss(value: Tensor, part: str = "") -> Tensor:
    is_loss = isinstance(value, Tensor) and value.size == 1
    require(is_loss, f"loss must give a Tensor of one number for a batch, got {shown(value)}{part}")
    return value
