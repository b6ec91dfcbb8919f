"""Calibration: the threshold T that the largest integer stands for, chosen from a histogram of activations.

Without saturation T = max |r|: nothing is clipped, and a single outlier makes every step S = T / qmax coarse.
With a smaller T what lies beyond saturates and the rest is rounded more finely; the choices of T differ in
what they minimise (Migacz, 8-bit inference with TensorRT, 2017).

``bits`` are those of signed integers, 2^(bits-1) of which stand for |r|. For values of one sign on unsigned
integers, such as those after a ReLU, all 2^bits do: pass bits + 1.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from minidl.engine.checks import check_array, check_instance, check_int, check_number, require

SMALLEST_EXPONENT = -900  # below it a bin's width would not be a normal float64


class Histogram:
    """How often |r| falls into (i w, (i+1) w] for i = 0 ... bins - 1, and 0 into the first.

    The width w is a power of two: bins w is the smallest one that ``max``, the largest |r|, does not exceed.
    A range that grows makes pairs of bins into one, exactly, so that the counts depend on the numbers alone,
    not on their order, their signs or the batches that they came in. ``zeros`` counts those that are exactly
    0, which are part of counts[0].
    """

    def __init__(self, bins: int = 2048) -> None:
        self.bins = check_int("bins", bins, 2)
        is_power = self.bins & (self.bins - 1) == 0
        require(is_power, f"bins must be a power of two, which a growing range can halve, got {bins}")
        self.counts = np.zeros(self.bins, np.int64)
        self.exponent = SMALLEST_EXPONENT  # bins w = 2^exponent
        self.max = 0.0
        self.zeros = 0

    @property
    def width(self) -> float:
        return math.ldexp(1 / self.bins, self.exponent)

    @property
    def used(self) -> int:
        """Bins up to the one that ``max`` lies in."""
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
        """Count also what ``other`` has counted, with as many bins. Returns the histogram itself."""
        bins = check_instance("other", other, Histogram).bins
        require(bins == self.bins, f"only histograms of as many bins can be merged: {self.bins} and {bins}")
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
    """The int64 counts (bins,) over a range 2^halvings times as wide, in as many bins: pairs become one.

    bins: a power of two.  halvings: 0 or more, also 900. Nothing is rounded: the answer is in int64 as well.
    """
    for _ in range(min(halvings, len(counts).bit_length())):
        counts = np.append(counts.reshape(-1, 2).sum(axis=1), np.zeros(len(counts) // 2, np.int64))
    return counts


# ---- thresholds


def max_threshold(histogram: Histogram) -> float:
    """T = max |r|: nothing saturates."""
    return check_filled(histogram).max


def percentile_threshold(histogram: Histogram, percentile: float = 99.9) -> float:
    """The upper edge of the bin up to which ``percentile`` percent of all |r| lie, at most max |r|."""
    percentile = check_number("percentile", percentile, 0, 100)
    return min(bins_holding(check_filled(histogram).counts, percentile) * histogram.width, histogram.max)


def bins_holding(counts: np.ndarray, percentile: float) -> int:
    """The least number of bins, at least 1, that hold ``percentile`` percent of all counts (bins,)."""
    cumulative = np.cumsum(counts)
    # 16.1% of 1000 are 161; as floats they would be 161.00000000000003, which need one bin more
    needed = Fraction(str(percentile)) * int(cumulative[-1]) / 100
    return int(np.searchsorted(cumulative, math.ceil(needed))) + 1


def mse_threshold(histogram: Histogram, bits: int = 8) -> float:
    """The T of ``mse_curve`` with the smallest error, the first of equals."""
    thresholds, errors = mse_curve(histogram, bits)
    return float(thresholds[np.argmin(errors)])


def entropy_threshold(histogram: Histogram, bits: int = 8) -> float:
    """The T of ``kl_curve`` with the smallest divergence, the first of equals."""
    thresholds, divergences = kl_curve(histogram, bits)
    return float(thresholds[np.argmin(divergences)])


def mse_curve(histogram: Histogram, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Candidates T and the mean of (r - fake_quantize(r))² with S = T / (2^(bits-1) - 1), each r taken to lie
    in the middle of its bin and zeros at 0.

    The candidates are the upper edges of the bins; the last is max |r|.
    """
    counts, qmax = nonzero_counts(histogram), 2 ** (check_bits(bits) - 1) - 1
    middles = (np.arange(len(counts)) + 0.5) * histogram.width
    thresholds = edges(histogram, first=1)
    errors = np.empty(len(thresholds))
    for i, T in enumerate(thresholds):
        S = T / qmax if T > 0 else 1.0
        errors[i] = counts @ (middles - S * np.minimum(np.rint(middles / S), qmax)) ** 2
    return thresholds, errors / histogram.total()


def kl_curve(histogram: Histogram, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Candidates T and KL(P || Q) = sum P log(P / Q): how much of the distribution is lost at T, in nats.

    For each number i of bins from 2^(bits-1) up, T = i w, at most max |r|:
      P  the first i bins, what lies beyond being added to the last of them;
      Q  the first i bins without it, made into 2^(bits-1) levels, the count of each level being spread
         evenly over those of its bins that are not empty.
    Both are divided by the sum of P: what Q has lost it does not get back. Where Q is 0 and P is not, the
    divergence is infinite. Numbers that are exactly 0 are represented exactly at any T: they are left out.

    There is no canonical recipe. This one is Migacz's (2017) but for three things: he keeps the zeros, gives
    every level equally many bins, and divides Q by its own sum; then a T that leaves of discrete values,
    such as pixels, only the smallest has divergence 0.
    """
    counts, levels = nonzero_counts(histogram), 2 ** (check_bits(bits) - 1)
    thresholds = edges(histogram, first=min(levels, len(counts)))
    tails = counts.sum() - np.cumsum(counts)
    first = len(counts) - len(thresholds) + 1
    divergences = [divergence(counts[:i], tails[i - 1], levels) for i in range(first, len(counts) + 1)]
    return thresholds, np.array(divergences)


def divergence(counts: np.ndarray, tail: int, levels: int) -> float:
    """KL(P || Q) = sum P log(P / Q): what is lost of ``counts`` (bins,) below T, and ``tail`` numbers beyond.

    P is the counts, the tail being added to the last; Q is the counts without it, made into levels: bin i is
    in level floor(i levels / bins), or with no more bins than levels each in its own, and a level's sum is
    spread evenly over those of its bins that are not empty. Both are divided by the sum of P. Infinite where
    Q is 0 and P is not, and 0 where all counts are 0.
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


# ---- what the thresholds share


def edges(histogram: Histogram, first: int) -> np.ndarray:
    """The upper edges of bins from first - 1 up to that of max |r|, which takes the place of the last one."""
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


def check_bits(bits: int) -> int:
    """Of signed integers; 17 for unsigned ones of 16."""
    return check_int("bits", bits, 2, 17)
