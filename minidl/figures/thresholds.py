"""Calibration: two lines of reals and integers, a histogram with thresholds, and the resulting integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from minidl.compress.calibrate import Histogram, kl_curve
from minidl.compress.quantize import quantize, symmetric_params
from minidl.engine.checks import check_instance, positive_number, require
from minidl.figures.style import (
    BLACK,
    BLUE,
    LINE_COLOURS,
    SMALL,
    VERMILLION,
    by_title,
    float_array,
    new_figure,
    style,
)

BARS = 128  # with more bins, several bins form one bar
_LINES = ("-", "--", ":", "-.", (0, (1, 1)), (0, (5, 1)))  # of the thresholds


def saturation_lines(reals: Any, thresholds: Mapping[str, float], bits: int = 8) -> Figure:
    """For each threshold T: a line of reals, a line of all integers below, and an arrow from each real.

        Q = clip(round(r / S), -qmax, qmax),  S = T / qmax,  qmax = 2^(bits-1) - 1

    Reals beyond -T or T saturate: their arrows have another colour and end at -qmax or qmax. The upper line
    has ticks at -T and T. reals: (n,), at most 32.  thresholds: title -> T, up to six (Migacz 2017).
    """
    reals, thresholds = float_array("reals", reals, "n"), _positive_by_title(thresholds, 6)
    require(len(reals) <= 32, f"reals must be 1 to 32 finite numbers (n,), got {len(reals)}")
    half = max(np.abs(reals).max(), *thresholds.values())
    with style():
        figure = new_figure(8.5, 1.9 * len(thresholds) + 0.4, constrained=True)
        panels = figure.subplots(len(thresholds), 1, squeeze=False)[:, 0]
        for panel, (name, T) in zip(panels, thresholds.items(), strict=True):
            params = symmetric_params(T, bits)
            _draw_saturation(panel, reals / half, quantize(reals, params) / params.qmax, T / half)
            for x, text in ((-T, f"{-T:.3g}"), (0, "0"), (T, f"{T:.3g}")):
                panel.text(x / half, 1.13, text, ha="center", va="bottom", fontsize=SMALL)
            for x, text in ((-1, f"{-params.qmax}"), (0, "0"), (1, f"{params.qmax}")):
                panel.text(x, -0.13, text, ha="center", va="top", fontsize=SMALL)
            panel.set_title(f"{name}: step S = {T:.3g} / {params.qmax} = {T / params.qmax:#.2g}")
        looks = ((BLUE, "rounded"), (VERMILLION, "saturates"))
        handles = [Line2D([], [], color=colour, marker="o", label=label) for colour, label in looks]
        figure.legend(handles=handles, loc="outside lower right", ncols=2)
    return figure


def _draw_saturation(panel: Axes, starts: np.ndarray, ends: np.ndarray, T: float) -> None:
    """Draw two lines from -1 to 1, and an arrow from each start (above) to its end (below)."""
    panel.plot([-1, 1], [1, 1], color="0.7", linewidth=1, zorder=1)
    panel.plot([-1, 1], [0, 0], color="0.7", linewidth=1, zorder=1)
    panel.vlines([-T, 0, T], 0.9, 1.1, color=BLACK, linewidth=1.2)
    panel.vlines([-1, 0, 1], -0.1, 0.1, color=BLACK, linewidth=1.2)
    for start, end in zip(starts, ends, strict=True):
        colour = VERMILLION if abs(start) > T else BLUE
        panel.annotate("", (end, 0.03), (start, 0.97), arrowprops={"arrowstyle": "->", "color": colour})
        panel.plot(start, 1, "o", color=colour, markersize=5)
    panel.set(xlim=(-1.05, 1.05), ylim=(-0.45, 1.5))
    panel.set_xticks([])
    panel.set_yticks([0, 1], ["integer Q", "real r"])
    panel.spines[["left", "bottom", "top", "right"]].set_visible(False)
    panel.tick_params(left=False)


def threshold_panels(
    histogram: Histogram, thresholds: Mapping[str, float], bits: int = 8, *, xlabel: str = "|r|"
) -> Figure:
    """The counts of |r| with a line at each threshold, and below them KL(P || Q) for each candidate T.

    Counts and divergence have logarithmic axes, because a heavy tail holds only a few numbers. The cross
    marks the candidate that ``entropy_threshold`` chooses for ``bits``. thresholds: name -> T, up to six.
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
        above.stairs(counts, edges, fill=True, color="0.8")
        for (name, T), colour, line in zip(thresholds.items(), LINE_COLOURS, _LINES, strict=False):
            above.axvline(T, color=colour, linestyle=line, label=f"{name}: T = {T:.3g}")
        above.set(yscale="log", ylabel="numbers", xlim=(0, 1.03 * histogram.max))
        above.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        below.plot(candidates, divergences, ".", color=BLUE, markersize=3, label="candidates T")
        cross = {"color": VERMILLION, "markersize": 9, "label": "the smallest"}
        below.plot(candidates[best], divergences[best], "X", **cross)
        below.set(xlabel=f"{xlabel}, or the candidate T", ylabel=f"KL(P || Q), {bits} bits")
        if (divergences > 0).any():
            below.set_yscale("log")
            highest = divergences[np.isfinite(divergences)].max()  # an infinite one is not drawn
            if highest < 50 * divergences[best]:  # too few powers of ten are in the range to label only these
                below.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                below.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                below.yaxis.set_minor_formatter(NullFormatter())
        below.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        below.grid(True)
    return figure


def integer_panels(values: np.ndarray, thresholds: Mapping[str, float], bits: int = 8) -> Figure:
    """For each threshold, the histogram of the integers of ``values`` with S = T / qmax.

    The title says how many integers are used, and how many values saturate. Without negative values, the axis
    shows the integers from 0 up. thresholds: name -> T, up to four.
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
