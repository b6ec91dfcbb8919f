"""Predictions, accuracy and calibration: whether a model is right as often as its confidence says."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.checks import (
    array_pair,
    check_array,
    check_bounds,
    check_instance,
    check_int,
    check_labels,
    float_images,
    positive_int,
    require,
    shown,
)
from minidl.engine.recording import no_grad
from minidl.engine.reduce import stable_log_softmax
from minidl.engine.tensor import Tensor
from minidl.nn.module import Module, eval_mode
from minidl.train.intervals import Interval, wilson_interval

LARGEST = 1e150  # the largest logit; its square is still finite
VALUES = 2**19  # numbers of images in one pass: the graph of a large network takes 1,000 bytes for each
IMAGES = 256  # and at most so many images


def batch_slices(images: np.ndarray, batch_size: int | None = None) -> list[slice]:
    """Slices of ``batch_size`` images, the last may be shorter.

    By default they are so short that the graph of a large network for one slice fits into memory.

    >>> from minidl.train.metrics import batch_slices
    >>> batch_slices(np.ones((3, 2)), batch_size=2)
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = min(IMAGES, max(1, VALUES // images[0].size)) if batch_size is None else batch_size
    step = positive_int("batch_size", step)
    return [slice(start, min(start + step, len(images))) for start in range(0, len(images), step)]


def predict(model: Module, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
    """The model's logits for all images, in eval mode and without a graph.

    Then the model has its old mode again. batch_size: images at a time. None: 256, or fewer large images.

    >>> from minidl import nn, train
    >>> train.predict(nn.Linear(3, 2), np.ones((5, 3))).shape
    (5, 2)
    """
    images = float_images("images", images)
    slices = batch_slices(images, batch_size)
    with eval_mode(model), no_grad():
        parts = [model(images[part].copy()) for part in slices]  # a model may change its input in place
    check_instance("the model's output", parts[0], Tensor)
    return np.concatenate([part.data for part in parts])


def accuracy(predictions: Any, labels: Any) -> float:
    """The fraction of right predictions.

    predictions: logits (N, K): the class has the largest; one logit (N, 1) or floats (N,): class 1 above 0,
    otherwise class 0; or classes (N,).  labels: classes (N,), or rows (N, K) of probabilities: the class has
    the largest; or a column (N, 1) of zeros and ones.

    >>> from minidl import train
    >>> train.accuracy([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]], labels=[0, 1, 1, 1])
    0.75
    """
    predicted, actual, _ = predicted_and_actual(predictions, labels)
    return float((predicted == actual).mean())


def has_accuracy(logits: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the labels name classes of these logits. Targets of regression and autoencoders do not.

    Labels name classes if they are integers (N,) for logits (N, K), rows of probabilities (N, K), or zeros
    and ones for one logit (N, 1) or (N,).
    """
    one_logit = logits.shape[1:] in ((), (1,))
    if one_logit:
        return labels.shape[1:] in ((), (1,)) and bool(np.isin(labels, (0, 1)).all())
    if logits.ndim == 2 and labels.ndim == 1:
        return labels.dtype.kind in "iu"
    return logits.ndim == 2 and labels.shape == logits.shape and _are_probabilities(labels)


def per_class_accuracy(
    predictions: Any, labels: Any, num_classes: int | None = None, confidence: float = 0.95
) -> Interval:
    """The recall of each class (the fraction of its images that is recognised), with Wilson's interval.

    The fields of the Interval are arrays (K,). A class without images has n = 0, the interval 0 ... 1 and a
    mean of NaN.

    >>> from minidl import train
    >>> print(train.per_class_accuracy([0, 1, 1, 1], labels=[0, 0, 1, 1]).mean)
    [0.5 1. ]
    """
    counts = confusion_matrix(predictions, labels, num_classes)
    return wilson_interval(counts.diagonal(), counts.sum(axis=1), confidence)


def confusion_matrix(predictions: Any, labels: Any, num_classes: int | None = None) -> np.ndarray:
    """counts[i, j]: the number of images of class i that are classified as j. int64 (K, K).

    K is the number of logits. If ``predictions`` are classes, K is ``num_classes`` or 1 + the highest class.

    >>> from minidl import train
    >>> print(train.confusion_matrix([0, 1, 1, 1], labels=[0, 0, 1, 1]))
    [[1 1]
     [0 2]]
    """
    predicted, actual, classes = predicted_and_actual(predictions, labels, num_classes)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (actual, predicted), 1)
    return counts


def roc_auc(scores: Any, positive: Any) -> float:
    """How often a positive example has a higher score than a negative example; a tie counts 1/2.

        AUC = 1/(P N) sum over positives i and negatives j of  [s_i > s_j] + 1/2 [s_i = s_j]

    It is also the area under the ROC curve, which shows true against false positives over all thresholds. It
    is 1 if a threshold separates positive from negative examples, and 1/2 for random scores. Any increasing
    function of the scores gives the same AUC.
    scores: array (M,); numbers may be infinite, and integers may be compared as floats.  positive: array of
    bools (M,).  ValueError for NaN among the scores, and if ``positive`` has only True or only False.
    (Hanley and McNeil 1982)

    >>> from minidl import train
    >>> scores, positive = np.array([0.9, 0.6, 0.7, 0.1]), np.array([True, True, False, False])
    >>> train.roc_auc(scores, positive)  # 3 of the 4 pairs are in order
    0.75
    """
    scores = check_array("scores", scores, "M", finite=False, nan=False)  # in their own dtype: no new ties
    positive = check_array("positive", positive, len(scores), kind="bool")
    both = 0 < positive.sum() < len(positive)
    require(both, f"positive must hold both True and False, got {positive.sum()} of {len(positive)}")
    above, below = scores[positive], np.sort(scores[~positive])
    lower = np.searchsorted(below, above, side="left")  # (P,): the number of negatives below each positive
    not_higher = np.searchsorted(below, above, side="right")
    return float(((lower + not_higher) / 2).mean() / len(below))


# ---- calibration: of all answers given with 80% confidence, are 80% right?


def entropy(probabilities: Any, axis: int = -1) -> np.ndarray:
    """H = -sum p log p over the axis, with the natural logarithm and 0 log 0 = 0.

    It is 0 for a one-hot p, and log K for a uniform p of K classes. The entropies are float64.
    probabilities: >= 0, with sum 1 up to rounding in float32; otherwise, and for NaN, ValueError.

    >>> from minidl import train
    >>> print(train.metrics.entropy([[1, 0], [0.5, 0.5]]).round(3))  # log 2 = 0.693
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
    >>> confidence, right = train.metrics.confidences([[0.9, 0.1], [0.4, 0.6]], labels=[0, 0])
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
    a smaller T is always better. If all are equally good, T is 1, with the same warning if 1 is a bound.

    logits: (N, K), of absolute values up to 1e150 (``LARGEST``).  labels: classes (N,).  bounds: (low, high)
    with 0 < low <= 1 <= high and low < high. The computation is in float64.
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
    >>> round(train.metrics.mean_loss([[2, 0], [0, 1]], [0, 0], temperature=1.0), 3)
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


def predicted_and_actual(
    predictions: Any, labels: Any, num_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Predicted and actual classes (N,), and K."""
    predictions, labels = array_pair("predictions and labels", (predictions, labels))
    if predictions.ndim == 1 and predictions.dtype.kind == "f":
        predictions = predictions[:, None]
    one_logit = predictions.shape[1:] == (1,)
    if one_logit or labels.shape[1:] == (1,):
        fits = labels.shape[1:] in ((), (1,)) and np.isin(labels, (0, 1)).all()
        require(fits, f"labels of one logit must be (N,) or (N, 1), zeros and ones, got {shown(labels)}")
        labels = labels.reshape(-1).astype(np.int64)
    columns = {max(array.shape[1], 2) for array in (predictions, labels) if array.ndim == 2}
    predicted, actual = classes_of("predictions", predictions), classes_of("labels", labels)
    names_one = labels.ndim == 1 or _are_probabilities(labels)
    require(names_one, "labels must be classes (N,), or rows (N, K) that are >= 0 with sum 1")
    if num_classes is not None:
        columns.add(positive_int("num_classes", num_classes))
    require(len(columns) < 2, f"the number of classes is not clear: {sorted(columns)}")
    classes = columns.pop() if columns else int(max(predicted.max(), actual.max())) + 1
    predicted, actual = (check_labels("labels", given, None, classes) for given in (predicted, actual))
    return predicted, actual, classes


def _are_probabilities(rows: np.ndarray) -> bool:
    """Whether each row (K,) of ``rows`` is a distribution. Rows that name several classes or none are not."""
    return bool((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3))


def classes_of(name: str, array: np.ndarray) -> np.ndarray:
    """Classes (N,) stay; rows (N, K) give the index of the largest, a column (N, 1) whether it is > 0."""
    if array.ndim == 1:
        require(array.dtype.kind in "iu", f"{name} (N,) must be integers, got {array.dtype}", TypeError)
        return array
    array = check_array(name, array, "N", "K", finite=False, nan=False)
    return array.argmax(axis=1) if array.shape[1] > 1 else (array[:, 0] > 0).astype(np.int64)
