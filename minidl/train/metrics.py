"""What a model predicts, how often it is right, and whether it is as often right as it is sure."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.checks import check_number, positive_int
from minidl.engine.loss import check_labels
from minidl.engine.reduce import stable_log_softmax
from minidl.engine.tensor import no_grad
from minidl.nn.module import Module, eval_mode
from minidl.train.intervals import Interval, wilson_interval


def predict(model: Module, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """The model's logits for all images, in eval mode and without a graph; then its mode is as before."""
    batch_size, images = positive_int("batch_size", batch_size), np.asarray(images)
    if images.dtype.kind not in "fiub":
        raise TypeError(f"images must be an array of numbers (N, ...), got {images.dtype} {images.shape}")
    if images.ndim == 0 or len(images) == 0:
        raise ValueError(f"there are no images to predict, got shape {images.shape}")
    with eval_mode(model), no_grad():
        batches = [model(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    return np.concatenate([batch.data for batch in batches])


def accuracy(predictions: Any, labels: Any) -> float:
    """The share of right answers.

    predictions: logits (N, K), whose largest is the answer, or classes (N,).  labels: classes (N,), or rows
    (N, K), whose largest is the class.
    """
    predicted, actual, _ = checked(predictions, labels)
    return float((predicted == actual).mean())


def per_class_accuracy(
    predictions: Any, labels: Any, num_classes: int | None = None, confidence: float = 0.95
) -> Interval:
    """For each class the share of its images that are recognised, its recall, with Wilson's interval.

    The fields of the Interval are arrays (K,). A class without images has n = 0, the interval 0 ... 1 and a
    mean of NaN.
    """
    counts = confusion_matrix(predictions, labels, num_classes)
    return wilson_interval(counts.diagonal(), counts.sum(axis=1), confidence)


def confusion_matrix(predictions: Any, labels: Any, num_classes: int | None = None) -> np.ndarray:
    """counts[i, j]: how many images of class i were taken for class j. int64 (K, K).

    K is the number of logits or, where ``predictions`` are classes, ``num_classes`` or 1 + the highest class.
    """
    predicted, actual, classes = checked(predictions, labels, num_classes)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (actual, predicted), 1)
    return counts


def roc_auc(scores: Any, positive: Any) -> float:
    """How often a positive example scores higher than a negative one; a tie counts one half.

        AUC = 1/(P N) sum over positives i and negatives j of  [s_i > s_j] + 1/2 [s_i = s_j]

    It is also the area under the ROC curve, true against false positives over all thresholds: 1 where a
    threshold parts the two, 1/2 where scores say nothing, and the same for any rising function of the scores.

    scores: (M,), no NaN.  positive: bools (M,), both kinds among them.   (Hanley and McNeil 1982)
    """
    scores, positive = checked_scores(scores, positive)
    above, below = scores[positive], np.sort(scores[~positive])
    lower = np.searchsorted(below, above, side="left")  # (P,): how many negatives each positive is above
    not_higher = np.searchsorted(below, above, side="right")
    return float(((lower + not_higher) / 2).mean() / len(below))


# ---- calibration: of all answers given with 80% confidence, are 80% right?


def entropy(probabilities: Any, axis: int = -1) -> np.ndarray:
    """H = -sum p log p over the axis, in nats, with 0 log 0 = 0: 0 for a one-hot p, log K for a uniform one.

    probabilities: >= 0, with sum 1 over the axis; otherwise ValueError.
    """
    p = checked_probabilities(probabilities, axis)
    logs = np.log(np.where(p > 0, p, 1))
    return -(p * logs).sum(axis=axis) + 0.0  # + 0.0 turns -0 into 0


def expected_calibration_error(probabilities: Any, labels: Any, bins: int = 15) -> float:
    """ECE = sum over bins of n_b / N |accuracy_b - confidence_b|: how far confidence is from accuracy.

    An answer's confidence is its row's largest probability. The bins are equally wide, each with its lower
    end and without its upper one, which is the next one's; the last has both. Empty bins count nothing. With
    few answers in a bin chance alone parts accuracy and confidence, so ECE is never quite 0 on real data.

    probabilities: rows (N, K), each with sum 1.  labels: classes (N,).   (Naeini et al. 2015)
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
    """What a reliability diagram shows, in the bins of ``expected_calibration_error``."""
    confidence, right = confidences(probabilities, labels)
    which = bin_numbers(confidence, bins)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0/0 in an empty bin is the NaN that we want
        mean = np.bincount(which, confidence, minlength=bins) / count
    hits = np.bincount(which[right], minlength=bins)
    return Reliability(np.linspace(0, 1, bins + 1), mean, wilson_interval(hits, count))


def confidences(probabilities: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the largest probability, and whether it is the label's: (N,) and bools (N,)."""
    p = np.asarray(probabilities)
    if p.ndim != 2 or 0 in p.shape:
        raise ValueError(f"probabilities must be rows (N, K) with N, K >= 1, got shape {p.shape}")
    p = checked_probabilities(p)
    predicted, actual, _ = checked(p, labels)
    return p.max(axis=1), predicted == actual


def bin_numbers(confidence: np.ndarray, bins: int) -> np.ndarray:
    """For each confidence (N,) the number 0 ... bins-1 of its bin, the last of which includes 1."""
    edges = np.linspace(0, 1, positive_int("bins", bins) + 1)
    return np.searchsorted(edges[1:-1], confidence, side="right")


def fit_temperature(logits: Any, labels: Any, bounds: tuple[float, float] = (0.05, 20.0)) -> float:
    """The T within ``bounds`` that minimises the mean of -log softmax(z / T)[label] (Guo et al. 2017).

    Dividing all logits by one T moves every confidence and no answer. Fit it on held-out logits: on those
    that were trained on it finds the network's overconfidence justified. T = 1 is among the candidates, so
    the loss is nowhere larger than before. It is convex in 1/T, so there is one minimum at most; where there
    is none (every label has the largest logit, say, and T -> 0 is ever better) the bound is returned, with a
    RuntimeWarning.

    logits: (N, K), finite.  labels: classes (N,).
    """
    from scipy.optimize import minimize_scalar

    z, labels = checked_logits(logits, labels)
    low, high = checked_bounds(bounds)
    log_bounds = (np.log(low), np.log(high))
    found = minimize_scalar(
        lambda log_T: mean_loss(z, labels, np.exp(log_T)), bounds=log_bounds, method="bounded"
    )
    candidates = (1.0, low, high, float(np.exp(found.x)))
    T = min(candidates, key=lambda T: mean_loss(z, labels, T))  # of equals the first
    if T in (low, high):
        message = f"the loss has no minimum within {low:g} ... {high:g}: T = {T:g} is the bound"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return T


def mean_loss(z: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """The mean over the rows of -log softmax(z / T)[label], for logits (N, K) and classes (N,)."""
    log_p = stable_log_softmax(z, temperature=temperature)
    return -float(log_p[np.arange(len(z)), labels].mean())


# ---- what arguments are


def checked_scores(scores: Any, positive: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scores (M,) in their own dtype, in which none tie that differ, and bools (M,), both kinds of them."""
    scores, positive = np.asarray(scores), np.asarray(positive)
    if scores.ndim != 1 or scores.shape != positive.shape or len(scores) == 0:
        raise ValueError(
            f"scores and positive must both be (M,), not empty, got {scores.shape} and {positive.shape}"
        )
    if scores.dtype.kind not in "fiu" or positive.dtype.kind != "b":
        raise TypeError(f"scores must be numbers and positive bools, got {scores.dtype} and {positive.dtype}")
    if positive.all() or not positive.any():
        raise ValueError(f"positive must hold both True and False, got {positive.sum()} of {len(positive)}")
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN: it is neither above nor below")
    return scores, positive


def checked_probabilities(probabilities: Any, axis: int = -1) -> np.ndarray:
    """The same as float64, if they are probabilities."""
    p = np.asarray(probabilities)
    if p.dtype.kind not in "fiu" or p.ndim == 0 or p.size == 0:
        raise ValueError(f"probabilities must be an array of numbers, got {p.dtype} of shape {p.shape}")
    p = p.astype(np.float64)
    sums = p.sum(axis=axis)
    if not np.all(p >= 0) or not np.allclose(sums, 1, atol=1e-3):
        raise ValueError(
            f"probabilities must be >= 0 with sum 1, these are in [{p.min():.4g}, {p.max():.4g}] "
            f"with sums in [{sums.min():.4g}, {sums.max():.4g}]: logits go through softmax first"
        )
    return p


def checked_logits(logits: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) as float64, and the labels as classes (N,)."""
    z = np.asarray(logits)
    if z.ndim != 2 or z.dtype.kind not in "fiu":
        raise ValueError(f"logits must be numbers (N, K), got {z.dtype} of shape {z.shape}")
    _, actual, _ = checked(z, labels)
    if not np.isfinite(z).all():
        raise ValueError("logits must be finite")
    if float(np.abs(z).max()) > 1e150:  # a float32 cannot be compared with 1e150
        raise ValueError(f"logits must be below 1e150 in size, got {np.abs(z).max():g}")
    return z.astype(np.float64), actual


def checked_bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise TypeError(f"bounds must be two temperatures, got {bounds!r}")
    low, high = (check_number("each of bounds", bound) for bound in bounds)
    if not 0 < low <= 1 <= high or low == high:
        raise ValueError(f"bounds must be 0 < low <= 1 <= high and differ, got {low:g} and {high:g}")
    return low, high


def checked(
    predictions: Any, labels: Any, num_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Predicted and actual classes (N,), and K."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if len(predictions.shape) == 0 or predictions.shape[:1] != labels.shape[:1] or len(labels) == 0:
        raise ValueError(
            f"predictions (N, K) or (N,) need labels (N,), N > 0, got {predictions.shape} and {labels.shape}"
        )
    columns = {array.shape[1] for array in (predictions, labels) if array.ndim == 2}
    predicted, actual = classes_of("predictions", predictions), classes_of("labels", labels)
    if num_classes is not None:
        columns.add(positive_int("num_classes", num_classes))
    if len(columns) > 1:
        raise ValueError(f"the number of classes is not clear: {sorted(columns)}")
    classes = columns.pop() if columns else int(max(predicted.max(), actual.max())) + 1
    return check_labels(predicted, classes), check_labels(actual, classes), classes


def classes_of(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 1:
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} (N,) must be integers, got {array.dtype}")
        return array
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be classes (N,) or rows (N, K), got {array.dtype} {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{name} hold NaN: no class is the largest")
    return array.argmax(axis=1)
