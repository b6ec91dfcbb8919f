"""Cross-entropy: the loss of classification, from logits."""

from __future__ import annotations

import numpy as np

from minidl.engine.checks import check_number
from minidl.engine.op import Op
from minidl.engine.reduce import check_temperature, stable_log_softmax


def one_hot(labels: np.ndarray, num_classes: int, dtype: np.dtype = np.float32) -> np.ndarray:
    """Labels (N,) in 0 ... K-1 as rows (N, K) with a single 1."""
    labels = check_labels(labels, num_classes)
    rows = np.zeros((len(labels), num_classes), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def check_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The labels as an integer array (N,), all within 0 ... num_classes-1; otherwise an error that names
    one."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype} of shape {labels.shape}")
    if labels.ndim != 1:
        raise ValueError(f"labels must have shape (N,), got {labels.shape}")
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise ValueError(
            f"labels must be in 0 ... {num_classes - 1} for {num_classes} classes, "
            f"got {labels[wrong[0]]} at index {wrong[0]}"
        )
    return labels


def smooth_labels(target: np.ndarray, label_smoothing: float) -> np.ndarray:
    """(1 - eps) target + eps / K: a share eps of each row's mass is spread over all K classes."""
    eps, K = check_number("label_smoothing", label_smoothing, 0, 1), np.shape(target)[-1]
    return (1 - eps) * np.asarray(target) + eps / K


def cross_entropy_gradient(p: np.ndarray, target: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """d/dz of L = -sum_c t_c log p_c for each row, where p = softmax(z / T):

        dL/dz = (p sum_c t_c - t) / T,    which is p - t for probabilities t and T = 1

    p, target: (N, K), not negative; where classes are weighted a row of ``target`` has another sum than 1.
    """
    total = target.sum(axis=1, keepdims=True)
    return (p * total - target) / p.dtype.type(temperature)


class CrossEntropy(Op):
    """loss = -(1/M) sum_n sum_c w_c t_nc log softmax(z_n / T)_c, with t the smoothed target

    ``labels`` are integers (N,) or rows of probabilities (N, K). M is 1 for reduction "sum"; for "mean" it is
    N, or with class weights w and integer labels the sum of w over the labels (PyTorch's convention). "none"
    keeps the N losses. The target is a constant to the gradient:

        dloss_n/dz = (p sum_c w_c t_c - w t) / T,    which is (p - t) / T without weights
    """

    def __init__(
        self,
        labels: np.ndarray,
        weight: np.ndarray | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.labels, self.weight, self.reduction = np.asarray(labels), weight, reduction
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)
        self.temperature = check_temperature(temperature)

    def forward(self, z):
        target = self.target_rows(z)
        w = self.class_weights(z)
        self.wt = w * smooth_labels(target, self.label_smoothing)  # (N, K)
        log_p = stable_log_softmax(z, temperature=self.temperature)
        self.p = np.exp(log_p)
        # A class ruled out by a logit of -inf costs nothing where its target is 0: 0 log 0 = 0.
        losses = -(self.wt * np.where(self.wt == 0, 0, log_p)).sum(axis=1)
        if self.reduction == "none":
            self.M = z.dtype.type(1)
            return losses
        by_weight = self.weight is not None and self.labels.ndim == 1
        mean_over = (target @ w).sum() if by_weight else len(z)
        self.M = z.dtype.type(1 if self.reduction == "sum" else mean_over)
        if self.M == 0:
            raise ValueError("the class weights of all labels in the batch are 0: their mean is undefined")
        return losses.sum() / self.M

    def backward(self, grad):
        rows = grad[:, np.newaxis] if self.reduction == "none" else grad
        return rows * cross_entropy_gradient(self.p, self.wt, self.temperature) / self.M

    def target_rows(self, z: np.ndarray) -> np.ndarray:
        if z.ndim != 2 or 0 in z.shape:
            raise ValueError(f"logits must have shape (N, K) with N, K >= 1, got {z.shape}")
        if self.labels.ndim == 2:
            return self.check_probabilities(z)
        if self.labels.shape != z.shape[:1]:
            raise ValueError(
                f"logits {z.shape} need labels {z.shape[:1]} or rows {z.shape}, got {self.labels.shape}"
            )
        return one_hot(self.labels, z.shape[1], z.dtype)

    def check_probabilities(self, z: np.ndarray) -> np.ndarray:
        rows = self.labels
        if rows.shape != z.shape:
            raise ValueError(f"label rows {rows.shape} do not match the logits {z.shape}")
        if (
            rows.dtype.kind not in "fiu"
            or not np.all(rows >= 0)
            or not np.allclose(rows.sum(axis=1), 1, atol=1e-3)
        ):
            raise ValueError("label rows must be probabilities: not negative, each row with sum 1")
        return rows.astype(z.dtype)

    def class_weights(self, z: np.ndarray) -> np.ndarray:
        if self.weight is None:
            return np.ones(z.shape[1], z.dtype)
        weight = np.asarray(self.weight, z.dtype)
        if weight.shape != z.shape[1:] or not np.all(np.isfinite(weight) & (weight >= 0)):
            raise ValueError(f"weight must be {z.shape[1]} finite numbers >= 0, got shape {weight.shape}")
        return weight
