"""Right answers to the exercises of lesson 09, written from the stubs alone."""

from __future__ import annotations

import warnings

import numpy as np

from minidl.engine.reduce import stable_log_softmax
from minidl.train.calibration import LARGEST, bin_numbers, confidences
from tests.lessons.right_answers.declare import right


@right("09.1")
def stable_softmax(z, axis=-1, temperature=1.0):
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError("the temperature must be finite and above 0")
    if not np.issubdtype(z.dtype, np.floating):
        z = z.astype(np.float64)
    e = np.exp((z - z.max(axis=axis, keepdims=True)) / temperature)
    return e / e.sum(axis=axis, keepdims=True)


@right("09.2")
def entropy(probabilities, axis=-1):
    p = np.asarray(probabilities, dtype=np.float64)
    if (p < 0).any() or not np.allclose(p.sum(axis=axis), 1):
        raise ValueError("these are not probabilities")
    log_p = np.log(np.where(p > 0, p, 1))
    return -(p * log_p).sum(axis=axis)


@right("09.3")
def expected_calibration_error(probabilities, labels, bins=15):
    if bins < 1:
        raise ValueError("at least one bin is needed")
    if np.shape(probabilities)[1] < 2:
        raise ValueError("at least two classes are needed")
    confidence, correct = confidences(probabilities, labels)
    b = bin_numbers(confidence, bins)
    # n_b |accuracy_b - confidence_b| = |sum of right - sum of confidence| in the bin
    gaps = np.bincount(b, weights=correct) - np.bincount(b, weights=confidence)
    return float(np.abs(gaps).sum() / len(b))


@right("09.4")
def fit_temperature(logits, labels, bounds=(0.05, 20.0)):
    z, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    low, high = bounds
    if low <= 0 or low > 1 or high < 1 or low == high:
        raise ValueError("the bounds must have 0 < low <= 1 <= high and low < high")
    if z.shape[1] < 2:
        raise ValueError("at least two classes are needed")
    if not np.isfinite(z).all() or np.abs(z).max() > LARGEST:
        raise ValueError("the logits are not finite or too large")
    if (labels < 0).any() or (labels >= z.shape[1]).any():
        raise ValueError("a label is not a class")
    rows = np.arange(len(z))
    above = z - z[rows, labels][:, None]  # how far each logit is above the label's

    def loss(T):
        return -stable_log_softmax(above, temperature=T)[rows, labels].mean()

    def slope(b):  # the derivative of the loss by b = 1/T; it rises with b
        p = np.exp(stable_log_softmax(above, temperature=1 / b))
        return (p * above).sum(axis=1).mean()

    left, end = 1 / high, 1 / low
    if slope(left) >= 0:
        T = high
    elif slope(end) <= 0:
        T = low
    else:
        for _ in range(100):
            middle = (left + end) / 2
            if slope(middle) > 0:
                end = middle
            else:
                left = middle
        T = 2 / (left + end)
    if loss(1.0) <= loss(T):
        T = 1.0
    if T in (low, high):
        warnings.warn(f"the loss has no minimum within {bounds}", RuntimeWarning, stacklevel=2)
    return T
