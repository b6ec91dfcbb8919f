"""Calibration: a histogram with its thresholds, the divergence at each, and the integers that come out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from minidl.compress.calibrate import Histogram, kl_curve
from minidl.compress.quantize import quantize, symmetric_params
from minidl.engine.checks import check_instance, positive_number
from minidl.figures.style import (
    BLUE,
    LINE_COLOURS,
    SKY_BLUE,
    VERMILLION,
    by_title,
    float_array,
    new_figure,
    style,
)

BARS = 128  # of a histogram with more bins, several make one


def threshold_panels(
    histogram: Histogram, thresholds: Mapping[str, float], bits: int = 8, *, xlabel: str = "|r|"
) -> Figure:
    """The counts of |r| with a line at each threshold, and below it KL(P || Q) of every candidate T.

    Both counts and divergence are on logarithmic axes: a heavy tail is a few numbers far out. The cross
    marks the candidate that ``entropy_threshold`` takes at ``bits``. thresholds: name -> T, up to six.
    """
    check_instance("histogram", histogram, Histogram)
    thresholds = _positive_by_title(thresholds, 6)
    candidates, divergences = kl_curve(histogram, bits)
    best = int(np.argmin(divergences))
    merged = max(histogram.bins // BARS, 1)
    counts = histogram.counts.reshape(-1, merged).sum(axis=1)
    edges = np.arange(len(counts) + 1) * histogram.width * merged
    with style():
        figure = new_figure(8.5, 5.2, constrained=True)
        above, below = figure.subplots(2, 1, sharex=True)
        above.stairs(counts, edges, fill=True, color=SKY_BLUE)
        for (name, T), colour in zip(thresholds.items(), LINE_COLOURS, strict=False):
            above.axvline(T, color=colour, linestyle="--", label=f"{name}: T = {T:.3g}")
        above.set(yscale="log", ylabel="numbers", xlim=(0, 1.03 * histogram.max))
        above.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        below.plot(candidates, divergences, ".", color=BLUE, markersize=3, label="finite candidates")
        cross = {"color": VERMILLION, "markersize": 9, "label": "the smallest"}
        below.plot(candidates[best], divergences[best], "X", **cross)
        below.set(xlabel=f"{xlabel}, or the candidate T", ylabel=f"KL(P || Q), {bits} bits")
        if (divergences > 0).any():
            below.set_yscale("log")
        below.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        below.grid(True)
    return figure


def integer_panels(values: np.ndarray, thresholds: Mapping[str, float], bits: int = 8) -> Figure:
    """For each threshold the histogram of the integers that ``values`` become with S = T / qmax.

    The title says how many of the integers are used, and how much saturates. Values without negatives show
    the integers from 0 up. thresholds: name -> T, up to four.
    """
    values, thresholds = float_array("values", values).ravel(), _positive_by_title(thresholds, 4)
    with style():
        figure = new_figure(7.5, 0.6 + 1.9 * len(thresholds), constrained=True)
        panels = figure.subplots(len(thresholds), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for panel, (name, T) in zip(panels, thresholds.items(), strict=True):
            params = symmetric_params(T, bits)
            integers = quantize(values, params).astype(np.int64)
            low = 0 if values.min() >= 0 else params.qmin
            counts = np.bincount(integers - low, minlength=params.qmax - low + 1)
            panel.bar(np.arange(low, params.qmax + 1), counts, width=1.0, color=BLUE)
            beyond = np.mean(np.abs(values) > T)
            panel.set(yscale="log", ylabel="numbers")
            used = f"{np.sum(counts > 0)} of {len(counts)} integers used"
            panel.set_title(f"{name}: T = {T:.3g}, {used}, {beyond:.2%} saturates")
        panels[-1].set_xlabel(f"integer of {bits} bits")
    return figure


def _positive_by_title(thresholds: Mapping[str, float], most: int) -> dict[str, float]:
    named = by_title("thresholds", thresholds, most).items()
    return {name: positive_number(f"threshold {name!r}", T) for name, T in named}
