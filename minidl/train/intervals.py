"""Confidence intervals for a mean over seeds, and for a fraction such as an accuracy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minidl.engine.checks import check_array, check_number, require


class Interval(NamedTuple):
    """An estimate, and the interval that covers the true value with the given confidence.

    ``mean``, ``low`` and ``high`` are floats, or arrays from arrays. ``str`` gives ``0.081 ± 0.022 (n = 8)``
    for a symmetric interval, otherwise ``0.972 [0.950, 0.985] (n = 360)``.

    >>> from minidl.train.intervals import Interval
    >>> print(Interval(0.5, low=0.4, high=0.6, n=8))
    0.50 ± 0.10 (n = 8)
    """

    mean: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray
    n: int | np.ndarray

    def __str__(self) -> str:
        if np.ndim(self.mean):
            rows = zip(*map(np.ravel, np.broadcast_arrays(*self)), strict=True)
            return ", ".join(str(Interval(*row)) for row in rows)
        mean, low, high = float(self.mean), float(self.low), float(self.high)
        half = (high - low) / 2
        if math.isclose(mean - low, high - mean, rel_tol=1e-6, abs_tol=1e-9 * abs(mean)):
            return f"{_rounded(mean, half)} ± {_rounded(half, half)} (n = {self.n})"
        return f"{_rounded(mean, half)} [{_rounded(low, half)}, {_rounded(high, half)}] (n = {self.n})"


def _rounded(value: float, half_width: float) -> str:
    """``value``, rounded to the second significant digit of the half-width: more digits have no meaning."""
    if not math.isfinite(value) or half_width == 0 or not math.isfinite(half_width):
        return f"{value:.4g}"
    decimals = 1 - math.floor(math.log10(half_width))
    return f"{value:.{max(decimals, 0)}f}" if decimals <= 6 else f"{value:.1e}"


def t_interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean of independent values, such as one accuracy per seed.

        mean ± t · s / sqrt(n),   t the (1 + confidence) / 2 quantile with n - 1 degrees of freedom

    values: (n,) with n >= 2, finite. It assumes that means of n values are approximately normal.
    Raises ValueError for fewer than two values (one value does not show the spread) or non-finite ones.

    >>> from minidl.train import intervals
    >>> print(intervals.t_interval([0.81, 0.84, 0.87]))  # for example, the accuracy of three seeds
    0.840 ± 0.075 (n = 3)
    """
    from scipy.special import stdtrit

    x, quantile = _sample("values", values), _quantile(confidence)
    n, mean = len(x), float(x.mean())
    half = float(stdtrit(n - 1, quantile) * x.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(a: np.ndarray, b: np.ndarray, confidence: float = 0.95) -> Interval:
    """The interval of a - b, where a[i] and b[i] have the same seed: the common effect of the seed cancels.

    a, b: (n,), n >= 2. "a beats b" is ``paired_difference(a, b).low > 0``.

    >>> from minidl.train import intervals
    >>> print(intervals.paired_difference([0.84, 0.88, 0.95], [0.80, 0.85, 0.90]))
    0.040 ± 0.025 (n = 3)
    """
    x = _sample("a", a)
    y = _sample("b", b, len(x))
    return t_interval(x - y, confidence)


def wilson_interval(successes: int | np.ndarray, n: int | np.ndarray, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a fraction, such as an accuracy: ``successes`` right among ``n`` (Wilson 1927).

        (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n),   p = successes / n

    It stays within [0, 1] and has the right coverage near 0 and 1 and for small n, unlike p ± z·s.
    Arrays give one interval per element. For n = 0 the interval is 0 ... 1, and the mean is NaN.
    Raises TypeError for counts that are not integers, ValueError unless 0 <= successes <= n.

    >>> from minidl.train import intervals
    >>> print(intervals.wilson_interval(95, 100))
    0.950 [0.888, 0.978] (n = 100)
    """
    from scipy.special import ndtri

    k = check_array("successes", successes, kind="integer", empty=True).astype(np.int64)
    total = check_array("n", n, kind="integer", empty=True).astype(np.int64)
    try:
        k, total = np.broadcast_arrays(k, total)
    except ValueError:
        raise ValueError(f"successes {k.shape} and n {total.shape} must have matching shapes") from None
    in_range = np.all((k >= 0) & (k <= total))
    require(in_range, f"must be 0 <= successes <= n, got successes = {successes} and n = {n}")
    z = float(ndtri(_quantile(confidence)))

    trials = np.maximum(total, 1)
    p = k / trials
    centre = p + z**2 / (2 * trials)
    spread = z * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2.0))
    scale = 1 + z**2 / trials
    # Set the ends exactly, because rounding could give 1e-17.
    low = np.where(k == 0, 0.0, (centre - spread) / scale)
    high = np.where(k == total, 1.0, (centre + spread) / scale)
    mean = np.where(total == 0, np.nan, p)
    if mean.ndim == 0:
        return Interval(float(mean), float(low), float(high), int(total))
    return Interval(mean, low, high, total.copy())


def _sample(name: str, values: np.ndarray, count: int | str = "n") -> np.ndarray:
    x = check_array(name, values, count).astype(np.float64)
    require(len(x) > 1, f"{name} needs at least two values to estimate their spread, got {len(x)}")
    return x


def _quantile(confidence: float) -> float:
    """(1 + confidence) / 2, the quantile that leaves out only the upper tail."""
    confidence = check_number("confidence", confidence)
    require(0 < confidence < 1, f"confidence must be between 0 and 1, got {confidence}")
    return (1 + confidence) / 2
