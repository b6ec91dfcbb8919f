"""Calibration: choose the threshold T, the real value of the largest integer, from a histogram of
activations.

T = max |r| clips nothing, but a single outlier makes the step S = T / qmax large. A smaller T clips the
values beyond T and rounds the others more finely. The methods here minimise different errors (Migacz, 8-bit
inference with TensorRT, 2017).

``bits`` counts the bits of signed integers: |r| has 2^(bits-1) levels. Values of one sign, such as those
after a ReLU, use unsigned integers with 2^bits levels: pass bits + 1 for them.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from minidl.engine.checks import check_array, check_instance, check_int, check_number, require

MOST_BITS = 17  # unsigned integers of 16 bits count as 17
SMALLEST_EXPONENT = -900  # with a smaller exponent, a bin's width would not be a normal float64


class Histogram:
    """The number of |r| in each bin (i w, (i+1) w], i = 0 ... bins - 1. A zero counts in the first bin.

    The width w is a power of two: the smallest with bins w >= ``max``, the largest |r|.
    If the range must grow, pairs of bins are merged exactly. So the counts depend only on the numbers, not on
    their order, their signs or the batches. ``zeros`` counts the exact zeros, which counts[0] includes.
    """

    def __init__(self, bins: int = 2048) -> None:
        self.bins = check_int("bins", bins, 2, 2**24)
        is_power = self.bins & (self.bins - 1) == 0
        require(is_power, f"bins must be a power of two, so that a growing range can halve them, got {bins}")
        self.counts = np.zeros(self.bins, np.int64)
        self.exponent = SMALLEST_EXPONENT  # bins w = 2^exponent
        self.max = 0.0
        self.zeros = 0

    @property
    def width(self) -> float:
        return math.ldexp(1 / self.bins, self.exponent)

    @property
    def used(self) -> int:
        """The number of bins up to the bin of ``max``."""
        return max(math.ceil(self.max / self.width), 1)

    def add(self, values: Any) -> Histogram:
        """Count more numbers, of any shape. Returns the histogram itself."""
        largest = float(np.finfo(np.float32).max)  # larger ones have no square
        r = check_array("values", values, empty=True, low=-largest, high=largest)
        r = np.abs(r.astype(np.float64).ravel())
        if r.size:
            self.grow_to(float(r.max()))
            above = np.ceil(r / self.width).astype(np.int64)  # exact: w is a power of two
            self.counts += np.bincount(np.maximum(above, 1) - 1, minlength=self.bins)
            self.zeros += int(np.sum(r == 0))
        return self

    def merge(self, other: Histogram) -> Histogram:
        """Add the counts of ``other``, which has as many bins. Returns the histogram itself."""
        bins = check_instance("other", other, Histogram).bins
        require(bins == self.bins, f"other must have as many bins, {self.bins}, got {bins}")
        self.grow_to(other.max)
        self.counts = self.counts + coarser(other.counts, self.exponent - other.exponent)
        self.zeros += other.zeros
        return self

    def grow_to(self, largest: float) -> None:
        self.max = max(self.max, largest)
        fraction, exponent = math.frexp(self.max)  # max = fraction 2^exponent, fraction in [1/2, 1)
        exponent = max(self.exponent, exponent - (fraction == 0.5))
        self.counts = coarser(self.counts, exponent - self.exponent)
        self.exponent = exponent

    def total(self) -> int:
        return int(self.counts.sum())


def coarser(counts: np.ndarray, halvings: int) -> np.ndarray:
    """The histogram over a range 2^halvings times as wide, with the same number of bins.

    In one halving, neighbours 2i and 2i + 1 are added and become bin i. The upper half of the bins is then 0.
    counts: int64 (bins,), where bins is a power of two.  halvings: 0 to 2100, as many as two floats can be
    apart. Once all counts are in bin 0, nothing changes any more. Returns int64 (bins,), without rounding.

    >>> coarser(np.array([1, 2, 3, 4]), halvings=1)
    array([3, 7, 0, 0])
    """
    for _ in range(min(halvings, len(counts).bit_length() - 1)):
        counts = np.append(counts.reshape(-1, 2).sum(axis=1), np.zeros(len(counts) // 2, np.int64))
    return counts


# ---- thresholds


def max_threshold(histogram: Histogram) -> float:
    """T = max |r|: nothing saturates."""
    return check_filled(histogram).max


def percentile_threshold(histogram: Histogram, percentile: float = 99.9) -> float:
    """The upper edge of the first bins that hold ``percentile`` percent of all |r|, at most max |r|."""
    percentile = check_number("percentile", percentile, 0, 100)
    return min(bins_holding(check_filled(histogram).counts, percentile) * histogram.width, histogram.max)


def bins_holding(counts: np.ndarray, percentile: float) -> int:
    """How many first bins, at least 1, hold ``percentile`` percent of all counts (bins,)."""
    cumulative = np.cumsum(counts)
    # 16.1% of 1000 is 161. In floats it is 161.00000000000003, which would need one bin more.
    needed = Fraction(str(percentile)) * int(cumulative[-1]) / 100
    return int(np.searchsorted(cumulative, math.ceil(needed))) + 1


def mse_threshold(histogram: Histogram, bits: int = 8) -> float:
    """The T of ``mse_curve`` with the smallest error; on a tie, the first."""
    thresholds, errors = mse_curve(histogram, bits)
    return float(thresholds[np.argmin(errors)])


def entropy_threshold(histogram: Histogram, bits: int = 8) -> float:
    """The T of ``kl_curve`` with the smallest divergence; on a tie, the first."""
    thresholds, divergences = kl_curve(histogram, bits)
    return float(thresholds[np.argmin(divergences)])


def mse_curve(histogram: Histogram, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Candidates T, and for each the mean of (r - fake_quantize(r))² with S = T / (2^(bits-1) - 1).

    The candidates are the upper edges of the bins; the last is max |r|. Each r counts as the middle of its
    bin, and exact zeros count as 0.
    """
    counts, qmax = nonzero_counts(histogram), 2 ** (check_int("bits", bits, 2, MOST_BITS) - 1) - 1
    middles = (np.arange(len(counts)) + 0.5) * histogram.width
    thresholds = edges(histogram, first=1)
    errors = np.empty(len(thresholds))
    for i, T in enumerate(thresholds):
        S = T / qmax if T > 0 else 1.0
        errors[i] = counts @ (middles - S * np.minimum(np.rint(middles / S), qmax)) ** 2
    return thresholds, errors / histogram.total()


def kl_curve(histogram: Histogram, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Candidates T, and for each KL(P || Q) = sum P log(P / Q): the loss of information at T, in nats.

    For each number i of bins from 2^(bits-1) up, T = i w, at most max |r|:
      P  the first i bins; the counts beyond are added to the last of them;
      Q  the first i bins without this addition, merged to 2^(bits-1) levels; the count of each level is
         spread evenly over its bins that are not empty.
    Both are divided by the sum of P, so the sum of Q stays below 1 if values are clipped. If Q is 0 and P is
    not, the divergence is infinite. Exact zeros do not count, because every T represents them exactly.

    There is no standard recipe. This one differs from Migacz's (2017) in three points: he keeps the zeros,
    gives every level equally many bins, and divides Q by its own sum. With his Q, a T that clips all but the
    smallest of some discrete values, such as pixels, has divergence 0.
    """
    counts, levels = nonzero_counts(histogram), 2 ** (check_int("bits", bits, 2, MOST_BITS) - 1)
    thresholds = edges(histogram, first=min(levels, len(counts)))
    tails = counts.sum() - np.cumsum(counts)
    first = len(counts) - len(thresholds) + 1
    divergences = [divergence(counts[:i], tails[i - 1], levels) for i in range(first, len(counts) + 1)]
    return thresholds, np.array(divergences)


def divergence(counts: np.ndarray, tail: int, levels: int) -> float:
    """KL(P || Q) = sum P log(P / Q), for ``counts`` (bins,) below T and ``tail`` numbers beyond T.

    P is the counts, with the tail added to the last bin. Q is the counts without the tail, merged into
    levels: bin i belongs to level floor(i · levels / bins). If bins <= levels, each bin is a level of its
    own. The sum of a level is spread evenly over its bins that are not empty; empty bins stay 0. P and Q are
    then both divided by the sum of P. Everything is computed in float64. The result is infinite if Q is 0
    where P is not. It is 0 if all counts and the tail are 0.

    Two levels of two bins: counts (2, 4, 6, 0) are P = (2, 4, 6, 0) / 12 and Q = (3, 3, 6, 0) / 12.

    >>> round(divergence(np.array([2, 4, 6, 0]), tail=0, levels=2), 4)
    0.0283
    """
    bins = np.arange(len(counts))
    level = bins * levels // len(counts) if len(counts) > levels else bins
    P = counts.astype(np.float64)
    P[-1] += tail
    occupied = counts > 0
    sums, shares = np.bincount(level, counts), np.bincount(level, occupied)
    Q = occupied * (sums / np.maximum(shares, 1))[level]
    if np.any((P > 0) & (Q == 0)):
        return math.inf
    return float(np.sum(P[occupied] * np.log(P[occupied] / Q[occupied])) / max(P.sum(), 1))


# ---- the common part of the thresholds


def edges(histogram: Histogram, first: int) -> np.ndarray:
    """The upper edges of the bins from first - 1 up to the bin of max |r|. The last edge is max |r|."""
    thresholds = np.arange(first, histogram.used + 1) * histogram.width
    thresholds[-1] = histogram.max
    return thresholds


def nonzero_counts(histogram: Histogram) -> np.ndarray:
    """The counts of the used bins without the numbers that are exactly 0."""
    counts = check_filled(histogram).counts[: histogram.used].copy()
    counts[0] -= histogram.zeros
    return counts


def check_filled(histogram: Histogram) -> Histogram:
    total = check_instance("histogram", histogram, Histogram).total()
    require(total > 0, "the histogram is empty: add values to it first")
    return histogram
