"""Cross-entropy, the loss of classification: from logits of several classes, or from one logit."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.engine.checks import (
    check_array,
    check_choice,
    check_int,
    check_labels,
    check_number,
    number_array,
    require,
)
from minidl.engine.op import Op
from minidl.engine.reduce import stable_log_softmax

REDUCTIONS = ("mean", "sum", "none")


def one_hot(labels: np.ndarray, num_classes: int, dtype: type | np.dtype = np.float32) -> np.ndarray:
    """Labels (N,) in 0 ... K-1 as rows (N, K) with a single 1."""
    labels = check_labels("labels", labels, None, num_classes, empty=True)
    rows = np.zeros((len(labels), num_classes), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def smooth_labels(target: np.ndarray, label_smoothing: float) -> np.ndarray:
    """(1 - eps) target + eps / K: a part eps of each row is divided equally among all K classes.

    target: rows (..., K), each with the sum 1.  eps: ``label_smoothing``, a Python number. Floating rows
    keep their dtype; for whole numbers the result is float64. ValueError for an eps outside of 0 ... 1.

    >>> from minidl.engine.loss import smooth_labels
    >>> print(smooth_labels(np.array([[0.0, 1.0, 0.0, 0.0]]), 0.2).round(2))
    [[0.05 0.85 0.05 0.05]]
    """
    eps, K = check_number("label_smoothing", label_smoothing, 0, 1), np.shape(target)[-1]
    return (1 - eps) * np.asarray(target) + eps / K


def cross_entropy_gradient(p: np.ndarray, target: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """d/dz of L = -sum_c t_c log p_c for each row, where p = softmax(z / T):

        dL/dz = (p sum_c t_c - t) / T,    which is p - t for probabilities t and T = 1

    p, target t: (N, K) of the same dtype, not negative.  T: a Python number. The gradient has the dtype of p.
    With class weights the sum of a row of ``target`` can differ from 1.

    >>> from minidl.engine.loss import cross_entropy_gradient
    >>> print(cross_entropy_gradient(np.array([[0.25, 0.75]]), np.array([[1.0, 0.0]]), temperature=2.0))
    [[-0.375  0.375]]
    """
    total = target.sum(axis=1, keepdims=True)
    return (p * total - target) / p.dtype.type(temperature)


def check_some_count(kept: np.ndarray, total: Any, ignore_index: int) -> None:
    """ValueError if no row counts in the mean, with the reason."""
    why = "weight is 0 for all labels" if kept.any() else f"ignore_index {ignore_index} is every label"
    require(total != 0, f"{why} of the batch: the mean is undefined")


class CrossEntropy(Op):
    """loss = -(1/M) sum_n sum_c w_c t_nc log softmax(z_n / T)_c, with t the smoothed target

    ``labels`` are integers (N,) or rows of probabilities (N, K). M is 1 for reduction "sum". For "mean", M is
    N; with class weights w and integer labels, M is the sum of w over the labels (PyTorch's convention).
    "none" keeps the N losses. Rows with the label ``ignore_index`` do not count. The gradient treats the
    target as a constant:

        dloss_n/dz = (p sum_c w_c t_c - w t) / T,    which is (p - t) / T without weights
    """

    def __init__(
        self,
        labels: np.ndarray,
        weight: np.ndarray | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        temperature: float = 1.0,
        ignore_index: int = -100,
    ) -> None:
        self.ignore_index = check_int("ignore_index", ignore_index)
        self.labels, self.weight = number_array("labels", labels), weight
        self.reduction = check_choice("reduction", reduction, REDUCTIONS)
        self.label_smoothing = label_smoothing
        self.temperature = temperature

    def forward(self, z):
        target = self.target_rows(z)
        w = self.class_weights(z)
        self.wt = w * smooth_labels(target, self.label_smoothing)  # (N, K)
        if not self.kept.all():
            self.wt, target = (np.where(self.kept[:, np.newaxis], rows, 0) for rows in (self.wt, target))
        log_p = stable_log_softmax(z, temperature=self.temperature)
        self.p = np.exp(log_p)
        # A logit of -inf gives p = 0. The loss counts as 0 if the target is 0, too: 0 log 0 = 0.
        losses = -(self.wt * np.where(self.wt == 0, 0, log_p)).sum(axis=1)
        if self.reduction == "none":
            self.M = z.dtype.type(1)
            return losses
        by_weight = self.weight is not None and self.labels.ndim == 1
        mean_over = (target @ w).sum() if by_weight else self.kept.sum()
        self.M = z.dtype.type(1 if self.reduction == "sum" else mean_over)
        check_some_count(self.kept, self.M, self.ignore_index)
        return losses.sum() / self.M

    def backward(self, grad):
        rows = grad[:, np.newaxis] if self.reduction == "none" else grad
        return rows * cross_entropy_gradient(self.p, self.wt, self.temperature) / self.M

    def target_rows(self, z: np.ndarray) -> np.ndarray:
        check_array("logits", z, "N", "K", finite=False)
        self.kept = np.ones(len(z), bool)
        if self.labels.ndim == 2:
            rows = check_array("labels, as rows of probabilities,", self.labels, *z.shape, low=0)
            require(np.allclose(rows.sum(axis=1), 1, atol=1e-3), "labels must be rows of sum 1, or classes")
            return rows.astype(z.dtype)
        fits, got = self.labels.shape == z.shape[:1], self.labels.shape
        require(fits, f"labels must be {z.shape[:1]} classes or rows {z.shape}, got shape {got}")
        self.kept = self.labels != self.ignore_index
        return one_hot(np.where(self.kept, self.labels, 0), z.shape[1], z.dtype)

    def class_weights(self, z: np.ndarray) -> np.ndarray:
        if self.weight is None:
            return np.ones(z.shape[1], z.dtype)
        return check_array("weight", self.weight, z.shape[1], low=0).astype(z.dtype)


class BinaryCrossEntropy(Op):
    """loss = -w (pos_weight t log p + (1 - t) log (1 - p)) with p = 1 / (1 + e^-z), mean or sum over all

    The code takes no logarithm of a rounded p. With softplus(-z) = log(1 + e^-z) = max(-z, 0) + log(1 +
    e^-|z|)

        loss = w ((1 - t) z + (1 + (pos_weight - 1) t) softplus(-z))
        dloss/dz = w ((1 - t) - (1 + (pos_weight - 1) t) (1 - p))
    """

    def __init__(
        self,
        target: np.ndarray,
        weight: np.ndarray | None = None,
        reduction: str = "mean",
        pos_weight: np.ndarray | None = None,
    ) -> None:
        self.target = check_array("target", target, low=0, high=1)
        self.weight = check_array("weight", 1.0 if weight is None else weight)
        self.pos_weight = check_array("pos_weight", 1.0 if pos_weight is None else pos_weight, low=0)
        self.reduction = check_choice("reduction", reduction, REDUCTIONS)

    def forward(self, z):
        fits = self.target.shape == z.shape
        require(fits, f"logits {z.shape} and target {self.target.shape} differ in shape")
        t, self.weight = self.target.astype(z.dtype), self.weight.astype(z.dtype)
        self.off, self.on = 1 - t, 1 + (self.pos_weight.astype(z.dtype) - 1) * t
        decay = np.exp(-np.abs(z))  # the value lies in (0, 1], so nothing overflows
        self.not_p = np.where(z >= 0, decay, 1) / (1 + decay)  # 1 - p
        softplus = np.maximum(-z, 0) + np.log1p(decay)
        losses = self.weight * (self.off * z + self.on * softplus)
        require(losses.shape == z.shape, "weight and pos_weight must fit the logits' shape")
        self.M = z.dtype.type(z.size if self.reduction == "mean" else 1)
        return losses if self.reduction == "none" else losses.sum() / self.M

    def backward(self, grad):
        return grad * self.weight * (self.off - self.on * self.not_p) / self.M
