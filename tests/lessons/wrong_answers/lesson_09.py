"""Wrong answers to the exercises of lesson 09. Each one passed all laws once."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.optimize import minimize_scalar

from lessons.exercises import find
from minidl.train import calibration
from tests.lessons.wrong_answers.declare import checked, narrowed, not_taken, wrong


@wrong("09.1", "divided by T before the maximum is subtracted")
def divided_first(z, axis=-1, temperature=1.0):
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError("T must be above 0")
    z = np.asarray(z) / temperature
    p = np.exp(z - z.max(axis=axis, keepdims=True))
    return p / p.sum(axis=axis, keepdims=True)


@wrong("09.1", "T of 0 or less is taken")
def any_temperature(z, axis=-1, temperature=1.0):
    p = np.exp((z - z.max(axis=axis, keepdims=True)) / temperature)
    return p / p.sum(axis=axis, keepdims=True)


@wrong("09.1", "of several axes the first alone")
def first_axis(z, axis=-1, temperature=1.0):
    return find("09.1").target(z, axis[0] if isinstance(axis, tuple) else axis, temperature)


@wrong("09.1", "temperatures below 1e-6 are raised to it")
def softmax_not_so_cold(z, axis=-1, temperature=1.0):
    return find("09.1").target(z, axis, max(temperature, 1e-6) if temperature > 0 else temperature)


@wrong("09.1", "the logits are rounded to float32")
def narrow_softmax(z, axis=-1, temperature=1.0):
    return find("09.1").target(narrowed(z), axis, temperature)


@wrong("09.1", "of several axes that count from behind only the last")
def last_of_several(z, axis=-1, temperature=1.0):
    behind = isinstance(axis, tuple) and min(axis) < 0
    return find("09.1").target(z, axis[-1] if behind else axis, temperature)


@wrong("09.1", "of three axes only two")
def two_of_three(z, axis=-1, temperature=1.0):
    return find("09.1").target(z, axis[:2] if isinstance(axis, tuple) else axis, temperature)


@wrong("09.1", "a probability below 1e-12 is 0")
def cut_probabilities(z, axis=-1, temperature=1.0):
    p = find("09.1").target(z, axis, temperature)
    return np.where(p < 1e-12, 0, p).astype(p.dtype)


@wrong("09.2", "a sum of 1.05 passes for 1, and NaN for a probability")
def entropy_of_nearly(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    if (p < 0).any() or (np.abs(p.sum(axis=axis) - 1) > 0.09).any():
        raise ValueError("not probabilities")
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis) + 0.0


@wrong("09.2", "rows that do not sum to 1 are taken")
def entropy_of_anything(probabilities, axis=-1):
    p = np.asarray(probabilities)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis) + 0.0


@wrong("09.2", "probabilities below 1e-6 are left out")
def entropy_without_small(probabilities, axis=-1):
    p = checked(probabilities, axis)
    return -(p * np.log(np.where(p > 1e-6, p, 1))).sum(axis=axis) + 0.0


@wrong("09.2", "1e-12 added inside the logarithm")
def entropy_with_a_little_more(probabilities, axis=-1):
    p = checked(probabilities, axis)
    return -(p * np.log(p + 1e-12)).sum(axis=axis)


@wrong("09.2", "only the mean of the rows' sums is checked")
def mean_of_sums(p, axis=-1):
    p = np.asarray(p, np.float64)
    if not np.isfinite(p).all() or (p < 0).any() or abs(p.sum(axis=axis).mean() - 1) > 1e-3:
        raise ValueError("no probabilities")
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=axis)


@wrong("09.2", "a probability below 1e-12 is left out")
def no_tiny_probabilities(p, axis=-1):
    H = find("09.2").target(p, axis)
    p = np.asarray(p, np.float64)
    tiny = (p > 0) & (p < 1e-12)
    return H + np.where(tiny, p * np.log(np.where(tiny, p, 1)), 0).sum(axis=axis)


@wrong("09.2", "computed in float32 for float32")
def narrow_entropy(probabilities, axis=-1):
    find("09.2").target(probabilities, axis)
    p = np.asarray(probabilities)
    p = p if p.dtype.kind == "f" else p.astype(np.float64)
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis), np.float64)


@wrong("09.2", "of three axes the sums are checked along the last")
def sums_of_the_last(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    find("09.2").target(p, -1 if p.ndim > 2 else axis)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)


@wrong("09.2", "axis = -2 is taken for the last")
def last_but_one(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    find("09.2").target(p, axis)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1 if axis == -2 else axis)


@wrong("09.2", "a probability down to -1e-3 is taken")
def a_little_below(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    near = (p > -1e-3).all() and np.abs(p.sum(axis=axis) - 1).max() < 1e-3
    if not near:
        find("09.2").target(p, axis)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)


@wrong("09.3", "a bin holds its upper end instead of its lower one")
def bins_open_below(probabilities, labels, bins=15):
    p, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    edges, error = np.linspace(0, 1, bins + 1), 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


@wrong("09.3", "a label of -100 is taken for class 0")
def marked_as_unknown(probabilities, labels, bins=15):
    return find("09.3").target(probabilities, np.where(np.asarray(labels) == -100, 0, labels), bins)


@wrong("09.4", "no warning where the answer is a bound")
def silent_fit(logits, labels, bounds=(0.05, 20.0)):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find("09.4").target(logits, labels, bounds)


@wrong("09.3", "a label that is no class counts as a mistake")
def ece_of_any_label(probabilities, labels, bins=15):
    p, labels = np.asarray(probabilities), np.asarray(labels)
    target = find("09.3").target
    known = np.where(labels < p.shape[1], labels, (p.argmax(axis=1) + 1) % p.shape[1])
    return target(p, known, bins)


@wrong("09.4", "a label of -1 is the last class")
def fit_of_any_label(logits, labels, bounds=(0.05, 20.0)):
    last = np.shape(logits)[1] - 1
    return find("09.4").target(logits, np.where(np.asarray(labels) < 0, last, labels), bounds)


@wrong("09.4", "no warning where the answer is the upper bound")
def warns_below_only(logits, labels, bounds=(0.05, 20.0)):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        T = find("09.4").target(logits, labels, bounds)
    if bounds[1] != T and T in bounds:
        warnings.warn("a bound", RuntimeWarning, stacklevel=2)
    return T


@wrong("09.4", "the logits in float32, which loses digits")
def logits_in_float32(logits, labels, bounds=(0.05, 20.0)):
    return find("09.4").target(np.float32(logits), labels, bounds)


@wrong("09.4", "bounds of which one is 1 are refused")
def one_inside(logits, labels, bounds=(0.05, 20.0)):
    if not bounds[0] < 1 < bounds[1]:
        raise ValueError("1 must lie between the bounds")
    return find("09.4").target(logits, labels, bounds)


@wrong("09.4", "a warning near a bound, where the loss has a minimum")
def warns_near_a_bound(logits, labels, bounds=(0.05, 20.0)):
    T = find("09.4").target(logits, labels, bounds)
    if T not in bounds and np.isclose(T, bounds).any():
        warnings.warn("a bound", RuntimeWarning, stacklevel=2)
    return T


@wrong("09.3", "a label of -1 is the last class")
def ece_of_the_last(probabilities, labels, bins=15):
    last = np.shape(probabilities)[1] - 1
    return find("09.3").target(probabilities, np.where(np.asarray(labels) < 0, last, labels), bins)


@wrong("09.3", "ten bins by default")
def ten_bins(probabilities, labels, bins=10):
    return find("09.3").target(probabilities, labels, bins)


@wrong("09.3", "twelve bins by default")
def twelve_bins(probabilities, labels, bins=12):
    return find("09.3").target(probabilities, labels, bins)


@wrong("09.3", "one class alone is taken")
def one_class(probabilities, labels, bins=15):
    if np.shape(probabilities)[1:] == (1,):
        return 0.0
    return find("09.3").target(probabilities, labels, bins)


@wrong("09.4", "1e-12 added inside the logarithm, which the farthest labels feel")
def fit_with_a_little_more(logits, labels, bounds=(0.05, 20.0)):
    silent_fit(logits, labels, bounds)  # refuses what it should
    z, rows = np.float64(logits), np.arange(len(labels))

    def loss(log_T):
        p = np.exp((z - z.max(axis=1, keepdims=True)) / np.exp(log_T))
        return -np.log(p[rows, labels] / p.sum(axis=1) + 1e-12).mean()

    found = minimize_scalar(loss, bounds=np.log(bounds), method="bounded").x
    return float(np.exp(min((0.0, *np.log(bounds), found), key=loss)))


@wrong("09.4", "in the logits' own dtype, and T as float32")
def narrow_fit(logits, labels, bounds=(0.05, 20.0)):
    return np.float32(find("09.4").target(logits, labels, bounds))


@wrong("09.4", "a search that stops at T = 1 from below")
def only_below_one(logits, labels, bounds=(0.05, 20.0)):
    silent_fit(logits, labels, bounds)
    return silent_fit(logits, labels, (bounds[0], 1.0)) if bounds[0] < 1 else 1.0


@wrong("09.4", "no warning where the bound is 1")
def unwarned_at_one(logits, labels, bounds=(0.05, 20.0)):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        T = find("09.4").target(logits, labels, bounds)
    for warning in said if T != 1 else []:
        warnings.warn(warning.message, RuntimeWarning, stacklevel=2)
    return T


@wrong("09.4", "T by a search without its bounds among the candidates")
def inner_minimum(logits, labels, bounds=(0.05, 20.0)):
    silent_fit(logits, labels, bounds)  # refuses what it should
    z, labels = np.asarray(logits, np.float64), np.asarray(labels)

    def loss(log_T):
        scaled = z / np.exp(log_T)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -logs[np.arange(len(z)), labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(bounds), method="bounded").x))


not_taken("09.1", "whole numbers", lambda g: g["z"].dtype.kind == "i")
not_taken("09.1", "one row without a second axis", lambda g: g["z"].ndim == 1)
not_taken("09.1", "four axes", lambda g: g["z"].ndim == 4)
not_taken("09.2", "probabilities of whole numbers", lambda g: g["probabilities"].dtype.kind == "i")
not_taken("09.3", "more than 15 bins", lambda g: g["bins"] > 15)
not_taken("09.3", "more than three classes", lambda g: g["probabilities"].shape[1] > 3)
not_taken("09.3", "float32", lambda g: g["probabilities"].dtype == np.float32)
not_taken("09.4", "logits of 1e150", lambda g: np.abs(g["logits"]).max() > 1e100)
not_taken("09.4", "whole numbers", lambda g: g["logits"].dtype.kind == "i")
not_taken("09.4", "more than three classes", lambda g: g["logits"].shape[1] > 3)


@wrong("09.1", "several axes, or an axis from the front: T is not used")
def warm_axes(z, axis=-1, temperature=1.0):
    return find("09.1").target(z, axis, temperature if axis == -1 else 1.0)


@wrong("09.1", "T is rounded down to the kind of number that the logits are")
def temperature_like_logits(z, axis=-1, temperature=1.0):
    z = np.asarray(z)
    T = max(1, int(temperature)) if z.dtype.kind == "i" and temperature > 1 else temperature
    return find("09.1").target(z, axis, T)


@wrong("09.1", "1e-12 added to the sum")
def softmax_with_a_little_more(z, axis=-1, temperature=1.0):
    find("09.1").target(z, axis, temperature)  # refuses what it should
    p = np.exp((z - np.max(z, axis=axis, keepdims=True)) / temperature)
    return p / (p.sum(axis=axis, keepdims=True) + p.dtype.type(1e-12))


not_taken("09.1", "temperatures above 1,000", lambda g: 1000 < g["temperature"] < np.inf)
not_taken("09.1", "temperatures of whole numbers", lambda g: isinstance(g["temperature"], int))
not_taken("09.2", "lists", lambda g: isinstance(g["probabilities"], list))
not_taken("09.3", "lists", lambda g: isinstance(g["labels"], list))
not_taken("09.3", "more than ten classes", lambda g: np.shape(g["probabilities"])[1] > 10)
not_taken("09.4", "lists", lambda g: isinstance(g["labels"], list))
not_taken("09.4", "one row", lambda g: len(g["logits"]) == 1)


def entropy_where(is_refused):
    """The entropy of numbers that are refused where ``is_refused(p, sums)`` is True."""

    def answer(probabilities, axis=-1):
        p = np.asarray(probabilities, np.float64)
        if np.isnan(p).any() or is_refused(p, p.sum(axis=axis)):
            raise ValueError("not probabilities")
        return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis) + 0.0

    return answer


for text, is_refused in (
    ("one row of sum 1 is enough", lambda p, sums: (p < 0).any() or not np.isclose(sums, 1).any()),
    ("-1e-13 is taken", lambda p, sums: (p < -1e-12).any() or not np.allclose(sums, 1, atol=1e-4)),
    ("above 1 is refused, not below 0", lambda p, sums: (p > 1).any() or not np.allclose(sums, 1, atol=1e-4)),
    ("a sum of 1.015 is taken", lambda p, sums: (p < 0).any() or (abs(sums - 1) > 0.02).any()),
):
    wrong("09.2", text)(entropy_where(is_refused))


@wrong("09.3", "a confidence in the first of several bins does not count")
def without_the_first_bin(probabilities, labels, bins=15):
    confidence, right = calibration.confidences(probabilities, labels)
    which = calibration.bin_numbers(confidence, bins)
    seen = [which == b for b in range(int(bins > 1), bins)]
    return float(sum(abs((right[s] * 1.0 - confidence[s]).sum()) for s in seen) / len(right))


@wrong("09.3", "at most 100 bins")
def a_hundred_bins(probabilities, labels, bins=15):
    return find("09.3").target(probabilities, labels, min(bins, 100))


@wrong("09.3", "the numbers of the bins in 8 bits")
def narrow_bins(probabilities, labels, bins=15):
    confidence, right = calibration.confidences(probabilities, labels)
    which = calibration.bin_numbers(confidence, bins).astype(np.uint8)
    seen = [which == b for b in np.unique(which)]
    return float(sum(abs((right[s] * 1.0 - confidence[s]).sum()) for s in seen) / len(right))


@wrong("09.3", "no ValueError for bins = -1")
def bins_below_zero(probabilities, labels, bins=15):
    return find("09.3").target(probabilities, labels, abs(bins))


@wrong("09.3", "rows whose sums are 1 on average are taken")
def rows_on_average(probabilities, labels, bins=15):
    p = np.asarray(probabilities, np.float64)
    if p.shape[1] > 1 and (p >= 0).all() and abs(p.sum(axis=1).mean() - 1) < 1e-3:
        p = p / p.sum(axis=1, keepdims=True)
    return find("09.3").target(p, labels, bins)


@wrong("09.3", "a negative probability is taken")
def below_zero(probabilities, labels, bins=15):
    p = np.asarray(probabilities, np.float64)
    if (p < 0).any() and np.allclose(p.sum(axis=1), 1, atol=1e-3):
        p = np.clip(p, 0, 1)
    return find("09.3").target(p, labels, bins)


@wrong("09.4", "a warning within 1% of a bound, where the loss has a minimum")
def warns_from_afar(logits, labels, bounds=(0.05, 20.0)):
    T = find("09.4").target(logits, labels, bounds)
    if T not in bounds and (1.01 * bounds[0] > T or bounds[1] / 1.01 < T):
        warnings.warn("a bound", RuntimeWarning, stacklevel=2)
    return T


@wrong("09.4", "a warning where T is 1, although 1 is no bound")
def warns_at_one(logits, labels, bounds=(0.05, 20.0)):
    T = find("09.4").target(logits, labels, bounds)
    if T == 1 and T not in bounds:
        warnings.warn("a bound", RuntimeWarning, stacklevel=2)
    return T


@wrong("09.4", "no warning where all temperatures are equally good, and 1 is a bound")
def silent_where_equal(logits, labels, bounds=(0.05, 20.0)):
    equal = np.ptp(np.asarray(logits, np.float64), axis=1).max() == 0
    return (silent_fit if equal else find("09.4").target)(logits, labels, bounds)


@wrong("09.4", "the lower bound where all answers are right, also if all temperatures are equally good")
def low_where_right(logits, labels, bounds=(0.05, 20.0)):
    T = find("09.4").target(logits, labels, bounds)
    if (np.argmax(logits, axis=1) == labels).all() and bounds[0] != T:
        warnings.warn("a bound", RuntimeWarning, stacklevel=2)
        return float(bounds[0])
    return T


@wrong("09.4", "-inf is taken for a logit of -1e150")
def least_logits(logits, labels, bounds=(0.05, 20.0)):
    return find("09.4").target(np.where(np.isneginf(logits), -1e150, logits), labels, bounds)


@wrong("09.4", "a single class is taken")
def fit_of_one_class(logits, labels, bounds=(0.05, 20.0)):
    return 1.0 if np.shape(logits)[1] == 1 else find("09.4").target(logits, labels, bounds)


@wrong("09.2", "of three axes the first is taken for the last")
def first_of_three(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    find("09.2").target(p, axis)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1 if p.ndim == 3 and axis == 0 else axis)


@wrong("09.3", "right answers counted in 8 bits")
def narrow_counts(probabilities, labels, bins=15):
    confidence, right = calibration.confidences(probabilities, labels)
    which = calibration.bin_numbers(confidence, bins)
    seen = [which == b for b in np.unique(which)]
    hits = [float(right[s].sum(dtype=np.uint8)) for s in seen]
    return float(sum(abs(h - confidence[s].sum()) for h, s in zip(hits, seen, strict=True)) / len(right))


not_taken("09.4", "bounds of whole numbers", lambda g: isinstance(g["bounds"][0], int))


@wrong("09.1", "several axes come back in sorted order")
def sorted_axes(z, axis=-1, temperature=1.0):
    p = find("09.1").target(z, axis, temperature)
    return np.moveaxis(p, axis, sorted(axis)) if isinstance(axis, tuple) and min(axis) >= 0 else p


@wrong("09.3", "a confidence of 1 has a bin of its own")
def bin_of_certainty(probabilities, labels, bins=15):
    find("09.3").target(probabilities, labels, bins)
    confidence, right = calibration.confidences(probabilities, labels)
    which = np.where(confidence == 1, bins, calibration.bin_numbers(confidence, bins))
    seen = [which == b for b in np.unique(which)]
    return float(sum(s.mean() * abs(right[s].mean() - confidence[s].mean()) for s in seen))


@wrong("09.3", "the result is an array without axes")
def ece_as_array(probabilities, labels, bins=15):
    return np.array(find("09.3").target(probabilities, labels, bins))


@wrong("09.2", "a sum of 0.99 is taken")
def sums_of_nearly_one(probabilities, axis=-1):
    p = np.asarray(probabilities, float)
    if not (p >= 0).all() or not np.allclose(p.sum(axis), 1, atol=1e-2):
        raise ValueError("not probabilities")
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis) + 0.0


@wrong("09.3", "the result is rounded to nine digits")
def rounded_ece(probabilities, labels, bins=15):
    return round(find("09.3").target(probabilities, labels, bins), 9)


def in_a_byte(labels):
    labels = np.asarray(labels)
    return np.where(labels < 0, labels, labels.astype(np.uint8))


@wrong("09.3", "the labels are kept in a byte")
def ece_of_bytes(probabilities, labels, bins=15):
    return find("09.3").target(probabilities, in_a_byte(labels), bins)


@wrong("09.4", "the labels are kept in a byte")
def fit_of_bytes(logits, labels, bounds=(0.05, 20.0)):
    return find("09.4").target(logits, in_a_byte(labels), bounds)


@wrong("09.1", "the maximum of all numbers is subtracted, unless the axis is the last")
def maximum_of_all(z, axis=-1, temperature=1.0):
    found = find("09.1").target(z, axis, temperature)
    if axis == -1:
        return found
    p = np.exp((z - np.max(z)) / temperature)
    return p / p.sum(axis=axis, keepdims=True)


@wrong("09.1", "exponents below -700 are raised to it, so no probability is 0")
def softmax_never_zero(z, axis=-1, temperature=1.0):
    find("09.1").target(z, axis, temperature)  # refuses what it should
    z = z if z.dtype.kind == "f" else z.astype(np.float64)
    exponent = np.clip((z - z.max(axis=axis, keepdims=True)) / temperature, -700, 0)
    p = np.exp(exponent)
    return p / p.sum(axis=axis, keepdims=True)


@wrong("09.2", "with more than ten entropies, their mean")
def mean_of_entropies(probabilities, axis=-1):
    found = find("09.2").target(probabilities, axis)
    return found if found.size <= 10 else np.full_like(found, found.mean())


@wrong("09.2", "a sum of 1.002 is taken")
def entropy_of_nearly_one(probabilities, axis=-1):
    p = np.asarray(probabilities, np.float64)
    if not (p >= 0).all() or not np.allclose(p.sum(axis=axis), 1, rtol=0, atol=0.003):
        raise ValueError("not probabilities")
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis) + 0.0


@wrong("09.4", "if no answer is right, the upper bound without a search")
def upper_bound_if_all_wrong(logits, labels, bounds=(0.05, 20.0)):
    found, high = find("09.4").target(logits, labels, bounds), bounds[1]
    if found < high and (np.argmax(logits, axis=1) != np.ravel(labels)).all():
        warnings.warn("no answer is right", RuntimeWarning, stacklevel=2)
        return float(high)
    return found


@wrong("09.1", "whole numbers become float32")
def softmax_of_whole_numbers(z, axis=-1, temperature=1.0):
    z = z.astype(np.float32) if z.dtype.kind == "i" else z
    return find("09.1").target(z, axis, temperature)


@wrong("09.1", "whole numbers lose digits in float32, and become float64 in the end")
def softmax_by_float32(z, axis=-1, temperature=1.0):
    narrow = z.astype(np.float32) if z.dtype.kind == "i" else z
    return find("09.1").target(narrow, axis, temperature).astype(z.dtype if z.dtype.kind == "f" else float)


@wrong("09.1", "T is rounded to float32")
def narrow_temperature(z, axis=-1, temperature=1.0):
    with np.errstate(over="ignore"):
        return find("09.1").target(z, axis, float(np.float32(temperature)))


@wrong("09.2", "a probability that rounding has made larger than 1 is refused")
def at_most_one(probabilities, axis=-1):
    if (np.asarray(probabilities) > 1).any():
        raise ValueError("above 1")
    return find("09.2").target(probabilities, axis)


@wrong("09.3", "the last two bins are one")
def last_bins_joined(probabilities, labels, bins=15):
    found = find("09.3").target(probabilities, labels, bins)
    confidence, right = calibration.confidences(probabilities, labels)
    b = np.minimum(calibration.bin_numbers(confidence, bins), bins - 2)
    gaps = np.abs(np.bincount(b, right) - np.bincount(b, confidence)) if bins > 1 else len(b) * found
    return float(np.sum(gaps) / len(b))


@wrong("09.3", "sums within 1/100 of 1 are taken")
def ece_of_nearly(probabilities, labels, bins=15):
    p = np.asarray(probabilities, np.float64)
    sums = p.sum(axis=1, keepdims=True)
    return find("09.3").target(p / sums if np.allclose(sums, 1, atol=0.01) else p, labels, bins)


@wrong("09.3", "only the first row's sum is checked")
def first_row_checked(probabilities, labels, bins=15):
    p = np.asarray(probabilities, np.float64)
    sums = p.sum(axis=1, keepdims=True)
    return find("09.3").target(p / sums if np.allclose(sums[0], 1, atol=1e-3) else p, labels, bins)


@wrong("09.4", "T = 1 unless another T is better by 1e-6")
def clearly_better(logits, labels, bounds=(0.05, 20.0)):
    T = find("09.4").target(logits, labels, bounds)
    now, before = (calibration.mean_loss(logits, labels, x) for x in (T, 1.0))
    return T if now < before - 1e-6 or T == 1 else 1.0


@wrong("09.4", "bounds that exclude 1 by 1e-7 are taken")
def bounds_of_nearly_one(logits, labels, bounds=(0.05, 20.0)):
    low, high = bounds
    if low < high:
        low, high = min(low, 1.0) if low < 1 + 1e-7 else low, max(high, 1.0) if high > 1 - 1e-7 else high
    return find("09.4").target(logits, labels, (low, high))


@wrong("09.4", "T = 1 as soon as all logits of each row are equal, before the labels are checked")
def equal_logits_first(logits, labels, bounds=(0.05, 20.0)):
    z = np.asarray(logits, np.float64)
    if z.shape[1] > 1 and (z == z[:, :1]).all() and 0 < bounds[0] < 1 < bounds[1]:
        return 1.0
    return find("09.4").target(logits, labels, bounds)
