"""Losses, as functions (``F.cross_entropy``) and as modules (``nn.CrossEntropyLoss``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine import loss
from minidl.engine.checks import (
    check_array,
    check_choice,
    check_int,
    check_labels,
    check_number,
    number_array,
    require,
)
from minidl.engine.functions import where
from minidl.engine.tensor import Tensor, apply
from minidl.nn.inputs import floating
from minidl.nn.module import Module


def cross_entropy(
    logits: Any,
    labels: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    temperature: float = 1.0,
) -> Tensor:
    """-sum_c w_c t_c log softmax(z / T)_c of each row of logits z (N, K), and its mean or sum over the rows.

    labels: classes (N,), or rows of probabilities (N, K). weight: one number per class. The target t is
    (1 - label_smoothing) onehot + label_smoothing / K. With weights and classes, "mean" divides by the sum of
    the labels' weights; "none" gives N losses. A row whose label is ``ignore_index`` has loss 0 and does not
    count. ValueError for other labels out of range and T <= 0.

    >>> from minidl import nn
    >>> loss = nn.functional.cross_entropy([[2, 0], [0, 1]], labels=[0, 0])
    >>> round(loss.item(), 3)
    0.72
    """
    op = loss.CrossEntropy(labels, weight, reduction, label_smoothing, temperature, ignore_index)
    return apply(op, logits)


def nll_loss(
    log_probabilities: Any,
    labels: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-w_c log p_c of each row (N, K) for its label c: it is ``cross_entropy`` after ``log_softmax``.

    weight, "mean" and ``ignore_index`` are as in ``cross_entropy``.

    >>> from minidl import nn
    >>> log_p = np.log([[0.5, 0.5], [0.25, 0.75]])
    >>> print(nn.functional.nll_loss(log_p, labels=[0, 0], reduction="none").data.round(3))
    [0.693 1.386]
    """
    log_p, labels = floating(log_probabilities), number_array("labels", labels)
    check_array("log_probabilities", log_p.data, "N", "K", finite=False)
    kept = labels != check_int("ignore_index", ignore_index)
    labels = check_labels("labels", np.where(kept, labels, 0), *log_p.shape, empty=True)
    w = np.ones(log_p.shape[1]) if weight is None else check_array("weight", weight, log_p.shape[1], low=0)
    w = np.where(kept, w[labels], 0).astype(log_p.dtype)
    losses = where(kept, -log_p[np.arange(len(labels)), labels] * w, 0)
    if check_choice("reduction", reduction, loss.REDUCTIONS) == "mean":
        loss.check_some_count(kept, w.sum(), ignore_index)
        return losses.sum() / w.sum()
    return reduced(losses, reduction)


def binary_cross_entropy_with_logits(
    logits: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """-w (pos_weight t log p + (1 - t) log (1 - p)) with p = sigmoid(z), for logits z and targets t.

    z and t have the same shape. t is 0 or 1, or a probability. weight and pos_weight broadcast
    against z; pos_weight above 1 makes positive examples count more. The loss is computed from z, so it is
    exact even if p rounds to 0 or 1. "mean" divides by the number of elements; "none" keeps the losses.

    >>> from minidl import nn
    >>> losses = nn.functional.binary_cross_entropy_with_logits([2, 2], [1, 0], reduction="none")
    >>> print(losses.data.round(3))
    [0.127 2.127]
    """
    return apply(loss.BinaryCrossEntropy(target, weight, reduction, pos_weight), logits)


def mse_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """The mean or sum of (prediction - target)^2 over all elements. The two shapes must be equal.

    >>> from minidl import nn
    >>> nn.functional.mse_loss([1, 5], [1, 2])
    Tensor(4.5, float32)
    """
    difference = difference_of(prediction, target)
    return reduced(difference * difference, reduction)


def l1_loss(prediction: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """The mean or sum of |prediction - target| over all elements. The two shapes must be equal.

    >>> from minidl import nn
    >>> nn.functional.l1_loss([1, 5], [1, 2])
    Tensor(1.5, float32)
    """
    return reduced(abs(difference_of(prediction, target)), reduction)


def smooth_l1_loss(prediction: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where d = |prediction - target| < beta, otherwise d - beta / 2 (Girshick 2015).

    >>> from minidl import nn
    >>> nn.functional.smooth_l1_loss([0.5, 5], [0, 2], reduction="none")  # near: d^2 / 2, far: d - 1/2
    Tensor([0.125, 2.5 ], float32)
    """
    d = abs(difference_of(prediction, target))
    if d.dtype.type(check_number("beta", beta, 0)) == 0:  # also a beta that this dtype rounds to 0
        return reduced(d, reduction)
    near = d.clip(high=beta)  # without it, the square of a large d would overflow
    return reduced(where(d < beta, near * near / (2 * beta), d - beta / 2), reduction)


def difference_of(prediction: Any, target: Any) -> Tensor:
    prediction, target = floating(prediction, target), floating(target, prediction)
    fits = prediction.shape == target.shape
    require(fits, f"prediction {prediction.shape} and target {target.shape} differ in shape")
    return prediction - target


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The losses themselves, their mean or their sum."""
    check_choice("reduction", reduction, loss.REDUCTIONS)
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


# ---- modules


class Loss(Module):
    """The base of the losses: ``reduction`` is "mean", "sum" or "none"."""

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = check_choice("reduction", reduction, loss.REDUCTIONS)


class CrossEntropyLoss(Loss):
    """``F.cross_entropy`` as a module.

    >>> from minidl import nn
    >>> round(nn.CrossEntropyLoss()([[2, 0], [0, 1]], [0, 0]).item(), 3)
    0.72
    """

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction=reduction)
        self.weight = None if weight is None else check_array("weight", weight, "K", low=0)
        self.ignore_index = check_int("ignore_index", ignore_index)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)

    def forward(self, logits: Any, labels: Any) -> Tensor:
        return cross_entropy(
            logits,
            labels,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(CrossEntropyLoss):
    """``F.nll_loss`` as a module.

    >>> from minidl import nn
    >>> round(nn.NLLLoss()(np.log([[0.5, 0.5], [0.25, 0.75]]), [0, 0]).item(), 3)
    1.04
    """

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction)

    def forward(self, log_probabilities: Any, labels: Any) -> Tensor:
        return nll_loss(
            log_probabilities,
            labels,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class BCEWithLogitsLoss(Loss):
    """``F.binary_cross_entropy_with_logits`` as a module.

    >>> from minidl import nn
    >>> round(nn.BCEWithLogitsLoss()([2, 2], [1, 0]).item(), 3)
    1.127
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction=reduction)
        self.weight = None if weight is None else check_array("weight", weight)
        self.pos_weight = None if pos_weight is None else check_array("pos_weight", pos_weight, low=0)

    def forward(self, logits: Any, target: Any) -> Tensor:
        return binary_cross_entropy_with_logits(
            logits, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class MSELoss(Loss):
    """``F.mse_loss`` as a module.

    >>> from minidl import nn
    >>> nn.MSELoss()([1, 5], [1, 2])
    Tensor(4.5, float32)
    """

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return mse_loss(prediction, target, reduction=self.reduction)


class L1Loss(Loss):
    """``F.l1_loss`` as a module.

    >>> from minidl import nn
    >>> nn.L1Loss()([1, 5], [1, 2])
    Tensor(1.5, float32)
    """

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return l1_loss(prediction, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """``F.smooth_l1_loss`` as a module.

    >>> from minidl import nn
    >>> nn.SmoothL1Loss(reduction="none")([0.5, 5], [0, 2])
    Tensor([0.125, 2.5 ], float32)
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.beta = check_number("beta", beta, 0)

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return smooth_l1_loss(prediction, target, reduction=self.reduction, beta=self.beta)
