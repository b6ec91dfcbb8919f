"""Calibration: of all answers that a model gives with 80% confidence, are 80% right?"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.checks import check_array, check_bounds, check_int, check_labels, require
from minidl.engine.reduce import stable_log_softmax
from minidl.train.intervals import Interval, wilson_interval
from minidl.train.metrics import predicted_and_actual

LARGEST = 1e150  # the largest logit; its square is still finite


def entropy(probabilities: Any, axis: int = -1) -> np.ndarray:
    """H = -sum p log p over the axis, with the natural logarithm and 0 log 0 = 0.

    It is 0 for a one-hot p, and log K for a uniform p of K classes. The entropies are float64.
    probabilities: >= 0, with sum 1 up to rounding in float32; otherwise, and for NaN, ValueError.

    >>> from minidl import train
    >>> print(train.calibration.entropy([[1, 0], [0.5, 0.5]]).round(3))  # log 2 = 0.693
    [0.    0.693]
    """
    p = as_probabilities(probabilities, axis)
    logs = np.log(np.where(p > 0, p, 1))
    return -(p * logs).sum(axis=axis) + 0.0  # + 0.0 turns -0 into 0


def expected_calibration_error(probabilities: Any, labels: Any, bins: int = 15) -> float:
    """ECE = sum over bins of n_b / N |accuracy_b - confidence_b|: the gap between confidence and accuracy.

    The confidence of an answer is the largest probability of its row; ``confidences(probabilities, labels)``
    gives it, and whether the answer is right. The bins divide 0 ... 1 into equal parts by confidence. Bin b
    has n_b of the N answers. A bin includes its lower end, but not its upper end; the last bin includes both.
    Where the end is not an exact float, such as 3/5, rounding may put a confidence of 0.6 into either bin.
    ``bin_numbers(confidence, bins)`` gives the bin of each answer. Empty bins do not count.
    With few answers in a bin, accuracy and confidence differ by chance alone. So ECE is never quite 0 on real
    data.

    probabilities: rows (N, K) of at least two classes.  labels: classes (N,).  ValueError for a single class,
    rows that are not probabilities, a label that is not a class, and bins below 1.   (Naeini et al. 2015)

    >>> from minidl import train
    >>> p = [[0.9, 0.1], [0.9, 0.1]]  # 90% confidence, but only half of the answers are right
    >>> round(train.expected_calibration_error(p, labels=[0, 1]), 3)
    0.4
    """
    confidence, right = confidences(probabilities, labels)
    which = bin_numbers(confidence, bins)
    error = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


class Reliability(NamedTuple):
    """Accuracy against confidence, bin by bin.

    edges: (bins + 1,).  confidence: (bins,), the mean in each bin, NaN in an empty one.  accuracy: the share
    of right answers with Wilson's interval, arrays (bins,); ``accuracy.n`` counts the answers.
    """

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: Interval


def reliability(probabilities: Any, labels: Any, bins: int = 15) -> Reliability:
    """What a reliability diagram shows, in the bins of ``expected_calibration_error``.

    >>> from minidl import train
    >>> table = train.reliability([[0.9, 0.1], [0.9, 0.1]], labels=[0, 1], bins=2)
    >>> print(table.confidence, table.accuracy.mean)
    [nan 0.9] [nan 0.5]
    """
    confidence, right = confidences(probabilities, labels)
    which = bin_numbers(confidence, bins)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0/0 in an empty bin is the NaN that we want
        mean = np.bincount(which, confidence, minlength=bins) / count
    hits = np.bincount(which[right], minlength=bins)
    return Reliability(np.linspace(0, 1, bins + 1), mean, wilson_interval(hits, count))


def confidences(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the largest probability, and whether it is the label's: (N,) and bools (N,).

    >>> from minidl import train
    >>> confidence, right = train.calibration.confidences([[0.9, 0.1], [0.4, 0.6]], labels=[0, 0])
    >>> print(confidence, right)
    [0.9 0.6] [ True False]
    """
    p = as_probabilities(probabilities, shape=("N", "K"))
    require(p.shape[1] > 1, "probabilities must be rows (N, K) of at least two classes, got one column")
    predicted, actual, _ = predicted_and_actual(p, labels)
    return p.max(axis=1), predicted == actual


def bin_numbers(confidence: np.ndarray, bins: int) -> np.ndarray:
    """For each confidence (N,) the number 0 ... bins-1 of its bin, the last of which includes 1."""
    edges = np.linspace(0, 1, check_int("bins", bins, 1, 10**6) + 1)
    return np.searchsorted(edges[1:-1], confidence, side="right")


def fit_temperature(logits: Any, labels: Any, bounds: tuple[float, float] = (0.05, 20.0)) -> float:
    """The T within ``bounds`` that minimises the mean of -log softmax(z / T)[label] (Guo et al. 2017).

    Dividing all logits by one T changes the confidences, but no answer. Fit T on held-out data: on the
    training data an overconfident network looks well calibrated. T = 1 is always tried, so the loss never
    becomes larger. The loss is convex in 1/T, so there is at most one minimum. Without a minimum within the
    bounds, the better bound is returned with a RuntimeWarning. Example: every label has the largest logit, so
    a smaller T is always better. If all are equally good, T is 1, with the same warning if 1 is a bound. If
    the loss is rounded to 0 at the better bound and at 1, either of them may be returned, with or without the
    warning.

    logits: (N, K), of absolute values up to 1e150 (``LARGEST``).  labels: classes (N,).  bounds: finite
    (low, high) with 0 < low <= 1 <= high and low < high. The computation is in float64.
    ValueError for a single class, logits that are not finite, a label that is not a class, and other bounds.

    >>> from minidl import train
    >>> logits = [[3, 0], [3, 0], [3, 0]]  # 95% confidence, but only 2 of 3 answers are right
    >>> round(train.fit_temperature(logits, labels=[0, 0, 1]), 2)  # 3 / log 2, where p is 2/3
    4.33
    """
    from scipy.optimize import minimize_scalar

    z = check_array("logits", logits, "N", "K", low=-LARGEST, high=LARGEST).astype(np.float64)
    require(z.shape[1] > 1, "logits must be rows (N, K) of at least two classes, got one column")
    labels = predicted_and_actual(z, labels)[1]
    low, high = check_bounds("bounds", bounds)
    fits = 0 < low <= 1 <= high < np.inf
    require(fits, f"bounds must be 0 < low <= 1 <= high and differ, got {low:g} and {high:g}")

    def loss(T: float) -> float:
        log_p = stable_log_softmax(z, temperature=T)
        return -float(log_p[np.arange(len(z)), labels].mean())

    log_bounds = (np.log(low), np.log(high))  # only ratios of temperatures matter
    found = minimize_scalar(lambda log_T: loss(np.exp(log_T)), bounds=log_bounds, method="bounded")
    candidates = (1.0, low, high, float(np.exp(found.x)))
    T = min(candidates, key=loss)  # of equals the first
    if T in (low, high):
        message = f"the loss has no minimum within {low:g} ... {high:g}: T = {T:g} is the bound"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return T


def mean_loss(z: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """The mean over the rows of -log softmax(z / T)[label], for logits (N, K) and classes (N,).

    >>> from minidl import train
    >>> round(train.calibration.mean_loss([[2, 0], [0, 1]], [0, 0], temperature=1.0), 3)
    0.72
    """
    z = check_array("z", z, "N", "K")
    labels = check_labels("labels", labels, *z.shape)
    log_p = stable_log_softmax(z, temperature=temperature)
    return -float(log_p[np.arange(len(z)), labels].mean())


# ---- what arguments are


def as_probabilities(probabilities: Any, axis: int = -1, shape: tuple[str, str] = ("...", "K")) -> np.ndarray:
    """The probabilities as float64; ValueError if they are none."""
    p = check_array("probabilities", probabilities, *shape, finite=False).astype(np.float64)
    sums = p.sum(axis=check_int("axis", axis, -p.ndim, p.ndim - 1))
    found = f"these are in [{p.min():.4g}, {p.max():.4g}] with sums in [{sums.min():.4g}, {sums.max():.4g}]"
    fits = bool(np.all(p >= 0)) and np.allclose(sums, 1, atol=1e-3)
    require(fits, f"probabilities must be >= 0 with sum 1, {found}: logits go through softmax first")
    return p
